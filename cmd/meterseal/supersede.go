package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
)

// supersedesFile holds the attributes of the `open` record of a ledger that is to
// take the place of a lost one, until that record is in the ledger.
const supersedesFile = "supersedes"

// supersede lets the ledger that begins in dir name the lost one of a reply. It
// proves nothing: the site key that could is gone, so the vendor decides.
func (a *app) supersede(dir string, replies []string) error {
	keys := filepath.Join(dir, keysDir)
	switch {
	case len(replies) != 1:
		return cli.Fail(cli.ExitUsage, "config_invalid", "give --reply FILE, the last one that the lost site got", "--supersede needs one reply")
	case hasHistory(dir):
		return hasLedger(dir)
	case hasSiteKey(keys):
		return cli.Fail(cli.ExitUsage, "config_invalid", "restore with --reports, or choose a new --data", "%s holds a site key: its ledger can go on", keys)
	}
	if _, err := formats.Check(dir); err != nil {
		return err
	}
	f := readImport(replies[0], false)
	if f.Err != nil {
		return f.Err
	}
	r, err := export.ParseReply(f.doc)
	if err != nil {
		return err
	}
	cp, err := r.Checkpoint()
	if err != nil {
		return cli.Fail(cli.ExitDocument, export.CodeNotAReply, "give the reply to an accepted report", "%s holds no receipt", f.Name)
	}
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return err
	}
	text := fmt.Sprintf("supersedes=%s supersedes-root=%s supersedes-size=%d", ledger.EscapeValue(cp.Origin), ledger.EscapeValue(cp.Root.String()), cp.Size)
	if err := cli.WriteSynced(filepath.Join(keys, supersedesFile), []byte(text)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Err, "lost      %s\nnext      %s serve --data %s\n          then a report: the vendor decides about it\n", cp.Origin, a.Called, dir)
	return err
}

// readSupersedes returns the attributes with a space before them; "": a ledger
// that takes nobody's place.
func readSupersedes(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, keysDir, supersedesFile))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err == nil {
		_, err = ledger.ParseAttrs(string(b))
	}
	if err != nil {
		return "", keyFailure(fmt.Errorf("what the new ledger supersedes: %w", err))
	}
	return " " + string(b), nil
}
