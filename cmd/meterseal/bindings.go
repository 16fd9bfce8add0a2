package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/internal/machine"
	"github.com/meterseal/meterseal/ledger"
)

// openedBytesMax is the longest value of a binding that a detailed report shows.
const openedBytesMax = 256

// bindingNames reads the setting bindings.names: names with commas or spaces
// between them.
func bindingNames(c *Config, v string) error {
	names := strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
	for _, n := range names {
		if !slices.Contains(machine.Names(), n) {
			return fmt.Errorf("names %q, want some of %s", n, strings.Join(machine.Names(), ", "))
		}
	}
	slices.Sort(names)
	c.Bindings.Names = slices.Compact(names)
	return nil
}

// absolutePath takes a path that does not depend on where the program was started.
func absolutePath(p func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		if v != "" && !filepath.IsAbs(v) {
			return fmt.Errorf("is %q, want an absolute path", v)
		}
		*p(c) = v
		return nil
	}
}

// readBindings reads what the configuration asks for, once at the start: a
// change becomes known with the boot record.
func (s *site) readBindings(ctx context.Context) {
	o := s.cfg.Bindings
	if s.tpm != nil {
		o.TPM = s.tpm.EndorsementName
	}
	s.bindings = nil
	for _, b := range machine.Read(ctx, o) {
		switch {
		case b.Err != nil:
			s.log.Warn("binding is absent", "binding", b.Name, "err", b.Err)
			continue
		case b.Scope == machine.ScopeContainer:
			s.log.Warn("binding goes with this container, or is alike in all of its image", "binding", b.Name)
		case b.Scope == machine.ScopeHost:
			s.log.Info("binding changes when this container moves to another host", "binding", b.Name)
		}
		s.bindings = append(s.bindings, b)
	}
}

// bindingAttrs are the attributes bind.NAME of the boot record: hashes (L-02).
func (s *site) bindingAttrs() string {
	var line strings.Builder
	for _, b := range s.bindings { // in order of their names, as attributes are
		fmt.Fprintf(&line, " bind.%s=%s", b.Name, ledger.BindHash(s.domain(), b.Name, b.Raw))
	}
	return line.String()
}

// domain is the first part of the ledger's origin.
func (s *site) domain() string {
	domain, _, _ := strings.Cut(s.keys.origin(), "/")
	return domain
}

// openBindings returns the values of a boot record, as a detailed report shows
// them, "" for any other record. Values are not kept: what this machine says now
// is shown wherever it gives the hash that was recorded.
func openBindings(bindings []machine.Binding, domain, line string) string {
	if !strings.HasPrefix(line, "boot ") {
		return ""
	}
	rec, err := ledger.ParseRecord(line)
	boot, ok := rec.(*ledger.Boot)
	if err != nil || !ok {
		return ""
	}
	var shown []string
	for _, b := range bindings {
		hash, _ := boot.Attrs.Get("bind." + b.Name)
		if len(b.Raw) <= openedBytesMax && hash == ledger.BindHash(domain, b.Name, b.Raw) {
			shown = append(shown, b.Name+"="+ledger.EscapeValue(b.Raw))
		}
	}
	return strings.Join(shown, " ")
}
