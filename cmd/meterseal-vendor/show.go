package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/portal"
)

// list prints v as JSON, or t.
func (a *app) list(cmd *cobra.Command, v any, t *cli.Table) error {
	form, err := cli.OutputForm(cmd)
	if err != nil {
		return err
	}
	if form == "json" {
		return cli.PrintJSON(a.Out, v)
	}
	bare, _ := cmd.Flags().GetBool("no-headers")
	return t.Print(a.Out, form, !bare)
}

// allOf reads every item of a list that o chooses. None is an empty list, which JSON
// shows as one.
func allOf[T any](cmd *cobra.Command, o portal.ListOptions, find func(context.Context, portal.ListOptions) (portal.Page[T], error)) ([]T, error) {
	all := []T{}
	for x, err := range portal.All(cmd.Context(), o, find) {
		if err != nil {
			return nil, err
		}
		all = append(all, x)
	}
	return all, nil
}

// pairs prints v as JSON, or names and values, two by two; one without value is
// left out.
func (a *app) pairs(cmd *cobra.Command, v any, pairs ...string) error {
	form, err := cli.OutputForm(cmd)
	if err != nil {
		return err
	}
	if form == "json" {
		return cli.PrintJSON(a.Out, v)
	}
	t := cli.NewTable("", "")
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			t.Add(pairs[i], pairs[i+1])
		}
	}
	return t.Print(a.Out, form, false)
}

// both writes an instant in UTC and, where that differs, local time (L-24).
func both(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	utc, local := t.UTC().Format("2006-01-02 15:04:05 UTC"), t.Local()
	if _, offset := local.Zone(); offset == 0 {
		return utc
	}
	return utc + "   " + local.Format("2006-01-02 15:04:05 MST")
}

// dateOr is write of a date that there need not be.
func dateOr(t time.Time, write func(time.Time) string) string {
	if t.IsZero() {
		return ""
	}
	return write(t)
}

// day writes the day of an instant, for tables.
func day(t time.Time, none string) string {
	if t.IsZero() {
		return none
	}
	return t.UTC().Format(time.DateOnly)
}

// writeDocument writes a document to a file, or to stdout for "-".
func (a *app) writeDocument(path string, force bool, b []byte) error {
	if path == "-" {
		_, err := a.Out.Write(b)
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return cli.WriteFile(path, force, func(w io.Writer) error { _, err := w.Write(b); return err })
}

// say writes a message for people, beside the data.
func (a *app) say(format string, args ...any) {
	if !a.Quiet {
		fmt.Fprintln(a.Err, cli.Wrap(fmt.Sprintf(format, args...), cli.Columns, "  "))
	}
}

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Version, and the modules it was built from", Args: cobra.NoArgs}
	cli.FormFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := map[string]any{"version": version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH}
		if bi, ok := debug.ReadBuildInfo(); ok {
			mods := map[string]string{}
			for _, d := range bi.Deps {
				mods[d.Path] = d.Version
			}
			v["modules"] = mods
		}
		return a.pairs(cmd, v, programName, fmt.Sprintf("%s (%s, %s/%s)", version, runtime.Version(), runtime.GOOS, runtime.GOARCH))
	}
	return cmd
}
