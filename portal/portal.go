package portal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal/internal/issue"
)

// Folders of Options.Dir.
const (
	keysFolder     = "keys"     // private keys, encrypted
	uploadsFolder  = "uploads"  // every file as it came, named by its SHA-256
	evidenceFolder = "evidence" // a text for each contradiction
	tempFolder     = "tmp"      // files that are being received
)

// Options of Open and Init.
type Options struct {
	// Dir has the files: keys, uploads, evidence, and the SQLite database.
	Dir string
	// DSN is the address of a PostgreSQL database, postgres://…, or sqlite:PATH;
	// empty: SQLite in Dir.
	DSN string
	// Now is the time that documents carry; nil: time.Now.
	Now func() time.Time
	// Passphrase opens the private keys. It is asked when something is first
	// signed; nil: nothing can be signed.
	Passphrase func() (string, error)
	// Domain is the host name that the vendor's keys are named after. Init needs
	// it; Open compares it, unless it is empty.
	Domain string
	// UploadBytesMax bounds a file and its text; 0: export.SizeMaxDefault.
	UploadBytesMax int64
	// RatioMax bounds what a byte of a compressed file may give; 0:
	// export.RatioMaxDefault.
	RatioMax int64
	// Identities open reports that were encrypted for the vendor.
	Identities []age.Identity
	// KeyWorkFactor is the logarithm of scrypt's cost for new key files; 0: age's
	// own, about a second.
	KeyWorkFactor int
	// OnIntake is told of every file that was taken in or refused, and how long that
	// took; nil: nobody is.
	OnIntake func(a *Answer, took time.Duration)
	// Log gets what happens; nil: nowhere.
	Log *slog.Logger
}

// A Portal is the vendor's side. Its methods may be called at once.
type Portal struct {
	o     Options
	store *store
	keys  *issue.Keys

	archiving sync.Mutex // one file of a license at a time, so that the newest stays

	silent bool // no events: what happened is only written down again

	// before is called at the named steps of an intake; tests let it fail.
	before func(step string) error
}

// Unlock opens the private keys now instead of when something is first signed, for
// who would not begin what a wrong passphrase leaves half done.
func (p *Portal) Unlock() error { return p.keys.Unlock() }

// ErrNoKeys is returned by Open where Init was not run.
var ErrNoKeys = issue.ErrNoKeys

// ErrNewer is returned by Open where a newer program has changed the database.
// Install that one, or restore the copy from before the upgrade.
var ErrNewer = errors.New("the database is of a newer version")

// ErrPassphrase is returned by what signs, if the passphrase is wrong.
var ErrPassphrase = issue.ErrPassphrase

// Init makes the vendor's keys, named DOMAIN/ROLE/LABEL, and the database. It
// never replaces keys.
func Init(ctx context.Context, o Options, label string) (*Portal, error) {
	if o.Domain == "" {
		return nil, errors.New("init portal: Domain is empty")
	}
	o = o.defaults()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("init portal: %w", err)
	}
	if _, err := issue.Init(filepath.Join(o.Dir, keysFolder), o.Domain, label, o.issue()); err != nil {
		return nil, fmt.Errorf("init portal: %w", err)
	}
	return Open(ctx, o)
}

// Open opens what Init made, and brings the schema of the database up to date.
func Open(ctx context.Context, o Options) (*Portal, error) {
	o = o.defaults()
	keys, err := issue.Open(filepath.Join(o.Dir, keysFolder), o.issue())
	if err != nil {
		return nil, fmt.Errorf("open portal: %w", err)
	}
	for _, folder := range []string{uploadsFolder, evidenceFolder, tempFolder} {
		if err := os.MkdirAll(filepath.Join(o.Dir, folder), 0o700); err != nil {
			return nil, fmt.Errorf("open portal: %w", err)
		}
	}
	if err := sweep(filepath.Join(o.Dir, tempFolder)); err != nil {
		return nil, fmt.Errorf("open portal: %w", err)
	}
	p := &Portal{o: o, keys: keys, before: func(string) error { return nil }}
	if domain := p.Domain(); o.Domain != "" && domain != o.Domain {
		return nil, fmt.Errorf("open portal: the keys are of %s, the domain is set to %s", domain, o.Domain)
	}
	if p.store, err = openStore(ctx, o.Dir, o.DSN); err != nil {
		return nil, err
	}
	if err := p.store.tx(ctx, func(c conn) error { return errors.Join(c.deriveDates(ctx), c.fillTotals(ctx)) }); err != nil {
		p.store.close()
		return nil, err
	}
	if err := p.addPresets(ctx); err != nil {
		p.store.close()
		return nil, err
	}
	return p, nil
}

// Close closes the database.
func (p *Portal) Close() error { return p.store.close() }

// Domain is the host name that the vendor's keys are named after.
func (p *Portal) Domain() string {
	for _, k := range p.keys.Of(ledger.RoleLicense, issue.Active) {
		for i := range k.Name {
			if k.Name[i] == '/' {
				return k.Name[:i]
			}
		}
	}
	return ""
}

func (o Options) defaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o Options) issue() issue.Options {
	return issue.Options{Passphrase: o.Passphrase, Now: o.Now, WorkFactor: o.KeyWorkFactor}
}

// now is the present second in UTC.
func (p *Portal) now() time.Time { return p.o.Now().UTC().Truncate(time.Second) }

func (p *Portal) path(folder, name string) string { return filepath.Join(p.o.Dir, folder, name) }
