package durablefs_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/internal/durablefs"
)

// lives creates a store, then opens and closes it twice: each opening makes a
// new manifest and moves the marker.
func lives(seed uint64, wrap func(vfs.FS) vfs.FS) crashtest.Script {
	open := func(disk *crashtest.Disk) (*pebble.DB, error) {
		return pebble.Open("db", &pebble.Options{FS: wrap(disk.FS()), Logger: quiet{}})
	}
	return crashtest.Script{
		Seed:     seed,
		Percents: []int{20, 50, 80},
		Run: func(disk *crashtest.Disk, progress *crashtest.Progress) error {
			for n := range uint64(3) {
				db, err := open(disk)
				if err != nil {
					return err
				}
				progress.Begin(n + 1)
				if err := db.Set([]byte("life"), []byte{byte(n + 1)}, pebble.Sync); err != nil {
					return err
				}
				progress.Acknowledge(n + 1)
				if err := db.Close(); err != nil {
					return err
				}
			}
			return nil
		},
		Check: func(p crashtest.Point) error {
			db, err := open(p.Disk)
			if err != nil {
				return err
			}
			defer db.Close()
			value, closer, err := db.Get([]byte("life"))
			if err == pebble.ErrNotFound {
				return p.CheckStep(0)
			}
			if err != nil {
				return err
			}
			defer closer.Close()
			return p.CheckStep(uint64(value[0]))
		},
	}
}

func TestMarkersSurvivePowerCuts(t *testing.T) {
	crashtest.Seeds(t, 10, func(t *testing.T, seed uint64, _ *rand.Rand) {
		crashtest.EveryPoint(t, lives(seed, durablefs.Wrap))
	})
}

// TestPebbleNeedsIt fails once Pebble orders its markers by itself: then this
// package can go.
func TestPebbleNeedsIt(t *testing.T) {
	r := &recorder{TB: t}
	for seed := range uint64(3) {
		crashtest.EveryPoint(r, lives(seed, func(fs vfs.FS) vfs.FS { return fs }))
	}
	if want := "could not open manifest file"; !strings.Contains(r.errors.String(), want) {
		t.Errorf("errors without the wrapper = %q, want one with %q; if Pebble was upgraded, remove this package", r.errors.String(), want)
	}
}

// recorder collects failures that are expected.
type recorder struct {
	testing.TB
	errors strings.Builder
}

func (r *recorder) Errorf(format string, args ...any) { fmt.Fprintf(&r.errors, format+"\n", args...) }
func (r *recorder) Logf(string, ...any)               {}

// quiet discards what Pebble logs.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}
