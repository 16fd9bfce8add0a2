package projections_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// L-02: device variables that applications set are in the fold, so a restart and a
// replay of the stream have the same ones.
func TestL02VariablesInTheFold(t *testing.T) {
	w := newWorld(t, projections.DefaultSettings())
	want := ledger.Attrs{{Name: "n1.gpu", Value: "8 of %"}, {Name: "plant", Value: "Süd"}}
	for _, v := range [][2]string{{"plant", "Nord"}, {"n1.gpu", "8 of %"}, {"gone", "1"}, {"plant", "Süd"}, {"gone", ""}, {"never", ""}} {
		w.mustApply(control(projections.VariableLine(v[0], v[1])))
	}
	if got := w.store.Variables(); !slices.Equal(got, want) {
		t.Errorf("Variables() = %v, want %v", got, want)
	}
	w.reopen()
	if got := w.store.Variables(); !slices.Equal(got, want) {
		t.Errorf("Variables() after a restart = %v, want %v", got, want)
	}
	w.mustApply(control(projections.VariableLine("n1.gpu", "")), control(projections.VariableLine("plant", "")))
	w.reopen()
	if got := w.store.Variables(); len(got) != 0 {
		t.Errorf("Variables() when all are forgotten = %v, want none", got)
	}
	for _, line := range []string{"variable", "variable a b c", "variable a%20b x", "variable a x%zz"} {
		w := newWorld(t, projections.DefaultSettings())
		s := w.seal(control(line))
		if _, err := w.store.Apply(s.Seq, s.Group, nil); !errors.Is(err, projections.ErrDamaged) {
			t.Errorf("Apply(%q) = %v, want ErrDamaged", line, err)
		}
	}
}
