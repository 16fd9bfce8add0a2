package main

import (
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/tpm"
)

// version is that of the program; its documents and records name it.
var version = cli.Version

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Version, and the modules it was built from", Args: cobra.NoArgs}
	cli.FormFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		if form == "json" {
			v := map[string]any{"version": version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH}
			if bi, ok := debug.ReadBuildInfo(); ok {
				mods := map[string]string{}
				for _, d := range bi.Deps {
					mods[d.Path] = d.Version
				}
				v["modules"] = mods
			}
			return cli.PrintJSON(a.Out, v)
		}
		_, err = fmt.Fprintf(a.Out, "meterseal %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return err
	}
	return cmd
}

func (a *app) keysCommand() *cobra.Command {
	keys := &cobra.Command{Use: "keys", Short: "The site's keys"}
	show := &cobra.Command{
		Use:     "show",
		Short:   "Print the site's public key, one line",
		Example: "  meterseal keys show --data ./meterseal-data > site.pub",
		Args:    cobra.NoArgs,
	}
	show.Flags().String("data", "./meterseal-data", "data directory")
	show.RunE = func(cmd *cobra.Command, _ []string) error {
		dir, _ := cmd.Flags().GetString("data")
		if !hasSiteKey(filepath.Join(dir, keysDir)) {
			return cli.Fail(cli.ExitHistory, "site_key_missing", `it is made at the first "meterseal serve"; give the right --data`, "no site key in %s", dir)
		}
		return withTPM(filepath.Join(dir, keysDir), func(t *tpm.TPM) error {
			key, err := readKeyFile(filepath.Join(dir, keysDir), siteKeyFile, t)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.Out, key.VKey())
			return err
		})
	}
	keys.AddCommand(show, a.keysRotateCommand(), a.keysSealCommand())
	return keys
}

func (a *app) configCommand() *cobra.Command {
	cfg := &cobra.Command{Use: "config", Short: "The configuration"}
	check := &cobra.Command{
		Use:     "check",
		Short:   "Check file, variables and flags; every mistake with its place",
		Example: "  meterseal config check --config /etc/meterseal/meterseal.yaml",
		Args:    cobra.NoArgs,
	}
	show := &cobra.Command{Use: "show", Short: "Each setting in force, and where it came from", Args: cobra.NoArgs}
	configFlags(check)
	configFlags(show)
	cli.OutputFlags(show)
	check.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.Out, "ok: %s, data in %s\n", cli.Plural(len(c.Meters), "meter"), c.DataDir)
		return err
	}
	show.RunE = func(cmd *cobra.Command, _ []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		shown := c.describe()
		if form == "json" {
			return cli.PrintJSON(a.Out, shown)
		}
		t := &cli.Table{Columns: []string{"key", "from", "value"}, Right: make([]bool, 3)}
		for _, x := range shown.Settings {
			from := x.From
			if form == "table" && c.path != "" {
				from = strings.Replace(from, c.path, filepath.Base(c.path), 1)
			}
			t.Add(x.Key, from, x.Value)
		}
		for _, x := range shown.Lists {
			t.Add(x.Kind+" "+x.Name, "", x.Value)
		}
		bare, _ := cmd.Flags().GetBool("no-headers")
		return t.Print(a.Out, form, !bare)
	}
	cfg.AddCommand(check, show)
	return cfg
}
