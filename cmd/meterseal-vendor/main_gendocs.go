//go:build gendocs

// With the tag gendocs the program writes what a package has beside it into the
// folder that is named, and does nothing else: go run -tags gendocs ./cmd/meterseal-vendor DIR.

package main

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/gendocs"
)

func main() {
	a := &app{Program: cli.Program{Name: programName, Out: os.Stdout, Err: os.Stderr}, now: time.Now}
	root := a.rootCommand()
	a.Prepare(root)
	if err := gendocs.Write(os.Args[1], gendocs.Program{Root: root, Version: version, Released: cli.Released, Config: describeSettings()}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// describeSettings describes vendor.yaml.
func describeSettings() *gendocs.Config {
	c := &gendocs.Config{File: settingsFile, About: "Settings of the vendor's side, in the folder of its data. Flags and variables come before it. Relative paths count from its folder; secrets stand in files of their own."}
	at := &cobra.Command{}
	dataFlags(at)
	flags := at.Flags()
	t := reflect.TypeFor[settings]()
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		one := gendocs.Setting{Key: key, Doc: settingDocs[key], Boolean: f.Type.Kind() == reflect.Bool}
		if flag := strings.ReplaceAll(key, "_", "-"); flags.Lookup(flag) != nil {
			one.Flag, one.Variable = flag, "METERSEAL_VENDOR_"+strings.ToUpper(key)
		}
		if one.Doc == "" {
			panic("no text of the setting " + key)
		}
		c.Settings = append(c.Settings, one)
	}
	return c
}

// settingDocs says what the settings are.
var settingDocs = map[string]string{
	"dsn":                "PostgreSQL database, postgres://...; empty: SQLite in the folder",
	"dsn_file":           "file that holds the address, for one with a password",
	"passphrase_file":    "file that holds the passphrase of the keys; init made one where nobody chose",
	"max_size":           "largest report, as 4GiB; 1GiB if not given",
	"second_factor":      "everybody but customers needs more than a password",
	"oidc_issuer":        "who may vouch for users",
	"oidc_client_id":     "the portal there",
	"oidc_secret_file":   "file that holds its secret",
	"smtp_host":          "where mails are handed in, HOST:PORT; empty: they wait",
	"smtp_from":          "who sends them",
	"smtp_user":          "user of that server",
	"smtp_password_file": "file that holds its password",
	"webhooks_private":   "webhooks may go to private addresses",
}
