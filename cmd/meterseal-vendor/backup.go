package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/portal"
)

func (a *app) backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup FOLDER",
		Short: "Write a consistent copy of the vendor's folder",
		Long: `Write a copy of the vendor's folder to a new one, which works as --data. Others
may go on meanwhile. The keys in it are encrypted; a passphrase that "init" made
is not copied: keep it elsewhere. A PostgreSQL database is copied by pg_dump,
before this command.`,
		Example: "  meterseal-vendor backup --data V /backup/vendor-2026-11-26",
		Args:    cobra.ExactArgs(1),
	}
	dataFlags(cmd)
	cmd.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		d, err := dataOf(cmd)
		if err != nil {
			return err
		}
		return a.backup(cmd, p, d, args[0])
	})
	return cmd
}

func (a *app) backup(cmd *cobra.Command, p *portal.Portal, d *data, to string) error {
	if err := os.Mkdir(to, 0o700); errors.Is(err, os.ErrExist) {
		return cli.Fail(cli.ExitError, "file_exists", "choose a folder that is not there", "%s exists", to)
	} else if err != nil {
		return err
	}
	// The database first: what it names was in the folder before.
	if d.DSN == "" && d.DSNFile == "" {
		if err := p.CopyDatabase(cmd.Context(), filepath.Join(to, databaseFiles[0])); err != nil {
			return err
		}
	}
	var bytes int64
	err := filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(d.dir, path)
		if err != nil {
			return err
		}
		top := filepath.Dir(name) == "."
		switch {
		case e.IsDir() && top && name == "tmp":
			return filepath.SkipDir
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		case top && name != settingsFile && filepath.Ext(name) != ".json":
			return nil // the database, its copies, the passphrase
		}
		n, err := copyFile(path, filepath.Join(to, name))
		bytes += n
		return err
	})
	if err != nil {
		return err
	}
	a.say("wrote %s, %s and the database", to, cli.ByteSize(bytes))
	return nil
}

func copyFile(from, to string) (n int64, err error) {
	f, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	err = cli.WriteFile(to, false, func(w io.Writer) error { n, err = io.Copy(w, f); return err })
	return n, err
}
