package main

import (
	"log/slog"
	"os"
	"path/filepath"

	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/datadir"
)

// formats are what this program knows of data directories. A change of what stands
// in one, of Pebble's own format (projections) or of a NATS server that writes
// another one, adds a step here and golden directories in testdata/golden.
var formats = &datadir.Program{Version: version, Steps: []datadir.Step{
	{What: "the file version, which directories from before 1.0.0 do not have"},
}}

// prepareDir makes dir ready for this program before anything else of it is read: a
// new one gets its version, one of an older program is brought forward.
func prepareDir(dir string, log *slog.Logger) error {
	f, err := formats.Check(dir)
	if err != nil || f.Number == formats.Format().Number {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return cli.Fail(cli.ExitStore, "store_no_permission", "grant it, or choose another --data", "cannot make %s: %v", dir, err)
	}
	if f.Number == 0 && !hasHistory(dir) && !hasSiteKey(filepath.Join(dir, keysDir)) {
		return formats.Begin(dir)
	}
	book, err := access.Open(dir, filepath.Join(dir, keysDir), nil) // nobody else has it meanwhile
	if err != nil {
		return err
	}
	defer book.Close()
	return formats.Migrate(dir, log)
}
