package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/cli"
)

// backupPrefix begins the names of what a running backup keeps in the data directory.
const backupPrefix = ".backup-"

func (a *app) backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Write a consistent copy while the daemon runs",
		Long: `Write a consistent copy of projections, stream, documents, nodes and tokens
while the daemon runs. The file has its name once it was read again.

The private keys are not in it unless --with-keys is given: without them nobody
can go on with the ledger. They are read from the data directory by you, not
given out by the daemon, and encrypted with a passphrase or for recipients.

With --verify a file is read and compared with its digests; nothing is written.`,
		Example: `  meterseal backup --out site.backup
  meterseal backup --out site.backup --with-keys --passphrase-file pass
  meterseal backup --verify site.backup`,
		Args: cobra.NoArgs,
	}
	httpFlags(cmd)
	f := cmd.Flags()
	f.StringP("out", "o", "", "file to write")
	f.Bool("force", false, "replace a file of other content")
	f.Bool("with-keys", false, "include the site's keys, from --data, encrypted")
	f.String("passphrase-file", "", "file whose first line encrypts them")
	f.StringArray("recipient", nil, "age1… key that decrypts them")
	f.String("data", "./meterseal-data", "data directory of the daemon, for --with-keys")
	f.String("verify", "", "backup to verify instead")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if file, _ := f.GetString("verify"); file != "" {
			return a.verifyBackup(file)
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		out, _ := f.GetString("out")
		if out == "" {
			return cli.Fail(cli.ExitUsage, "config_invalid", "give --out site.backup", "--out is missing")
		}
		k, err := keptKeysOf(cmd)
		if err == nil && k != nil {
			err = sameSite(cmd.Context(), c, k.dir)
		}
		if err != nil {
			return err
		}
		force, _ := f.GetBool("force")
		size, err := fetchBackup(cmd.Context(), c, out, k, force)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.Err, "wrote     %s  %s\n", out, cli.ByteSize(size))
		if k == nil {
			fmt.Fprint(a.Err, "keys      not in it: without the folder keys of the data directory nobody can\n          restore this site. Keep it apart, or use --with-keys\n")
		} else {
			fmt.Fprintf(a.Err, "keys      in it, encrypted %s\n", k.how)
		}
		opens := ""
		if k != nil {
			opens = " --passphrase-file F" // or the identity; help says both
			if to, _ := f.GetStringArray("recipient"); len(to) > 0 {
				opens = " --identity-file F"
			}
		}
		_, err = fmt.Fprintf(a.Err, "next      %s restore --from %s --data DIR%s\n", a.Called, out, opens)
		return err
	}
	return cmd
}

// keptKeys are the keys that go into a backup.
type keptKeys struct {
	dir  string // data directory
	wrap export.WrapOptions
	how  string // for people
}

// keptKeysOf reads the flags; nil: no keys.
func keptKeysOf(cmd *cobra.Command) (*keptKeys, error) {
	f := cmd.Flags()
	with, _ := f.GetBool("with-keys")
	file, _ := f.GetString("passphrase-file")
	recipients, _ := f.GetStringArray("recipient")
	if !with {
		if file != "" || len(recipients) > 0 {
			return nil, cli.Fail(cli.ExitUsage, "config_invalid", "give --with-keys too", "there is nothing to encrypt: the keys are not to be in the backup")
		}
		return nil, nil
	}
	k := &keptKeys{}
	k.dir, _ = f.GetString("data")
	switch {
	case file != "" && len(recipients) == 0:
		pass, err := readPassphrase(file)
		if err != nil {
			return nil, err
		}
		r, err := export.PassphraseRecipient(pass)
		if err != nil {
			return nil, err
		}
		k.wrap.Recipients, k.how = append(k.wrap.Recipients, r), "with the passphrase: it is not in it"
	case len(recipients) > 0 && file == "":
		var err error
		if k.wrap.Recipients, err = export.ParseRecipients(recipients); err != nil {
			return nil, cli.Fail(cli.ExitUsage, "config_invalid", "give the age1… line of age-keygen", "--recipient: %v", err)
		}
		k.how = "for " + cli.Plural(len(recipients), "recipient")
	default:
		return nil, cli.Fail(cli.ExitUsage, "config_invalid", "give either --passphrase-file FILE or --recipient KEY", "keys leave the data directory encrypted only")
	}
	return k, nil
}

// readPassphrase reads the first line of a file.
func readPassphrase(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", cli.Fail(cli.ExitUsage, "config_invalid", "make the file, with mode 0600", "%v", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" {
		return "", cli.Fail(cli.ExitUsage, "config_invalid", "write the passphrase to the first line", "%s is empty", file)
	}
	return line, nil
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

// fetchBackup writes the archive to out: the keys, if there are to be any, and then
// what the daemon sends. It has its name when it is whole, was read again and is on
// the disk.
func fetchBackup(ctx context.Context, c *httpClient, out string, k *keptKeys, force bool) (size int64, err error) {
	// A backup that was killed leaves as much as it had, and backups are large. The
	// time is that of the file system, so never a clock of tests.
	if err := cli.RemoveParts(filepath.Dir(out), time.Now()); err != nil {
		return 0, fmt.Errorf("remove what killed backups left: %w", err)
	}
	resp, err := c.do(ctx, "POST", "/v1/backup", nil, "", nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	rotating := func() bool { return k != nil && hasKeyFile(filepath.Join(k.dir, keysDir), nextKeyFile) }
	before := rotating()
	err = cli.PlaceFile(out, force, func(tmp string) error {
		f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		if k != nil {
			err = writeKeys(f, k)
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
		if !before && rotating() {
			return cli.Fail(cli.ExitError, "busy", "make the backup again", "the site key was rotated meanwhile, and the backup may lack the new one")
		}
		_, err = readBackup(tmp, nil)
		return err
	})
	return size, err
}

// writeKeys writes the encrypted keys as the first part of an archive.
func writeKeys(w io.Writer, k *keptKeys) error {
	sealed, err := os.CreateTemp("", "meterseal-keys-*") // encrypted already
	if err != nil {
		return err
	}
	defer sealed.Close()
	if err := os.Remove(sealed.Name()); err != nil {
		return err
	}
	in, err := export.Wrap(sealed, k.wrap)
	if err != nil {
		return err
	}
	plain := newArchive(in)
	if err := plain.addTree(k.dir, keysDir); err != nil {
		return err
	}
	if err := errors.Join(plain.t.Close(), in.Close()); err != nil {
		return err
	}
	size, err := sealed.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = sealed.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	t := newArchive(z)
	if err := t.add(sealedKeys, size, sealed); err != nil {
		return err
	}
	return errors.Join(t.writeManifest(keysPart), t.t.Flush(), z.Close())
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
	t := newArchive(z)
	if err := t.addTree(dir, projectionsDir); err != nil {
		return err
	}
	if err := t.addTree(s.cfg.DataDir, access.FileName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for g, err := range s.stream.ReadKept(ctx) {
		if err != nil {
			return err
		}
		if err := t.addBytes(fmt.Sprintf("%s/%016d", groupsDir, g.Seq), g.Data); err != nil {
			return err
		}
	}
	return errors.Join(t.writeManifest(sitePart), t.t.Close(), z.Close())
}

// verifyBackup says what a backup holds, once its digests are compared.
func (a *app) verifyBackup(file string) error {
	c, err := readBackup(file, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Out, "digests   ok  %s\n", cli.Plural(c.files, "file"))
	fmt.Fprintf(a.Out, "stream    ok  %s\n", cli.Plural(c.groups, "group"))
	fmt.Fprintf(a.Out, "made by   %s, format %d\n", c.format.Program, c.format.Number)
	keys := "not in it: the folder keys is needed too"
	if c.keys {
		keys = "in it, encrypted"
	}
	_, err = fmt.Fprintf(a.Out, "keys      %s\n", keys)
	return err
}
