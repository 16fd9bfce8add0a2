package projections

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/ledger"
)

// Device variables that applications set travel as control lines, so that a
// restart and every replica have the same ones. The next `boot` record and the
// `retire` record carry them:
//
//	variable NAME VALUE    VALUE escaped
//	variable NAME          forgets it

// VariableLine is the control line that sets a variable which
// [ledger.CheckVariable] finds right; of an empty value, the one that forgets it.
func VariableLine(name, value string) string {
	if value == "" {
		return "variable " + name
	}
	return "variable " + name + " " + ledger.EscapeValue(value)
}

// setVariable folds a line.
func (st *State) setVariable(line string) error {
	f := strings.Split(line, " ")
	value, err := "", error(nil)
	if len(f) == 3 {
		if value, err = ledger.UnescapeValue(f[2]); err == nil {
			err = ledger.CheckVariable(f[1], value)
		}
	} else if len(f) != 2 {
		err = fmt.Errorf("%d fields", len(f))
	}
	if err != nil {
		return fmt.Errorf("%w: control line %q: %w", ErrDamaged, line, err)
	}
	// The list may have been handed out, so it is never changed in place.
	st.variables = slices.Clone(st.variables).Set(f[1], value)
	st.fx.variables = true
	return nil
}

// Variables returns the device variables that applications have set, by name.
func (s *Store) Variables() ledger.Attrs {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.variables
}

func (s *Store) loadVariables() error {
	v, err := s.get([]byte{keyVariables})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	text := strings.TrimPrefix(string(v), " ")
	attrs, err := ledger.ParseAttrs(text)
	if err != nil {
		return fmt.Errorf("%w: variables: %w", ErrDamaged, err)
	}
	s.st.variables = attrs.Variables()
	return nil
}
