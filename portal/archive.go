package portal

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/meterseal/meterseal/export"
)

// Folders and files of what the database says, written after each commit. They
// are not read while there is a database: [Rebuild] makes another one of them.
const (
	repliesFolder  = "replies"  // every reply that was given
	licensesFolder = "licenses" // one file a license
	catalogFile    = "catalog.json"
)

// archivedLicense is the file of a license: what no signed document says.
type archivedLicense struct {
	License License           `json:"license"`
	Notes   []string          `json:"notes"` // every unbound license
	Ledgers []archivedLedger  `json:"ledgers"`
	Trials  map[string]string `json:"trials,omitempty"`
}

// archivedLedger is what staff decided about a ledger.
type archivedLedger struct {
	Ledger
	OwnEnd time.Time `json:"own_end,omitzero"`
}

// catalog is what licenses are made from.
type catalog struct {
	Products  []Product  `json:"products"`
	Policies  []Policy   `json:"policies"`
	Customers []Customer `json:"customers"`
}

// archiveCatalog writes the catalog.
func (p *Portal) archiveCatalog(ctx context.Context) error {
	var c catalog
	var err error
	if c.Products, err = p.Products(ctx); err != nil {
		return err
	}
	if c.Policies, err = p.Policies(ctx); err != nil {
		return err
	}
	if c.Customers, err = p.Customers(ctx); err != nil {
		return err
	}
	return replaceFile(p.path("", catalogFile), []byte(toJSON(c)+"\n"))
}

// archiveLicense writes the file of a license.
func (p *Portal) archiveLicense(ctx context.Context, id string) error {
	c := p.store.reader()
	l, err := c.license(ctx, id)
	if err != nil {
		return err
	}
	a := archivedLicense{License: *l, Trials: map[string]string{}}
	if a.Notes, err = list(ctx, c, scanText, "SELECT note FROM documents WHERE license = ? AND origin = '' ORDER BY issued, digest", id); err != nil {
		return err
	}
	holders, err := list(ctx, c, scanText, "SELECT holder FROM trials WHERE license = ?", id)
	if err != nil {
		return err
	}
	for _, h := range holders {
		a.Trials[h] = id
	}
	ledgers, err := c.ledgers(ctx, id)
	if err != nil {
		return err
	}
	for _, x := range ledgers {
		a.Ledgers = append(a.Ledgers, archivedLedger{*x, x.ownEnd})
	}
	return replaceFile(p.path(licensesFolder, id+".json"), []byte(toJSON(a)+"\n"))
}

// archiveReply writes a reply that was given; the same one again changes nothing.
func (p *Portal) archiveReply(origin string, reply []byte) error {
	if len(reply) == 0 {
		return nil
	}
	name := fmt.Sprintf("%s-%x.reply", export.LedgerID(origin), sha256.Sum256(reply))
	if _, err := os.Stat(p.path(repliesFolder, name)); err == nil {
		return nil
	}
	return replaceFile(p.path(repliesFolder, name), reply)
}

// archive writes what an intake or a change has committed. The commit holds
// whatever comes of it: a failure is logged and made good by the next one.
func (p *Portal) archive(ctx context.Context, licenseID string, replies ...Refresh) {
	p.archiving.Lock()
	defer p.archiving.Unlock()
	var err error
	for _, r := range replies {
		if err == nil {
			err = p.archiveReply(r.Origin, r.Reply)
		}
	}
	if err == nil && licenseID != "" {
		err = p.archiveLicense(ctx, licenseID)
	}
	if err != nil {
		p.o.Log.ErrorContext(ctx, "what was committed is not in the archive", "license", licenseID, "err", err)
	}
}

// replaceFile writes a file whole or not at all.
func replaceFile(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("archive: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

// readArchive parses a file of the archive; found is false if there is none.
func readArchive(path string, to any) (found bool, err error) {
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("read archive: %w", err)
	}
	if err := json.Unmarshal(b, to); err != nil {
		return true, fmt.Errorf("read archive %q: %w", path, err)
	}
	return true, nil
}
