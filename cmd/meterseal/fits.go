package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/internal/machine"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// fit is how this machine fits a license: what facts say of bindings and VM.
type fit struct {
	bindings map[string]string // hashes by name; absent ones are not in it
	vm       string
	since    time.Time // when it stopped fitting; zero: it fits, or never did
}

// fitKept is what the store remembers of it, so that grace begins once and a
// restart does not begin it anew.
type fitKept struct {
	Fits  bool      `json:"fits"`
	Since time.Time `json:"since,omitzero"`
}

// fitMachine compares the machine with what l asks for. A change is no lock-out:
// it begins a grace (docs/decisions/changed-machine.md).
func (s *site) fitMachine(ctx context.Context, l *license.License, now time.Time) (fit, error) {
	f := fit{bindings: map[string]string{}}
	if l == nil || len(l.Binds) == 0 && !l.VMDenied {
		return f, nil
	}
	o := s.cfg.Bindings
	if s.tpm != nil {
		o.TPM = s.tpm.EndorsementName
	}
	o.Names = nil
	for _, b := range l.Binds {
		o.Names = append(o.Names, b.Name)
	}
	for _, b := range machine.Read(ctx, o) {
		if b.Err == nil {
			f.bindings[b.Name] = ledger.BindHash(s.domain(), b.Name, b.Raw)
		}
	}
	if f.vm = machine.VM(""); f.vm == "unknown" {
		f.vm = "" // what hides is not held against anybody
	}
	fits := license.MatchBindings(l.Binds, l.MatchRate, f.bindings) && (!l.VMDenied || f.vm == "" || f.vm == "none")
	var kept fitKept
	b, err := s.store.Document(docSite, "machine")
	known := err == nil
	if known {
		err = json.Unmarshal(b, &kept)
	}
	if err != nil && !errors.Is(err, projections.ErrNotFound) {
		return f, fmt.Errorf("how this machine fitted: %w", err)
	}
	switch {
	case fits:
		kept = fitKept{Fits: true}
	case known && kept.Fits:
		kept = fitKept{Since: now.UTC().Truncate(time.Second)}
		s.log.Warn("this machine does not fit the license any more", "since", kept.Since)
	}
	f.since = kept.Since
	if b, err = json.Marshal(kept); err != nil {
		return f, err
	}
	return f, s.store.KeepDocument(docSite, "machine", b)
}
