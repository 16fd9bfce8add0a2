package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/note"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// lostSite is a site of which keys, reports and replies are left (O-09). What
// the reports hold is proven by the site's own signature, so they may come from
// anywhere; the vendor's portal keeps every one that it accepted.
type lostSite struct {
	dir, cause string
	keysFrom   string   // folder to copy the keys from; empty: they are in dir
	reports    []string // files, or folders of them
	replies    []string // likewise
	checkpoint string   // file with a newer checkpoint that is known; empty: none

	keys  *siteKeys
	known []string // the site's key as the reports so far name it, then those before
	store *projections.Store
	into  *projections.Restore
	size  uint64            // records so far
	notes map[uint64][]byte // receipts that reports show, by size

	answers []*lostReply
	terms   terms // whom to trust for them, as far as the keys folder says it
}

// lostReply is a reply that was given.
type lostReply struct {
	path    string
	doc     []byte
	reply   *export.Reply
	license *license.License // nil: none, or nobody to trust for it
}

// restoreReports brings a lost site back up to its last report.
func (a *app) restoreReports(ctx context.Context, l *lostSite) error {
	if _, err := ledger.ParseRecord("restore 0 " + l.cause + " 0 " + ledger.EmptyRoot.String() + " - -"); err != nil {
		return cli.Fail(cli.ExitUsage, "config_invalid", "give one word", "cause %q: %v", l.cause, err)
	}
	if _, err := formats.Check(l.dir); err != nil {
		return err
	}
	if hasHistory(l.dir) {
		return hasLedger(l.dir)
	}
	work, remove, err := restoreFolder(l.dir)
	if err != nil {
		return err
	}
	defer remove()
	keysIn := l.dir
	if l.keysFrom != "" {
		if hasSiteKey(filepath.Join(l.dir, keysDir)) {
			return cli.Fail(cli.ExitHistory, "site_key_missing", "leave --keys out, or move them away", "%s has keys already", l.dir)
		}
		keysIn = work
		if err := copyKeys(l.keysFrom, filepath.Join(work, keysDir)); err != nil {
			return err
		}
	}
	if !hasSiteKey(filepath.Join(keysIn, keysDir)) {
		return cli.Fail(cli.ExitHistory, "site_key_missing", "give --keys FOLDER; if it is lost, begin a new ledger in its place with --supersede --reply FILE",
			"%s has no site key", filepath.Join(keysIn, keysDir))
	}
	if l.keys, err = readKeys(keysIn); err != nil {
		return err
	}
	if err := l.readReplies(keysIn); err != nil {
		return err
	}
	was, err := l.fill(ctx, filepath.Join(work, projectionsDir))
	if err != nil {
		return err
	}
	str, err := openStreamAtRest(ctx, work) // an empty one
	if err == nil {
		err = str.Close()
	}
	if err == nil {
		err = a.recordRestore(ctx, l.keys, work, fmt.Sprintf("restore @ %s # # %d %s", l.cause, was.Size, was.Root))
	}
	if err == nil {
		err = placeRestored(work, l.dir, l.keysFrom != "")
	}
	if err != nil {
		return err
	}
	return a.sayRestored(l, was)
}

// sayRestored says what came back, and what did not.
func (a *app) sayRestored(l *lostSite, was ledger.Checkpoint) error {
	fmt.Fprintf(a.Err, "restored  %s: %s records\n", l.dir, cli.Grouped(l.size))
	if was.Size > l.size {
		fmt.Fprintf(a.Err, "lost      %s records that were signed after them\n", cli.Grouped(was.Size-l.size))
	}
	fmt.Fprintf(a.Err, `not in them: windows that were open, raw events and their ids, values of
          dimensions, sessions, levels, refused samples. Nodes send again what they
          hold; what they send of the reported time is quarantined, not counted
next      %s serve --data %s
`, a.Called, l.dir)
	if k := len(l.answers); k > 0 {
		fmt.Fprintf(a.Err, "          %s import %s\n", a.Called, l.answers[k-1].path)
	}
	return nil
}

// fill makes the store in folder from the reports, keeps the vendor's documents
// in it, and returns the newest checkpoint that is known to have existed.
func (l *lostSite) fill(ctx context.Context, folder string) (was ledger.Checkpoint, err error) {
	s := &site{keys: l.keys, cfg: &Config{DataDir: filepath.Dir(folder)}}
	if l.store, err = s.openStore(false); err != nil {
		return was, err
	}
	defer func() { err = errors.Join(err, l.store.Close()) }()
	if l.into, err = l.store.Restore(); err != nil {
		return was, err
	}
	heads, err := l.heads(ctx)
	if err != nil {
		return was, err
	}
	l.notes = map[uint64][]byte{}
	for i := range heads {
		if err := l.take(ctx, &heads[i]); err != nil {
			return was, err
		}
	}
	if err := l.into.Finish(ctx); err != nil {
		return was, err
	}
	if was, err = l.newest(); err != nil {
		return was, err
	}
	return was, l.keep()
}

// reportHead is what a report says of itself before its records.
type reportHead struct {
	path       string
	base, size uint64
}

var errHeadRead = errors.New("head read")

// heads reads the heads of the reports and orders them: each goes on from a size
// that those before it reach.
func (l *lostSite) heads(ctx context.Context) ([]reportHead, error) {
	files, err := expandFolders(l.reports, "*.usage*")
	if err != nil {
		return nil, err
	}
	var heads []reportHead
	for _, path := range files {
		h := reportHead{path: path}
		_, err := verifyNamed(ctx, path, export.VerifyOptions{TrustFile: true, VisitHead: func(v export.VisitedHead) error {
			h.base, h.size = v.Base, v.Size
			return errHeadRead
		}})
		if !errors.Is(err, errHeadRead) {
			return nil, err
		}
		heads = append(heads, h)
	}
	if len(heads) == 0 {
		return nil, cli.Fail(cli.ExitUsage, "config_invalid", "give the .usage files of this site; the vendor's portal keeps those that it accepted", "there is no report to restore from")
	}
	slices.SortFunc(heads, func(a, b reportHead) int { return cmp.Or(cmp.Compare(a.base, b.base), cmp.Compare(a.size, b.size)) })
	return heads, nil
}

// verifyNamed is verifyFile with an error that names the file.
func verifyNamed(ctx context.Context, path string, o export.VerifyOptions) (*export.Report, error) {
	r, err := verifyFile(ctx, path, o)
	var doc *export.Error
	if errors.As(err, &doc) {
		err = documentFailure(path, doc)
	}
	return r, err
}

// expandFolders replaces each folder by the files in it that match.
func expandFolders(paths []string, match string) (files []string, err error) {
	for _, path := range paths {
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			files = append(files, path) // opening it says what is wrong
			continue
		}
		list, err := filepath.Glob(filepath.Join(path, match))
		if err != nil {
			return nil, err
		}
		files = append(files, list...)
	}
	return files, nil
}

// take verifies a report as the vendor would who has accepted those before it,
// and appends the records that are new.
func (l *lostSite) take(ctx context.Context, h *reportHead) error {
	if err := l.into.Commit(); err != nil {
		return err
	}
	if h.base > l.size {
		return cli.Fail(cli.ExitDocument, export.CodeBaseMissing, "give the report that ends there too; the vendor's portal keeps every one that it accepted",
			"%s begins after record %d, and those before end at %d", filepath.Base(h.path), h.base, l.size)
	}
	have := l.size
	tree := ledger.NewTree(l.store, have)
	key := l.keys.vkey()
	o := export.VerifyOptions{Origin: key.Name, ReceiptKeys: l.receiptKeys(),
		OwnLeaf: func(i uint64) (ledger.Hash, bool) {
			if i >= have {
				return ledger.Hash{}, false
			}
			leaf, err := l.store.Leaf(i)
			return leaf, err == nil
		},
		VisitHead: func(v export.VisitedHead) error {
			l.notes[v.Base] = slices.Clone(v.BaseNote)
			return nil
		},
		Visit: func(v *export.Visited) error {
			if v.Index < have {
				return nil
			}
			l.size = v.Index + 1
			return l.into.Add(v.Line)
		},
	}
	if len(l.known) > 0 { // else the opening of the ledger proves its key
		o.SiteKeys, o.RotatedKeys = l.known[:1], l.known[1:]
	}
	for _, size := range []uint64{h.base, have, h.size} {
		if size == 0 || size > have {
			continue
		}
		root, err := tree.RootAt(size)
		if err != nil {
			return err
		}
		o.Accepted = append(o.Accepted, ledger.Checkpoint{Origin: key.Name, Size: size, Root: root})
	}
	r, err := verifyNamed(ctx, h.path, o)
	if err == nil && r.Verdict == export.Reject {
		f := r.Decisive()
		err = cli.Fail(cli.ExitHistory, f.Code, "give the reports of one history only: those that the vendor accepted", "%s: record %d: %s", filepath.Base(h.path), f.Record, f.Detail)
	}
	if err == nil {
		l.follow(r)
	}
	return err
}

// follow notes which key signs the reports after r.
func (l *lostSite) follow(r *export.Report) {
	if len(l.known) == 0 {
		l.known = append(l.known, r.Keys[0])
	}
	for _, s := range r.NewKeys {
		if k, err := ledger.ParseVKey(s); err == nil && k.CheckRole(ledger.RoleSite) == nil && !slices.Contains(l.known, s) {
			l.known = append([]string{s}, l.known...)
		}
	}
}

// readReplies reads the replies, and the licenses in them as far as there is
// somebody to trust for them.
func (l *lostSite) readReplies(keysIn string) error {
	files, err := expandFolders(l.replies, "*.reply*")
	if err != nil {
		return err
	}
	for _, path := range files {
		f := readImport(path, false)
		if f.Err != nil {
			return f.Err
		}
		r, err := export.ParseReply(f.doc)
		if err != nil {
			return err
		}
		if own := l.keys.origin(); r.Origin != own {
			return cli.Fail(cli.ExitDocument, export.CodeWrongLedger, "give the replies to this site's reports", "%s is for %s, this site is %s", f.Name, r.Origin, own)
		}
		l.answers = append(l.answers, &lostReply{path: path, doc: f.doc, reply: r})
	}
	slices.SortStableFunc(l.answers, func(a, b *lostReply) int {
		x, _ := a.reply.Checkpoint() // one without a receipt comes first
		y, _ := b.reply.Checkpoint()
		return cmp.Compare(x.Size, y.Size)
	})
	if l.terms.trusted, err = readVendorKeys(keysIn); err != nil {
		return err
	}
	for more := true; more; { // a license may announce the key of another
		more = false
		for _, r := range l.answers {
			if r.license != nil || r.reply.License == nil {
				continue
			}
			if x, err := license.Verify(r.reply.License, l.terms.trusted, nil); err == nil {
				r.license, more = x, true
				l.terms.trust(x)
			}
		}
	}
	return nil
}

func (l *lostSite) receiptKeys() (keys []string) {
	for _, r := range l.answers {
		if r.license != nil {
			keys = append(keys, spelled(r.license.ReceiptKeys, r.license.Revoked)...)
		}
	}
	return keys
}

// newest returns the newest checkpoint that the site signed, as far as it is
// known. What the vendor accepted must be in the ledger.
func (l *lostSite) newest() (was ledger.Checkpoint, err error) {
	was = ledger.Checkpoint{Origin: l.keys.origin(), Size: l.size, Root: l.store.Status().Root}
	for _, r := range l.answers {
		if r.reply.Receipt == nil {
			continue
		}
		cp, err := l.signedHere(r.path, r.reply.Receipt)
		if err != nil {
			return was, err
		}
		if cp.Size > l.size {
			return was, cli.Fail(cli.ExitHistory, license.CodeLedgerBehind, "give the report that ends there too: it can be downloaded from the vendor's portal",
				"the vendor has accepted %d records, the reports end at %d", cp.Size, l.size)
		}
	}
	if l.checkpoint == "" {
		return was, nil
	}
	note, err := os.ReadFile(l.checkpoint)
	if err != nil {
		return was, cli.Fail(cli.ExitUsage, "", "give the path of a checkpoint", "%v", err)
	}
	cp, err := l.signedHere(l.checkpoint, note)
	if err == nil && cp.Size > was.Size {
		was = cp
	}
	return was, err
}

// signedHere reads a checkpoint that a key of the site must have signed, and that
// must be of this ledger as far as that goes.
func (l *lostSite) signedHere(path string, signed []byte) (ledger.Checkpoint, error) {
	var (
		cp  *ledger.SignedCheckpoint
		err error
	)
	for _, key := range append([]string{l.keys.vkey().String()}, l.known...) {
		var v note.Verifier
		if v, err = ledger.ParseVerifier(key, ledger.RoleSite); err != nil {
			return ledger.Checkpoint{}, err
		}
		if cp, err = ledger.ParseCheckpoint(signed, v); err == nil {
			break
		}
	}
	if err != nil || cp.Origin != l.keys.origin() {
		return ledger.Checkpoint{}, cli.Fail(cli.ExitDocument, export.CodeSignature, "give documents of this site", "%s holds no checkpoint that this site signed: %v", filepath.Base(path), err)
	}
	if cp.Size > l.size {
		return cp.Checkpoint, nil
	}
	root, err := ledger.NewTree(l.store, l.size).RootAt(cp.Size)
	if err == nil && root != cp.Root {
		err = cli.Fail(cli.ExitHistory, license.CodeLedgerOff, "the site key was used for two histories: ask the vendor which one goes on", "%s has another root for %d records than the reports", filepath.Base(path), cp.Size)
	}
	return cp.Checkpoint, err
}

// keep puts receipts, replies and licenses that verify into the store. None of
// them is in force by that: no record names them before they are imported.
func (l *lostSite) keep() error {
	keys := l.receiptKeys()
	for _, r := range l.answers {
		if r.license == nil {
			continue
		}
		if err := l.store.KeepDocument(docLicense, licenseName(r.license.Serial, license.Digest(r.license.Bytes())), r.license.Bytes()); err != nil {
			return err
		}
		if err := l.store.KeepDocument(docReply, digestName(sha256.Sum256(r.doc)), r.doc); err != nil {
			return err
		}
		if cp, err := r.reply.Checkpoint(); err == nil {
			l.notes[cp.Size] = r.reply.Receipt
		}
	}
	for size, note := range l.notes {
		r := export.Reply{Receipt: note}
		if _, err := r.ReceiptKnown(keys); err != nil {
			continue // the site's own signature alone, or nobody to trust for another
		}
		if err := l.store.KeepReceipt(size, note); err != nil {
			return err
		}
	}
	return nil
}

// copyKeys copies the files of a kept keys folder, or of a folder that has one.
func copyKeys(from, to string) error {
	if inner := filepath.Join(from, keysDir); hasSiteKey(inner) {
		from = inner
	}
	list, err := os.ReadDir(from)
	if err != nil {
		return cli.Fail(cli.ExitUsage, "", "give the folder with site.key, salt.key and tag.key", "%v", err)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for _, e := range list {
		if !e.Type().IsRegular() {
			continue
		}
		in, err := os.Open(filepath.Join(from, e.Name()))
		if err != nil {
			return err
		}
		err = cli.WriteFile(filepath.Join(to, e.Name()), false, func(w io.Writer) error {
			_, err := io.Copy(w, in)
			return err
		})
		if err = errors.Join(err, in.Close()); err != nil {
			return err
		}
	}
	return nil
}
