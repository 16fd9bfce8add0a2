package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

func (a *app) restoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Bring a site back from a backup or from its reports, or rebuild it",
		Long: `Bring a data directory back from a backup. The ledger gets a restore record at
its next position: a restore by procedure is never taken for tampering, and
never hidden. Events that came after the backup are gone unless their senders
still have them; the report says so. Every digest of the backup is compared
before anything is written; --dry-run stops there.

With --reports a lost site comes back from its usage reports: every one from the
first on, as kept or as the vendor's portal has them. The folder keys must be
there or be given with --keys. Give the last reply too: it says how far the
ledger must reach, and is imported when the daemon runs again.

With --supersede, if the site key is gone too, the next ledger that begins in
the folder names the lost one, as the last reply describes it. Its first report
asks the vendor to put it in the place of that one, which he decides.

With --in-place a ledger of which nodes saw more than it has (behind_node) goes
on as it is, with a restore record: when nobody has the newer directory.

With --rebuild the projections of an existing directory are folded again from
its stream, which changes no record.`,
		Example: `  meterseal restore --from site.backup --data ./meterseal-data
  meterseal restore --from site.backup --passphrase-file pass --data D
  meterseal restore --keys /safe/keys --reply last.reply --reports *.usage
  meterseal restore --in-place --cause vm-reverted
  meterseal restore --rebuild --data ./meterseal-data`,
		Args: cobra.ArbitraryArgs,
	}
	f := cmd.Flags()
	f.String("data", "./meterseal-data", "data directory to make, or to rebuild")
	f.String("from", "", "backup to restore from")
	f.String("passphrase-file", "", "file whose first line opens the keys in it")
	f.String("identity-file", "", "file of age-keygen that opens them")
	f.Bool("dry-run", false, "with --from: try all of it, and write nothing")
	f.StringArray("reports", nil, "report, or folder of reports, to restore from; more may follow")
	f.StringArray("reply", nil, "reply to one of them, the last at least")
	f.String("checkpoint", "", "newest signed checkpoint that somebody kept")
	f.String("keys", "", "kept folder keys to copy")
	f.Bool("supersede", false, "begin anew in the place of the ledger of --reply")
	f.Bool("in-place", false, "go on from the ledger as it is, after it was put back")
	f.Bool("rebuild", false, "fold the projections again from the stream")
	f.String("cause", "disk-lost", "why, one word, for the restore record")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir, _ := f.GetString("data")
		reports, _ := f.GetStringArray("reports")
		if len(reports) == 0 && len(args) > 0 {
			return cli.Fail(cli.ExitUsage, "config_invalid", "did you mean --reports?", "restore takes no arguments but reports: %q", args[0])
		}
		from, _ := f.GetString("from")
		rebuild, _ := f.GetBool("rebuild")
		cause, _ := f.GetString("cause")
		replies, _ := f.GetStringArray("reply")
		supersede, _ := f.GetBool("supersede")
		inPlace, _ := f.GetBool("in-place")
		switch {
		case inPlace && !supersede && !rebuild && from == "" && len(reports) == 0:
			return a.restoreInPlace(cmd.Context(), dir, cause)
		case inPlace:
			// falls to the refusal
		case supersede && from == "" && len(reports) == 0 && !rebuild:
			return a.supersede(dir, replies)
		case supersede:
			// falls to the refusal
		case rebuild && from == "" && len(reports) == 0:
			return a.rebuild(cmd.Context(), dir)
		case from != "" && !rebuild && len(reports) == 0:
			pass, _ := f.GetString("passphrase-file")
			identity, _ := f.GetString("identity-file")
			b := &fromBackup{dir: dir, from: from, cause: cause}
			b.dryRun, _ = f.GetBool("dry-run")
			var err error
			if b.open, err = identitiesOf(pass, identity); err != nil {
				return err
			}
			return a.restore(cmd.Context(), b)
		case len(reports) > 0 && from == "" && !rebuild:
			l := &lostSite{dir: dir, cause: cause, reports: append(reports, args...)}
			l.replies = replies
			l.checkpoint, _ = f.GetString("checkpoint")
			l.keysFrom, _ = f.GetString("keys")
			return a.restoreReports(cmd.Context(), l)
		}
		return cli.Fail(cli.ExitUsage, "config_invalid", "give one of the five", "restore needs --from FILE, --reports FILE, --in-place, --supersede or --rebuild")
	}
	return cmd
}

// fromBackup is what a restore from a backup is asked for.
type fromBackup struct {
	dir, from, cause string
	open             []export.Identity // of the keys in it
	dryRun           bool
}

// restore brings dir back. Everything is made whole in a folder of its own and
// moved last: before that a crash leaves nothing that a daemon would start from.
func (a *app) restore(ctx context.Context, b *fromBackup) error {
	dir := b.dir
	if _, err := formats.Check(dir); err != nil {
		return err
	}
	if hasHistory(dir) {
		return hasLedger(dir)
	}
	// A cut or changed archive must not leave half a site: read all of it first.
	c, err := readBackup(b.from, nil)
	if err != nil {
		return err
	}
	first := uint64(0) // group of the stream; those before it were pruned
	if c.first != "" {
		if first, err = strconv.ParseUint(c.first, 10, 64); err != nil {
			return cli.Fail(cli.ExitDocument, "format/malformed", "it was not made by meterseal backup", "%s holds the group %q", b.from, c.first)
		}
	}
	withKeys := false
	switch {
	case hasSiteKey(filepath.Join(dir, keysDir)): // those that are there stay
	case !c.keys:
		return cli.Fail(cli.ExitHistory, "site_key_missing", fmt.Sprintf("put the folder keys into %s, then restore again", dir), "the backup holds no keys, and %s has none", dir)
	case len(b.open) == 0:
		return cli.Fail(cli.ExitHistory, "site_key_missing", "give --passphrase-file FILE or --identity-file FILE, or put the folder keys there", "the keys in the backup are encrypted, and %s has none", dir)
	default:
		withKeys = true
	}
	work, remove, err := restoreFolder(dir)
	if err != nil {
		return err
	}
	defer remove()
	u := unpacking{work: work, from: b.from, keys: withKeys, open: b.open}
	if err := u.unpack(ctx, first); err != nil {
		return err
	}
	keysIn := dir
	if withKeys {
		keysIn = work
	}
	k, err := readKeys(keysIn)
	if err == nil {
		err = a.recordRestore(ctx, k, work, "restore @ "+ledger.EscapeValue(b.cause)+" # # - -")
	}
	if err == nil && b.dryRun {
		_, err = fmt.Fprintf(a.Err, "restores  %s: %s groups, nothing was written\n", dir, cli.Grouped(u.groups))
		return err
	}
	if err == nil {
		err = placeRestored(work, dir, withKeys)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Err, "restored  %s: %s groups\nnext      %s serve --data %s\n", dir, cli.Grouped(u.groups), a.Called, dir)
	return err
}

// restoreInPlace lets a ledger that was put back go on as it is.
func (a *app) restoreInPlace(ctx context.Context, dir, cause string) error {
	if !hasHistory(dir) {
		return cli.Fail(cli.ExitHistory, "no_history", "give the right --data", "%s holds no ledger", dir)
	}
	if err := prepareDir(dir, slog.New(slog.NewTextHandler(a.Err, nil))); err != nil {
		return err
	}
	keys, err := readKeys(dir)
	if err == nil {
		err = a.recordRestore(ctx, keys, dir, "restore @ "+ledger.EscapeValue(cause)+" # # - -")
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Err, "restored  %s as it is; nodes send again what they hold\nnext      %s serve --data %s\n", dir, a.Called, dir)
	return err
}

func hasLedger(dir string) error {
	return cli.Fail(cli.ExitHistory, "store_in_use", "move it away first; nothing is ever overwritten", "%s already holds a ledger", dir)
}

// restoreFolder makes the folder in dir in which everything is made whole, and
// returns what removes it, and a dir that it made in vain.
func restoreFolder(dir string) (work string, remove func(), err error) {
	isNew := !exists(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	work, err = os.MkdirTemp(dir, ".restore-*")
	return work, func() {
		_ = os.RemoveAll(work) // the next start does it otherwise
		if isNew {
			_ = os.Remove(dir) // which leaves one that holds something
		}
	}, err
}

// placeRestored moves what was made in work to dir. A crash in between leaves
// what no daemon starts from: keys alone, or no projections.
func placeRestored(work, dir string, keys bool) error {
	if err := formats.Begin(dir); err != nil {
		return err
	}
	folders := []string{streamDir, projectionsDir}
	if keys {
		if err := os.RemoveAll(filepath.Join(dir, keysDir)); err != nil {
			return err
		}
		folders = append([]string{keysDir}, folders...)
	}
	// Nodes and tokens that are there stay.
	if book := access.FileName; exists(filepath.Join(work, book)) && !exists(filepath.Join(dir, book)) {
		folders = append([]string{book}, folders...)
	}
	for _, d := range folders {
		if err := moveSynced(filepath.Join(work, d), filepath.Join(dir, d)); err != nil {
			return err
		}
	}
	return nil
}

// unpacking is a backup that becomes a data directory.
type unpacking struct {
	work, from string
	keys       bool // those in it are wanted
	open       []export.Identity
	groups     uint64 // so far
}

// unpack fills work with projections, stream and, if asked for, keys. The stream
// begins with group first.
func (u *unpacking) unpack(ctx context.Context, first uint64) error {
	str, err := stream.Open(ctx, stream.Options{Dir: filepath.Join(u.work, streamDir), InProcess: true, First: first})
	if err != nil {
		return err
	}
	at := max(first, 1) - 1
	_, err = readBackup(u.from, func(name string, r io.Reader) error {
		top, _, _ := strings.Cut(name, "/")
		switch {
		case top == groupsDir:
			data, err := io.ReadAll(io.LimitReader(r, stream.MaxAppendBytes+1))
			if err == nil {
				at, err = str.Append(ctx, at, data)
				u.groups++
			}
			return err
		case name == sealedKeys && u.keys:
			return u.unseal(r)
		case name == sealedKeys:
			return nil
		case name != access.FileName && top != projectionsDir:
			return u.strange(name)
		}
		return placeFile(u.work, name, r)
	})
	err = errors.Join(err, str.Close())
	for _, d := range []string{projectionsDir, keysDir} {
		if err == nil && (d != keysDir || u.keys) {
			err = cli.SyncFolder(filepath.Join(u.work, d))
		}
	}
	return err
}

// unseal decrypts the keys.
func (u *unpacking) unseal(r io.Reader) error {
	plain, layers, err := export.Unwrap(r, export.UnwrapOptions{Identities: u.open})
	if err != nil || len(layers) != 1 {
		return cli.Fail(cli.ExitUsage, "passphrase_wrong", "give the passphrase or identity that the backup was made for", "the keys in %s cannot be decrypted: %v", u.from, err)
	}
	for t := tar.NewReader(plain); ; {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if top, name, _ := strings.Cut(h.Name, "/"); top != keysDir || !filepath.IsLocal(name) || strings.Contains(name, "/") {
			return u.strange(h.Name)
		}
		if err := placeFile(u.work, h.Name, t); err != nil {
			return err
		}
	}
}

func (u *unpacking) strange(name string) error {
	return cli.Fail(cli.ExitDocument, "format/malformed", "it was not made by meterseal backup", "%s holds the path %q", u.from, name)
}

func placeFile(dir, name string, r io.Reader) error {
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Sync(), f.Close())
}

// identitiesOf reads what opens the keys in a backup; none: nothing was given.
func identitiesOf(passphraseFile, identityFile string) ([]export.Identity, error) {
	switch {
	case passphraseFile != "":
		pass, err := readPassphrase(passphraseFile)
		if err != nil {
			return nil, err
		}
		id, err := export.PassphraseIdentity(pass)
		return []export.Identity{id}, err
	case identityFile != "":
		f, err := os.Open(identityFile)
		if err != nil {
			return nil, cli.Fail(cli.ExitUsage, "config_invalid", "give the file of age-keygen", "%v", err)
		}
		defer f.Close()
		list, err := export.ParseIdentities(f)
		if err != nil {
			return nil, cli.Fail(cli.ExitUsage, "config_invalid", "give the file of age-keygen", "%s: %v", identityFile, err)
		}
		return list, nil
	}
	return nil, nil
}

// moveSynced renames a folder and makes the new name durable.
func moveSynced(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return cli.SyncFolder(filepath.Dir(to))
}

// recordRestore appends the restore record to the ledger in work, through the
// stream like any other.
func (a *app) recordRestore(ctx context.Context, keys *siteKeys, work, line string) error {
	o := &openedStore{dir: work, keys: keys}
	return o.with(ctx, func(o *openedStore) (err error) {
		var none events.Meters // it takes control lines only
		opts := stream.GatewayOptions{Meters: func() *events.Meters { return &none }, Fold: o.store.Apply, Cursor: o.store.Cursor().Seq, Now: a.clock.Wall}
		if o.store.Status().Settings.Trace {
			opts.Clock = stream.ClockTrace // it goes on where it was
		}
		g, err := stream.NewGateway(ctx, o.stream, opts)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, g.Close(ctx)) }()
		if _, err = g.Control(ctx, line); err != nil {
			return err
		}
		return keys.holdNewest(o.store.Status().SiteKeys)
	})
}

// rebuild folds the whole stream into new projections and keeps the old ones
// beside them until that has worked.
func (a *app) rebuild(ctx context.Context, dir string) error {
	if !hasHistory(dir) {
		return cli.Fail(cli.ExitHistory, "no_history", "give the right --data", "%s holds no ledger", dir)
	}
	if err := prepareDir(dir, slog.New(slog.NewTextHandler(a.Err, nil))); err != nil {
		return err
	}
	keys, err := readKeys(dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, streamDir)); err != nil {
		return cli.Fail(cli.ExitHistory, "no_history", "restore from a backup", "%s holds no stream to rebuild from", dir)
	}
	str, err := openStreamAtRest(ctx, dir)
	if err != nil {
		return err
	}
	defer str.Close()
	last, err := str.Last(ctx)
	if err != nil {
		return err
	}
	if last.Seq == 0 {
		return cli.Fail(cli.ExitHistory, "no_history", "restore from a backup", "the stream in %s is empty", dir)
	}
	first, err := str.First(ctx)
	if err != nil {
		return err
	}
	if first > 1 {
		return cli.Fail(cli.ExitHistory, "no_history", "restore from a backup: it holds the projections too",
			"the stream in %s begins with group %d: those before it were pruned after a receipt, so the projections cannot be folded again", dir, first)
	}
	fresh := filepath.Join(dir, projectionsDir+".new")
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	store, err := projections.Open(projections.Options{Dir: fresh, Secrets: keys.secrets, Sign: keys.sign})
	if err != nil {
		return err
	}
	total := last.Group.First + uint64(last.Group.Count)
	if err := a.foldAll(ctx, str, store, total); err != nil {
		return errors.Join(err, store.Close())
	}
	if _, err := store.Sync(ctx); err != nil {
		return errors.Join(err, store.Close())
	}
	if err := sameLedger(keys, dir, store); err != nil {
		return errors.Join(err, store.Close())
	}
	if err := store.Close(); err != nil {
		return err
	}
	old := filepath.Join(dir, projectionsDir)
	kept := ""
	if _, err := os.Stat(old); err == nil {
		kept = old + time.Now().UTC().Format(".old-20060102T150405.000Z")
		if err := moveSynced(old, kept); err != nil {
			return err
		}
	}
	if err := moveSynced(fresh, old); err != nil {
		return err
	}
	fmt.Fprintf(a.Err, "rebuilt   %s events from %s groups\n", cli.Grouped(total), cli.Grouped(last.Seq))
	if kept != "" {
		fmt.Fprintf(a.Err, "kept      %s\n          the old projections: remove them when all is well\n", filepath.Base(kept))
	}
	_, err = fmt.Fprintf(a.Err, "next      %s ledger check --data %s\n", a.Called, dir)
	return err
}

// sameLedger compares what was folded again with the newest checkpoint that the
// old projections still hold, if they can be opened at all: a stream that gives
// other records would be a second history under one key. The vendor's documents
// are taken over; without them the newest reply has to be imported again.
func sameLedger(keys *siteKeys, dir string, fresh *projections.Store) error {
	s := &site{keys: keys, cfg: &Config{DataDir: dir}}
	old, err := s.openStore(true)
	if err != nil {
		if codeOf(err) == "store_in_use" {
			return err
		}
		return nil
	}
	size, root := old.Status().Records, old.Status().Root
	// Receipts and licenses cannot be folded again. What of them cannot be read
	// comes back with the next import.
	copied := fresh.CopyDocuments(old)
	if err := old.Close(); err != nil || copied != nil || size == 0 {
		return nil //nolint:nilerr // what cannot be read to its end is not compared
	}
	if n := fresh.Status().Records; n < size {
		return cli.Fail(cli.ExitHistory, "stream_behind_cursor", "restore from a backup", "the stream gives %d records, the ledger had %d", n, size)
	}
	again, err := ledger.NewTree(fresh, fresh.Status().Records).RootAt(size)
	if err != nil {
		return err
	}
	if again != root {
		return cli.Fail(cli.ExitHistory, "ledger_damaged", "restore from a backup", "the stream does not give the records of the ledger as it was at size %d", size)
	}
	return nil
}

func (a *app) foldAll(ctx context.Context, str *stream.Stream, store *projections.Store, total uint64) error {
	bar := a.progress("rebuild", "events", int64(total))
	defer bar.finish()
	for g, err := range stream.Ahead(str.Read(ctx, 0)) {
		if err != nil {
			return err
		}
		if _, err := store.Apply(g.Seq, g.Group, nil); err != nil {
			return err
		}
		bar.set(int64(g.Group.First) + int64(g.Group.Count))
	}
	return nil
}
