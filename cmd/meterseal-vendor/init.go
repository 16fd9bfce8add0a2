package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/portal"
)

// generatedWorkFactor is the logarithm of scrypt's cost where the passphrase is
// 32 random bytes: nobody guesses those, so no time is spent on each start.
const generatedWorkFactor = 10

func (a *app) initCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the vendor's keys and database",
		Long: `Make the vendor's keys, one each for licenses, receipts and replies, and the
database. Every key is encrypted with a passphrase: that of --passphrase-file,
whose path is remembered in vendor.yaml; else the one that is typed, twice.
Where there is no terminal either, a random one is made and kept in the folder:
then only the rights of the files protect the keys.

Exit code: 0 made, 6 the database cannot be used.`,
		Example: "  meterseal-vendor init --domain vendor.example\n  meterseal-vendor init --data V --domain vendor.example \\\n      --passphrase-file /run/credentials/pass --dsn 'postgres:///meterseal'",
		Args:    cobra.NoArgs,
	}
	dataFlags(cmd)
	cli.FormFlags(cmd)
	cmd.Flags().String("domain", "", "host name that the keys are named after, for good")
	cmd.Flags().String("label", "", "last part of the keys' names (default the year)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		d, err := dataOf(cmd)
		if err != nil {
			return err
		}
		domain, _ := cmd.Flags().GetString("domain")
		if domain == "" {
			return cli.Fail(cli.ExitUsage, "config_invalid", "give --domain, a host name of yours: sites will see it", "the keys need a name")
		}
		label, _ := cmd.Flags().GetString("label")
		if label == "" {
			label = strconv.Itoa(a.now().UTC().Year())
		}
		p, err := a.makeVendor(cmd, d, domain, label)
		if err != nil {
			return err
		}
		defer p.Close()
		if form == "json" {
			return cli.PrintJSON(a.Out, map[string]any{"data": d.dir, "domain": p.Domain(), "keys": p.Keys()})
		}
		fmt.Fprintf(a.Out, "made    %s\n", d.dir)
		for _, k := range p.Keys() {
			fmt.Fprintf(a.Out, "%-7s %s\n", k.Role, k.VKey)
		}
		fmt.Fprintln(a.Out, `next    back up the folder and the passphrase; then "`+a.Called+` license issue --help"`)
		return nil
	}
	return cmd
}

// makeVendor makes the folder of d, its settings, keys and database.
func (a *app) makeVendor(cmd *cobra.Command, d *data, domain, label string) (*portal.Portal, error) {
	o, err := a.options(d)
	if err != nil {
		return nil, err
	}
	p, err := portal.Open(cmd.Context(), o)
	if err == nil {
		p.Close()
		return nil, cli.Fail(cli.ExitError, "already_exists", `see "meterseal-vendor keys list"; another vendor needs another --data`, "there is a vendor in %s, of %s", d.dir, p.Domain())
	}
	if !errors.Is(err, portal.ErrNoKeys) {
		return nil, storeFailure(d, err)
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, err
	}
	if err := a.choosePassphrase(d, &o); err != nil {
		return nil, err
	}
	remembered := d.settings
	if hasPassword(remembered.DSN) {
		remembered.DSN = ""
		a.say("warning: the database's address has a password and is not remembered: keep it in a file, and name that with --dsn-file")
	}
	if remembered != (settings{}) {
		text, err := yaml.Marshal(remembered)
		if err != nil {
			return nil, err
		}
		err = cli.WriteFile(filepath.Join(d.dir, settingsFile), true, func(w io.Writer) error { _, err := w.Write(text); return err })
		if err != nil {
			return nil, err
		}
	}
	o.Domain = domain
	p, err = portal.Init(cmd.Context(), o, label)
	var f *cli.Failure
	if err != nil && !errors.As(err, &f) {
		if o, openErr := a.options(d); openErr == nil {
			if _, openErr = portal.Open(cmd.Context(), o); errors.Is(openErr, portal.ErrNoKeys) {
				return nil, cli.Fail(cli.ExitUsage, "config_invalid", "choose another --domain or --label", "%s", cause(err))
			}
		}
		return nil, storeFailure(d, err)
	}
	return p, err
}

// choosePassphrase settles what the keys are encrypted with, before there are
// any.
func (a *app) choosePassphrase(d *data, o *portal.Options) error {
	switch {
	case d.PassphraseFile != "":
		if _, err := firstLine(d.PassphraseFile); err != nil {
			return err
		}
	case d.generated: // left of an init that did not get to its keys
	case a.terminal() && !d.unattended:
		typed, err := a.ask("Passphrase for the vendor's keys: ")
		if err != nil {
			return err
		}
		again, err := a.ask("The same again: ")
		if err != nil {
			return err
		}
		if typed == "" || typed != again {
			return cli.Fail(cli.ExitUsage, "passphrase_missing", "run it again", "the two are not the same, or empty")
		}
		o.Passphrase = func() (string, error) { return typed, nil }
	default:
		err := cli.WriteFile(filepath.Join(d.dir, passphraseFile), false, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, rand.Text()+rand.Text())
			return err
		})
		if err != nil {
			return err
		}
		d.generated, o.KeyWorkFactor = true, generatedWorkFactor
		fmt.Fprintln(a.Err, cli.Wrap(programName+": warning: nobody chose a passphrase: a random one is in "+filepath.Join(d.dir, passphraseFile)+
			"; only the rights of the files protect the keys, and a copy of the folder can sign", cli.Columns, "  "))
	}
	return nil
}
