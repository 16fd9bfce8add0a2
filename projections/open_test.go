package projections_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// What the machine refuses is not taken for damage (P-05, P-06).
func TestOpenNamesTheCause(t *testing.T) {
	for name, tc := range map[string]struct{ cause, want error }{
		"Permission": {os.ErrPermission, projections.ErrNoPermission},
		"DiskFull":   {syscall.ENOSPC, projections.ErrUnusable},
		"Other":      {errors.New("bad block"), projections.ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			inj := errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind == errorfs.OpCreate {
					return tc.cause
				}
				return nil
			})
			_, err := projections.Open(projections.Options{Dir: "p", FS: errorfs.Wrap(vfs.NewMem(), inj), Secrets: *ledger.NewSecrets([32]byte{1}, [32]byte{2}, 0)})
			if !errors.Is(err, tc.want) {
				t.Errorf("Open = %v, want %v", err, tc.want)
			}
		})
	}
}
