package main

import (
	"context"
	"testing"

	"github.com/meterseal/meterseal/meter"
	"github.com/meterseal/meterseal/meter/metertest"
)

// The example records what its loop says; that a daemon counts it is tested in
// package meter.
func TestRun(t *testing.T) {
	d := metertest.New(t)
	double := meter.Options{Node: "converter-1", StandIn: d.StandIn()}
	if err := run(context.Background(), double, 14); err != nil {
		t.Fatal(err)
	}
	if got, want := d.Total("pages"), int64(2*(1+2+3+4+5+6+7)); got != want {
		t.Errorf(`Total("pages") = %d, want %d`, got, want)
	}
}
