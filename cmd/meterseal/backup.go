package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/projections"
)

// A backup is one .tar.zst with a folder of projections, the groups of the
// stream one file each, and the keys if asked for.
const groupsDir = "groups"

func (a *app) backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Write a consistent copy while the daemon runs",
		Long: `Write a consistent copy of projections and stream while the daemon runs. With
--keys it holds the site key: keep it as safe as the site. Without, the keys
folder must be kept apart.`,
		Example: "  meterseal backup --out site.backup --keys",
		Args:    cobra.NoArgs,
	}
	httpFlags(cmd)
	f := cmd.Flags()
	f.StringP("out", "o", "", "file to write")
	f.Bool("keys", false, "include the site's private keys")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		out, _ := f.GetString("out")
		if out == "" {
			return fail(exitUsage, "config_invalid", "give --out site.backup", "--out is missing")
		}
		if _, err := os.Stat(out); err == nil {
			return fail(exitError, "file_exists", "choose another --out", "%s exists", out)
		}
		q := url.Values{}
		if keys, _ := f.GetBool("keys"); keys {
			q.Set("keys", "true")
		}
		resp, err := c.do(cmd.Context(), "POST", "/v1/backup", q, "", nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		tmp, err := os.CreateTemp(filepath.Dir(out), ".meterseal-*.part")
		if err != nil {
			return err
		}
		defer os.Remove(tmp.Name())
		n, err := io.Copy(tmp, resp.Body)
		if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
			return err
		}
		if err := checkBackup(tmp.Name()); err != nil {
			return err
		}
		if err := os.Rename(tmp.Name(), out); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.err, "wrote  %s  %s\nnext   meterseal restore --from %s --data DIR\n", out, byteSize(n), out)
		return err
	}
	return cmd
}

// backup writes the archive: first the projections, then the stream, so that
// the stream holds everything that the projections have folded.
func (s *site) backup(ctx context.Context, w io.Writer, keys bool) error {
	dir, err := os.MkdirTemp(s.cfg.DataDir, ".backup-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if _, err := s.store.Backup(ctx, filepath.Join(dir, projectionsDir)); err != nil {
		return err
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	if err := addTree(t, dir, projectionsDir); err != nil {
		return err
	}
	for g, err := range s.stream.Read(ctx, 0) {
		if err != nil {
			return err
		}
		if err := addFile(t, fmt.Sprintf("%s/%016d", groupsDir, g.Seq), g.Data); err != nil {
			return err
		}
	}
	if keys {
		if err := addTree(t, s.cfg.DataDir, keysDir); err != nil {
			return err
		}
	}
	if err := addFile(t, "complete", []byte("meterseal-backup/v1\n")); err != nil {
		return err
	}
	return errors.Join(t.Close(), z.Close())
}

func addFile(t *tar.Writer, name string, data []byte) error {
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := t.Write(data)
	return err
}

func addTree(t *tar.Writer, root, sub string) error {
	return filepath.WalkDir(filepath.Join(root, sub), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return addFile(t, filepath.ToSlash(rel), data)
	})
}

// readBackup calls f for each file of an archive and fails if it is not
// complete.
func readBackup(path string, f func(name string, r io.Reader) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	z, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer z.Close()
	complete := false
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fail(exitDocument, "format/truncated", "copy it again", "%s is not a whole backup: %v", path, err)
		}
		if complete = h.Name == "complete"; complete {
			continue
		}
		if !filepath.IsLocal(h.Name) {
			return fail(exitDocument, "format/malformed", "it was not made by meterseal backup", "%s holds the path %q", path, h.Name)
		}
		if err := f(h.Name, t); err != nil {
			return err
		}
	}
	if !complete {
		return fail(exitDocument, "format/truncated", "copy it again", "%s is not a whole backup", path)
	}
	return nil
}

func checkBackup(path string) error {
	return readBackup(path, func(_ string, r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})
}

func (a *app) restoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Bring a data directory back from a backup, or rebuild its projections",
		Long: `Bring a data directory back from a backup. The ledger gets a restore record at
its next position: a restore by procedure is never taken for tampering, and
never hidden. Events that came after the backup are gone unless their senders
still have them; the report says so.

With --rebuild the projections of an existing directory are folded again from
its stream, which changes no record.`,
		Example: `  meterseal restore --from site.backup --data ./meterseal-data
  meterseal restore --rebuild --data ./meterseal-data`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.String("data", "./meterseal-data", "data directory to make, or to rebuild")
	f.String("from", "", "backup to restore from")
	f.Bool("rebuild", false, "fold the projections again from the stream")
	f.String("cause", "disk-lost", "why, one word, for the restore record")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		dir, _ := f.GetString("data")
		from, _ := f.GetString("from")
		rebuild, _ := f.GetBool("rebuild")
		cause, _ := f.GetString("cause")
		switch {
		case rebuild && from == "":
			return a.rebuild(cmd.Context(), dir)
		case from != "" && !rebuild:
			return a.restore(cmd.Context(), dir, from, cause)
		}
		return fail(exitUsage, "config_invalid", "give one of the two", "restore needs --from FILE or --rebuild")
	}
	return cmd
}

func (a *app) restore(ctx context.Context, dir, from, cause string) error {
	if hasHistory(dir) {
		return fail(exitHistory, "store_in_use", "move it away first; nothing is ever overwritten", "%s already holds a ledger", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	str, err := stream.Open(ctx, stream.Options{Dir: filepath.Join(dir, streamDir), Listen: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	groups := 0
	prev := uint64(0)
	err = readBackup(from, func(name string, r io.Reader) error {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if strings.HasPrefix(name, groupsDir+"/") {
			groups++
			prev, err = str.Append(ctx, prev, data)
			return err
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if _, err := os.Stat(path); err == nil {
			return nil // keys that are there already stay
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o600)
	})
	if err = errors.Join(err, str.Close()); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, keysDir, "site.key")); err != nil {
		return fail(exitHistory, "site_key_missing", fmt.Sprintf("put the keys folder into %s, then start with --cause given to restore", dir), "the backup holds no keys and %s has none", dir)
	}
	if err := a.recordRestore(ctx, dir, cause); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.err, "restored  %s: %s groups\nnext      meterseal serve --data %s\n", dir, grouped(groups), dir)
	return err
}

// recordRestore appends the restore record, through the stream like any other.
func (a *app) recordRestore(ctx context.Context, dir, cause string) error {
	return a.withGateway(ctx, dir, func(o *openedStore, control func(string) error) error {
		st := o.store.Status()
		return control(fmt.Sprintf("restore @ %s %d %s - -", cause, st.Records, st.Root))
	})
}

// withGateway opens a data directory at rest with a gateway that takes control
// lines only.
func (a *app) withGateway(ctx context.Context, dir string, f func(*openedStore, func(string) error) error) error {
	return a.withStore(ctx, dir, func(o *openedStore) (err error) {
		s := &site{store: o.store}
		g, err := stream.NewGateway(ctx, o.stream, stream.GatewayOptions{Meters: s.meters.Load, Fold: o.store.Apply, Cursor: o.store.Cursor().Seq})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, g.Close(ctx)) }()
		return f(o, func(line string) error {
			_, err := g.Control(ctx, line)
			return err
		})
	})
}

// rebuild folds the whole stream into new projections and keeps the old ones
// beside them until that has worked.
func (a *app) rebuild(ctx context.Context, dir string) error {
	keys, err := loadKeys(dir)
	if err != nil {
		return err
	}
	str, err := stream.Open(ctx, stream.Options{Dir: filepath.Join(dir, streamDir), Listen: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	defer str.Close()
	last, err := str.Last(ctx)
	if err != nil {
		return err
	}
	if last.Seq == 0 {
		return fail(exitHistory, "no_history", "restore from a backup", "the stream in %s is empty", dir)
	}
	fresh := filepath.Join(dir, projectionsDir+".new")
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	s := &site{keys: keys, cfg: &Config{DataDir: dir}}
	store, err := projections.Open(projections.Options{Dir: fresh, Secrets: keys.secrets, Sign: s.sign})
	if err != nil {
		return err
	}
	total := last.Group.First + uint64(last.Group.Count)
	if err := a.foldAll(ctx, str, store, total); err != nil {
		return errors.Join(err, store.Close())
	}
	if err := store.Close(); err != nil {
		return err
	}
	old := filepath.Join(dir, projectionsDir)
	if _, err := os.Stat(old); err == nil {
		if err := os.Rename(old, old+".old"); err != nil {
			return err
		}
	}
	if err := os.Rename(fresh, old); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.err, "rebuilt   %s events from %s groups\nnext      meterseal ledger check --data %s\n", grouped(total), grouped(last.Seq), dir)
	return err
}

func (a *app) foldAll(ctx context.Context, str *stream.Stream, store *projections.Store, total uint64) error {
	bar := a.progress("rebuild", int64(total))
	defer bar.finish()
	for g, err := range str.Read(ctx, 0) {
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
