package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/portal"
)

// Files of the vendor's folder that this program reads itself; the others are
// those of package portal.
const (
	settingsFile   = "vendor.yaml"
	passphraseFile = "passphrase" // made by init where nobody chose one
)

// settings are those of vendor.yaml. A relative path counts from its folder.
type settings struct {
	DSN            string `yaml:"dsn,omitempty"`
	DSNFile        string `yaml:"dsn_file,omitempty"`
	PassphraseFile string `yaml:"passphrase_file,omitempty"`
	// MaxSize bounds a report, as 4GiB; empty: 1GiB. It stands here and is no flag,
	// since a report that was taken is read again later.
	MaxSize string `yaml:"max_size,omitempty"`
	// SecondFactor asks everybody but customers for more than a password.
	SecondFactor bool `yaml:"second_factor,omitempty"`
	// OIDCIssuer may vouch for users, as OIDCClientID with the secret of a file.
	OIDCIssuer     string `yaml:"oidc_issuer,omitempty"`
	OIDCClientID   string `yaml:"oidc_client_id,omitempty"`
	OIDCSecretFile string `yaml:"oidc_secret_file,omitempty"`
	// SMTPHost is where serve hands mails in, HOST:PORT; empty: they wait.
	SMTPHost         string `yaml:"smtp_host,omitempty"`
	SMTPFrom         string `yaml:"smtp_from,omitempty"`
	SMTPUser         string `yaml:"smtp_user,omitempty"`
	SMTPPasswordFile string `yaml:"smtp_password_file,omitempty"`
	// WebhooksPrivate lets webhooks go to private addresses.
	WebhooksPrivate bool `yaml:"webhooks_private,omitempty"`
}

// dataFlags are those of every command that opens the vendor's folder.
func dataFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.String("data", "./meterseal-vendor-data", "folder of keys, files and database")
	f.String("dsn", "", "PostgreSQL database, postgres://... (default SQLite in the folder)")
	f.String("dsn-file", "", "file that holds the address, for one with a password")
	f.String("passphrase-file", "", "file that holds the passphrase of the keys")
}

// data is what the flags, variables and vendor.yaml say about a vendor's folder.
type data struct {
	dir string
	settings
	// generated: init made the passphrase, so guessing it is hopeless and
	// stretching it is of no use.
	generated bool
	// unattended: nobody is asked for a passphrase while the vendor is made, also at
	// a terminal.
	unattended bool
}

// dataOf reads the settings of cmd: flags, then variables, then vendor.yaml.
func dataOf(cmd *cobra.Command) (*data, error) {
	flag := func(name string) string {
		if !cmd.Flags().Changed(name) {
			return ""
		}
		v, _ := cmd.Flags().GetString(name)
		return v
	}
	variable := func(name string) string {
		return os.Getenv("METERSEAL_VENDOR_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	}
	if hasPassword(flag("dsn")) {
		return nil, cli.Fail(cli.ExitUsage, "config_invalid", "every user of this machine can read a command line: write the address to a file and use --dsn-file",
			"--dsn holds a password")
	}
	dir := cmp.Or(flag("data"), variable("data"), cmd.Flags().Lookup("data").DefValue)
	d := &data{}
	var err error
	if d.dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if d.settings, err = readSettings(d.dir); err != nil {
		return nil, err
	}
	for _, from := range []func(string) string{variable, flag} {
		given := settings{DSN: from("dsn"), DSNFile: from("dsn-file"), PassphraseFile: from("passphrase-file")}
		if err := given.resolve(""); err != nil {
			return nil, err
		}
		if given.DSN != "" || given.DSNFile != "" {
			d.DSN, d.DSNFile = given.DSN, given.DSNFile
		}
		d.PassphraseFile = cmp.Or(given.PassphraseFile, d.PassphraseFile)
	}
	return d, nil
}

// resolve makes the paths of s absolute, from dir on; "": the working directory.
func (s *settings) resolve(dir string) error {
	if s.DSN != "" && s.DSNFile != "" {
		return cli.Fail(cli.ExitUsage, "config_invalid", "keep one of them", "both an address of the database and a file for it are given")
	}
	for _, path := range []*string{&s.DSNFile, &s.PassphraseFile, &s.SMTPPasswordFile, &s.OIDCSecretFile} {
		if *path = strings.ReplaceAll(*path, "${CREDENTIALS_DIRECTORY}", os.Getenv("CREDENTIALS_DIRECTORY")); *path == "" {
			continue
		}
		if dir != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	return nil
}

// readSettings reads vendor.yaml, which need not be there.
func readSettings(dir string) (s settings, err error) {
	path := filepath.Join(dir, settingsFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if err := yaml.UnmarshalWithOptions(b, &s, yaml.Strict()); err != nil && !errors.Is(err, io.EOF) {
		text := strings.SplitN(yaml.FormatError(err, false, false), "\n", 2)[0]
		return s, cli.Fail(cli.ExitUsage, "config_invalid", "the keys are dsn, dsn_file, max_size, oidc_client_id, oidc_issuer, oidc_secret_file, passphrase_file, second_factor, smtp_from, smtp_host, smtp_password_file, smtp_user, webhooks_private", "%s: %s", path, text)
	}
	return s, s.resolve(dir)
}

func hasPassword(dsn string) bool {
	u, err := url.Parse(dsn)
	if err != nil {
		return false
	}
	_, inUser := u.User.Password()
	return inUser || u.Query().Has("password")
}

// options are those of the portal.
func (a *app) options(d *data) (portal.Options, error) {
	o := portal.Options{Dir: d.dir, DSN: d.DSN, Now: a.now, OnIntake: a.onIntake, Passphrase: func() (string, error) { return a.passphrase(d) }}
	if d.MaxSize != "" {
		var err error
		if o.UploadBytesMax, err = cli.ParseSize(d.MaxSize); err != nil {
			return o, cli.Fail(cli.ExitUsage, "config_invalid", "correct it, then try again", "%s: max_size %v", filepath.Join(d.dir, settingsFile), err)
		}
	}
	if d.DSNFile != "" {
		line, err := firstLine(d.DSNFile)
		if err != nil {
			return o, err
		}
		o.DSN = line
	}
	if d.PassphraseFile == "" {
		_, err := os.Stat(filepath.Join(d.dir, passphraseFile))
		d.generated = err == nil
	}
	if d.generated {
		o.KeyWorkFactor = generatedWorkFactor
	}
	return o, nil
}

// open opens the vendor's folder; the caller closes it.
func (a *app) open(cmd *cobra.Command) (*portal.Portal, error) {
	d, err := dataOf(cmd)
	if err != nil {
		return nil, err
	}
	o, err := a.options(d)
	if err != nil {
		return nil, err
	}
	p, err := portal.Open(cmd.Context(), o)
	if err != nil && !errors.Is(err, portal.ErrNoKeys) && !errors.Is(err, portal.ErrNewer) && !errors.Is(err, context.Canceled) {
		return nil, storeFailure(d, err)
	}
	return p, err
}

// with runs f on the opened portal.
func (a *app) with(f func(cmd *cobra.Command, p *portal.Portal, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		p, err := a.open(cmd)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.Close()) }()
		return f(cmd, p, args)
	}
}

func storeFailure(d *data, err error) error {
	hint := "start the database, or correct its address"
	if d.DSN == "" && d.DSNFile == "" { // a file
		hint = "look at the rights of the folder and the space on its disk"
	}
	return cli.Fail(cli.ExitStore, "store_unreachable", hint, "%s", cause(err))
}

// who is the user of this machine that runs the program: the actor of the audit
// log.
func who() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

// firstLine reads a secret from a file: its first line.
func firstLine(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", cli.Fail(cli.ExitUsage, "config_invalid", "make the file, with mode 0600", "%v", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", cli.Fail(cli.ExitUsage, "config_invalid", "write it to the first line", "%s is empty", path)
	}
	return line, nil
}

// passphrase finds the passphrase of the keys: in the file that was given or
// that init remembered, in the one that init made, or from whoever sits there.
func (a *app) passphrase(d *data) (string, error) {
	path := d.PassphraseFile
	if path == "" && d.generated {
		path = filepath.Join(d.dir, passphraseFile)
	}
	if path != "" {
		_, err := os.Stat(path)
		if !errors.Is(err, os.ErrNotExist) || !a.terminal() {
			return firstLine(path)
		}
	}
	if !a.terminal() {
		return "", cli.Fail(cli.ExitUsage, "passphrase_missing", "give the file that has it with --passphrase-file, or run this at a terminal", "the keys need their passphrase")
	}
	return a.ask("Passphrase of the vendor's keys: ")
}

// terminal tells whether somebody can be asked.
func (a *app) terminal() bool {
	f, ok := a.In.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// ask reads a line that is not shown.
func (a *app) ask(prompt string) (string, error) {
	fmt.Fprint(a.Err, prompt)
	b, err := term.ReadPassword(int(a.In.(*os.File).Fd()))
	fmt.Fprintln(a.Err)
	if err != nil {
		return "", fmt.Errorf("read passphrase: %w", err)
	}
	return string(b), nil
}
