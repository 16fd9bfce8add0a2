package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/cli"
)

// A backup is one .tar.zst with the keys if they were asked for, a folder of
// projections, the book of nodes and tokens, and the groups of the stream one file
// each.
const (
	groupsDir    = "groups"
	backupPrefix = ".backup-" // of what a running backup keeps in the data directory
)

func (a *app) backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Write a consistent copy while the daemon runs",
		Long: `Write a consistent copy of projections, stream, nodes and tokens while the
daemon runs. With --keys it also holds the private keys, read from the data
directory by you and not given out by the daemon: keep such a file as safe as
the site. Without, the folder keys must be kept apart.`,
		Example: `  meterseal backup --out site.backup
  meterseal backup --out site.backup --keys --data ./meterseal-data`,
		Args: cobra.NoArgs,
	}
	httpFlags(cmd)
	f := cmd.Flags()
	f.StringP("out", "o", "", "file to write")
	f.Bool("force", false, "replace a file of other content")
	f.Bool("keys", false, "include the site's private keys, from --data")
	f.String("data", "./meterseal-data", "data directory of the daemon, for --keys")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		out, _ := f.GetString("out")
		if out == "" {
			return cli.Fail(cli.ExitUsage, "config_invalid", "give --out site.backup", "--out is missing")
		}
		keysOf := ""
		if keys, _ := f.GetBool("keys"); keys {
			keysOf, _ = f.GetString("data")
			if err := sameSite(cmd.Context(), c, keysOf); err != nil {
				return err
			}
		}
		force, _ := f.GetBool("force")
		size, err := fetchBackup(cmd.Context(), c, out, keysOf, force)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.Err, "wrote     %s  %s\n", out, cli.ByteSize(size))
		if keysOf == "" {
			fmt.Fprintf(a.Err, "keys      not in it: keep the folder keys of the data directory apart\n")
		}
		_, err = fmt.Fprintf(a.Err, "next      %s restore --from %s --data DIR\n", a.Called, out)
		return err
	}
	return cmd
}

// sameSite refuses keys that are not those of the daemon that is asked.
func sameSite(ctx context.Context, c *httpClient, dir string) error {
	keys, err := readKeys(dir)
	if err != nil {
		return err
	}
	var s statusAnswer
	if err := c.getJSON(ctx, "/v1/status", nil, &s); err != nil {
		return err
	}
	if name := keys.origin(); s.Ledger.Origin != name {
		return cli.Fail(cli.ExitUsage, "config_invalid", "give the --data that this daemon was started with", "the daemon keeps %s, the keys in %s are of %s", s.Ledger.Origin, dir, name)
	}
	return nil
}

// fetchBackup writes the archive to out: the keys of a data directory, if one
// is named, and then what the daemon sends. Both are zstd frames with parts of
// one tar archive, and so is their sum.
func fetchBackup(ctx context.Context, c *httpClient, out, keysOf string, force bool) (size int64, err error) {
	resp, err := c.do(ctx, "POST", "/v1/backup", nil, "", nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	pending := keysOf != "" && hasKeyFile(filepath.Join(keysOf, keysDir), nextKeyFile)
	err = cli.PlaceFile(out, force, func(tmp string) error {
		f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		if keysOf != "" {
			err = writeKeys(f, keysOf)
		}
		if err == nil {
			_, err = io.Copy(f, resp.Body)
		}
		if err == nil {
			size, err = f.Seek(0, io.SeekCurrent)
		}
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
		if keysOf != "" && !pending && hasKeyFile(filepath.Join(keysOf, keysDir), nextKeyFile) {
			return cli.Fail(cli.ExitError, "busy", "make the backup again", "the site key was rotated meanwhile, and the backup may lack the new one")
		}
		return readBackup(tmp, func(_ string, r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return err
		})
	})
	return size, err
}

// writeKeys writes the keys of a data directory as the beginning of an archive.
func writeKeys(w io.Writer, dir string) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	if err := addTree(t, dir, keysDir); err != nil {
		return err
	}
	return errors.Join(t.Flush(), z.Close())
}

// backup writes the archive without keys: first the projections, then the
// stream, so that the stream holds everything that the projections have folded.
func (s *site) backup(ctx context.Context, w io.Writer) error {
	s.reading.RLock() // a group that leaves meanwhile would be a hole in the backup
	defer s.reading.RUnlock()
	dir, err := os.MkdirTemp(s.cfg.DataDir, backupPrefix+"*")
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
	if err := addTree(t, s.cfg.DataDir, access.FileName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for g, err := range s.stream.ReadKept(ctx) {
		if err != nil {
			return err
		}
		if err := addFile(t, fmt.Sprintf("%s/%016d", groupsDir, g.Seq), g.Data); err != nil {
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
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Name: filepath.ToSlash(rel), Mode: 0o600, Size: info.Size()}); err != nil {
			return err
		}
		_, err = io.Copy(t, f) // no longer than Size, or it fails
		return err
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
			return cli.Fail(cli.ExitDocument, "format/truncated", "copy it again", "%s is not a whole backup: %v", path, err)
		}
		if complete {
			return cli.Fail(cli.ExitDocument, "format/malformed", "copy it again", "%s goes on after its end", path)
		}
		if complete = h.Name == "complete"; complete {
			continue
		}
		if !filepath.IsLocal(h.Name) {
			return cli.Fail(cli.ExitDocument, "format/malformed", "it was not made by meterseal backup", "%s holds the path %q", path, h.Name)
		}
		if err := f(h.Name, t); err != nil {
			return err
		}
	}
	if !complete {
		return cli.Fail(cli.ExitDocument, "format/truncated", "copy it again", "%s is not a whole backup", path)
	}
	return nil
}
