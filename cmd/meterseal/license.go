package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/systemd"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// Kinds of documents in the store.
const (
	docLicense   = "license"   // notes that were in force, by serial and digest
	docReply     = "reply"     // replies as they came, by their digest
	docRejection = "rejection" // likewise, of reports that the vendor did not accept
	docSite      = "site"      // what this site remembers
)

// terms are the license in force with what the site trusts under it. They are
// replaced as a whole, so that every answer is of one license.
type terms struct {
	license *license.License // nil: evaluation, or a user-based license before its first reply
	waiting *license.License // stands for the latter
	lost    bool             // the ledger names a newer one, which is not kept
	trusted []ledger.VKey    // vendor license keys: the anchor, and what licenses announced
	fit     fit              // this machine under the license
}

// shown is the license that answers are about; nil: evaluation.
func (t *terms) shown() *license.License {
	if t.license != nil {
		return t.license
	}
	return t.waiting
}

// licenseName is the name of a license note in the store.
func licenseName(serial uint64, digest ledger.Hash) string {
	return fmt.Sprintf("%020d-%x", serial, digest[:8])
}

// takeLicense decides at the start which license is in force, and returns the
// records that are to be appended for one that is new. The ledger was folded up
// to the end of the stream, and no event is taken yet.
//
// What does not fit refuses the start with its own code; nothing is written
// before everything was checked.
func (s *site) takeLicense(ctx context.Context, conf *configured) (lines []string, err error) {
	st := s.store.Status()
	switch {
	case conf == nil && st.License != nil && !st.Retired:
		return nil, cli.Fail(cli.ExitUsage, "config_invalid", "set license.key_file and license.solution_name as before; a site that has a license does not go back to evaluation",
			"license %s is in force in this ledger, but none is configured", st.License.ID)
	case conf == nil:
		s.terms.Store(&terms{})
		return nil, nil
	}
	t := &terms{trusted: conf.trusted}
	if err := s.loadLicenses(t, st.License); err != nil {
		return nil, err
	}
	if conf.first && st.License != nil && t.license == nil {
		// Whoever deletes the anchor does not get another one trusted in its place.
		return nil, cli.Fail(cli.ExitLicense, license.CodeInvalid, "put it back with the folder keys, or set license.vendor_keys (--vendor-key) to the vendor's license key",
			"license %s is in force in this ledger, and %s, which says whose licenses count here, is missing", st.License.ID, filepath.Join(keysDir, vendorKeysFile))
	}
	if t.license != nil { // again: program, configuration and disk may be others now
		again := s.acceptor(t, st)
		again.Newest = nil
		if _, _, err := again.Accept(t.license.Bytes()); err != nil {
			return nil, err
		}
	}
	if conf.note == nil { // activate-by is that of a license which does not say otherwise
		t.waiting = &license.License{ID: conf.id, SolutionName: s.cfg.License.SolutionName, Enforcement: license.Soft, ActivateBy: ledger.Dur{N: 30, Unit: 'd'}}
	}
	if conf.note != nil {
		if lines, err = s.takeConfigured(t, conf, st); err != nil {
			return nil, err
		}
	}
	t.lost = st.License != nil && lines == nil && (t.license == nil || license.Digest(t.license.Bytes()) != st.License.Digest)
	if err := conf.keepVendorKeys(s.cfg.DataDir); err != nil {
		return nil, err
	}
	if t.fit, err = s.fitMachine(ctx, t.license, s.observe(&st, t.shown()).Now); err != nil {
		return nil, err
	}
	s.terms.Store(t)
	return lines, nil
}

// loadLicenses finds the license of the newest record among those that were
// kept, and trusts what the kept ones announce: each must be signed by a key that
// is trusted without it.
func (s *site) loadLicenses(t *terms, newest *projections.LicenseRecord) error {
	names, err := s.store.Documents(docLicense)
	if err != nil {
		return err
	}
	var left [][]byte
	for _, name := range names {
		note, err := s.store.Document(docLicense, name)
		if err != nil {
			return err
		}
		left = append(left, note)
	}
	for more := true; more; {
		more = false
		left = slices.DeleteFunc(left, func(note []byte) bool {
			l, err := license.Verify(note, t.trusted, nil)
			if err != nil {
				return false
			}
			t.trust(l)
			if newest != nil && license.Digest(note) == newest.Digest {
				t.license = l
			}
			more = true
			return true
		})
	}
	return nil
}

// trust takes the license keys that l announces.
func (t *terms) trust(l *license.License) {
	for _, k := range l.NextLicenseKeys {
		if !slices.ContainsFunc(t.trusted, func(o ledger.VKey) bool { return o.String() == k.String() }) {
			t.trusted = append(t.trusted[:len(t.trusted):len(t.trusted)], k)
		}
	}
}

// takeConfigured holds the license key of the configuration against the license
// in force. It is used if it is the newer one; after an activation it is not.
func (s *site) takeConfigured(t *terms, conf *configured, st projections.Status) ([]string, error) {
	l, fresh, err := s.acceptor(t, st).Accept(conf.note)
	var refused *license.Error
	if errors.As(err, &refused) && (refused.Code == license.CodeAlreadyBound || refused.Code == license.CodeSuperseded ||
		refused.Code == license.CodeLicenseRevoked && t.license != nil && t.license.Bound()) {
		if t.license == nil { // the one in force is lost: what is configured says at least what to count
			t.license = l
			t.trust(l)
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := s.keepLicense(l); err != nil {
		return nil, err
	}
	t.license = l
	t.trust(l)
	if !fresh {
		return nil, nil
	}
	return []string{licenseLine(l, t.trusted)}, nil
}

func (s *site) keepLicense(l *license.License) error {
	return s.store.KeepDocument(docLicense, licenseName(l.Serial, license.Digest(l.Bytes())), l.Bytes())
}

// licenseLine is the record that takes l into use. Its KEYID is that of the key
// that signed l.
func licenseLine(l *license.License, trusted []ledger.VKey) string {
	var id uint32
	if by := signers(l, trusted); len(by) > 0 {
		id = by[0].ID
	}
	return fmt.Sprintf("license @ %s %d %08x %s %d", l.ID, l.Serial, id, license.Digest(l.Bytes()), l.Checkpoint.Size)
}

// acceptor says what this site knows when a license is offered to it.
func (s *site) acceptor(t *terms, st projections.Status) *license.Site {
	a := &license.Site{
		SolutionName: s.cfg.License.SolutionName, ProductLine: s.cfg.License.ProductLine, Version: version, Trusted: t.trusted,
		Origin: s.keys.origin(), SiteKeys: s.allKeys(&st),
		Size: st.Records, RootAt: ledger.NewTree(s.store, st.Records).RootAt, Meter: s.knownMeter,
	}
	if t.license != nil {
		a.Revoked = t.license.Revoked
	}
	if n := st.License; n != nil {
		a.Newest = &license.InForce{ID: n.ID, Serial: n.Serial, Digest: n.Digest, Bound: n.Bound}
	}
	return a
}

// knownMeter returns what ledger or configuration know of a meter; nil: nothing.
func (s *site) knownMeter(id string) *events.Meter {
	list := s.store.Meters()
	if i := slices.IndexFunc(list, func(m events.Meter) bool { return m.ID == id }); i >= 0 {
		return &list[i]
	}
	return s.cfg.meter(id)
}

// meter returns a meter that the configuration declares; nil: it does not.
func (c *Config) meter(id string) *events.Meter {
	if i := slices.IndexFunc(c.Meters, func(m events.Meter) bool { return m.ID == id }); i >= 0 {
		return &c.Meters[i]
	}
	return nil
}

// metersOf returns the meters that are counted under l: those of the
// configuration, and those that the license declares. Where both do, corrections
// are as the license says (Y-03).
func (s *site) metersOf(l *license.License) []events.Meter {
	list := slices.Clone(s.cfg.Meters)
	if l == nil {
		return list
	}
	for i := range l.Meters {
		m := &l.Meters[i]
		k := slices.IndexFunc(list, func(c events.Meter) bool { return c.ID == m.ID })
		if k < 0 {
			list = append(list, events.Meter{ID: m.ID, Aggregation: m.Aggregation, Scale: m.Scale})
			k = len(list) - 1
			if m.Unit != "unit" { // which is what an empty one means
				list[k].Unit = m.Unit
			}
		}
		list[k].Corrections, list[k].Undo = m.Corrections, m.Undo.Duration()
	}
	return list
}

// declareLines are the control lines for meters that the fold does not know yet,
// or knows otherwise.
func (s *site) declareLines(meters []events.Meter) (lines []string, err error) {
	for i := range meters {
		changed, err := s.store.CheckDeclare(&meters[i])
		if err != nil {
			return nil, err
		}
		if changed {
			lines = append(lines, projections.DeclareLine(&meters[i]))
		}
	}
	return lines, nil
}

// facts are what the ledger and this machine say beside the license.
func (s *site) facts(st *projections.Status, t *terms) license.Facts {
	f := license.Facts{Opened: st.Opened, Retired: st.Retired, Superseded: t.lost,
		Activated: st.Receipt != nil || t.license != nil && t.license.Bound(),
		Bindings:  t.fit.bindings, VM: t.fit.vm, BindingsSince: t.fit.since}
	if st.Behind != nil {
		f.RolledBack = license.CodeBehindNode
	}
	if st.Receipt != nil {
		f.Receipts = []time.Time{st.Receipt.VendorTime}
	}
	return f
}

// catchUp folds what the stream holds after the cursor: which license is in
// force is asked of the whole ledger.
func (s *site) catchUp(ctx context.Context) error {
	var disp []events.Disposition
	job := systemd.Job{Log: s.log}
	for g, err := range stream.Ahead(s.stored(ctx, s.store.Cursor().Seq)) {
		if err != nil {
			return err
		}
		if disp, err = s.store.Apply(g.Seq, g.Group, disp[:0]); err != nil {
			return fmt.Errorf("fold group %d: %w", g.Seq, err)
		}
		job.Step("folding group %d of the stream", g.Seq)
	}
	_, err := s.store.Sync(ctx) // what is pinned is asked of the disk
	return err
}

func digestName(h ledger.Hash) string { return hex.EncodeToString(h[:]) }
