package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/exporter"
)

func (a *app) exportCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "export", Short: "Exports by a schedule, which the configuration lists"}
	cmd.AddCommand(a.exportListCommand(), a.exportRunCommand())
	return cmd
}

func (a *app) exportListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "When each export comes next, and what became of the last one",
		Long: `List the exports of the configuration and the inbox of replies. Exit code 5
when one fails or is overdue: service goes on, and it is tried again by itself.`,
		Example: "  meterseal export list",
		Args:    cobra.NoArgs,
	}
	httpFlags(cmd)
	cli.OutputFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := c.getJSON(cmd.Context(), "/v1/exports", nil, &raw); err != nil {
			return err
		}
		var s exporter.Overview
		if err := json.Unmarshal(raw, &s); err != nil {
			return fmt.Errorf("read exports: %w", err)
		}
		if form == "json" {
			err = cli.PrintJSON(a.Out, raw)
		} else {
			bare, _ := cmd.Flags().GetBool("no-headers")
			err = a.printExports(s, form, !bare)
		}
		for _, j := range s.Exports {
			if err == nil && (j.State == exporter.Failing || j.State == exporter.Overdue) {
				err = &cli.Failure{Exit: cli.ExitWarning}
			}
		}
		return err
	}
	return cmd
}

func (a *app) printExports(s exporter.Overview, form string, header bool) error {
	at := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.UTC().Format("2006-01-02 15:04 UTC")
	}
	columns := []string{"export", "state", "next", "last_run", "result"}
	if form == "csv" { // for people these stand below the row
		columns = append(columns, "file", "code", "message")
	}
	t := cli.NewTable(columns...)
	for _, j := range s.Exports {
		last := cmp.Or(j.Last, &exporter.Run{Result: "-"})
		row := []string{j.Name, j.State, at(j.Next), at(last.Finished), last.Result, last.File, last.Code, last.Message}
		t.Add(row[:len(columns)]...)
		if last.File != "" {
			t.Note(last.File)
		}
		if last.Code != "" {
			t.Note(last.Message + " [" + last.Code + "]")
		}
	}
	if len(t.Rows) > 0 || form != "table" {
		if err := t.Print(a.Out, form, header); err != nil || form != "table" {
			return err
		}
	} else {
		fmt.Fprintln(a.Out, "no export is configured: see exports in the configuration file")
	}
	for _, b := range s.Inbox {
		line := fmt.Sprintf("inbox %s: %s waiting", b.Folder, cli.Plural(b.Waiting, "file"))
		if b.Last != nil {
			line += fmt.Sprintf(", last %s %s", b.Last.File, b.Last.Result)
		}
		if b.Code != "" {
			line += ": " + b.Message + " [" + b.Code + "]"
		}
		fmt.Fprintln(a.Out, cli.Wrap(line, cli.Columns, "  "))
	}
	return nil
}

func (a *app) exportRunCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run NAME",
		Short: "Run an export now, as its schedule would",
		Long: `Run an export of the configuration now: the daemon writes the report into its
folder, mails it and runs its command. Periods that were missed are done with
it. With nothing new nothing is written.`,
		Example: "  meterseal export run monthly",
		Args:    cobra.ExactArgs(1),
	}
	httpFlags(cmd)
	cli.FormFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		resp, err := c.do(cmd.Context(), http.MethodPost, "/v1/exports/"+url.PathEscape(args[0])+"/run", nil, "", nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var raw json.RawMessage
		var run exporter.Run
		if err = json.NewDecoder(resp.Body).Decode(&raw); err == nil {
			err = json.Unmarshal(raw, &run)
		}
		if err != nil {
			return fmt.Errorf("read answer of %s: %w", c.base, err)
		}
		if form == "json" {
			err = cli.PrintJSON(a.Out, raw)
		} else {
			a.printRun(run)
		}
		if err == nil && run.Result == exporter.Failed {
			return &cli.Failure{Code: run.Code, Message: run.Message, Hint: run.Hint, Exit: cli.ExitError}
		}
		return err
	}
	return cmd
}

func (a *app) printRun(run exporter.Run) {
	if run.Result == exporter.NothingNew {
		fmt.Fprintln(a.Out, "nothing new: a receipt covers everything, or the file is there already")
	}
	if run.File == "" {
		return
	}
	fmt.Fprintf(a.Out, "file      %s   %s\n", run.File, cli.ByteSize(run.Bytes))
	fmt.Fprintf(a.Out, "records   %s to %s\n", cli.Grouped(run.RecordsFrom), cli.Grouped(run.RecordsTo-1))
	if run.PeriodsAll > 1 {
		fmt.Fprintf(a.Out, "periods   %s, caught up\n", cli.Grouped(run.PeriodsAll))
	}
	if run.SHA256 != "" {
		fmt.Fprintf(a.Out, "sha256    %s\n", run.SHA256)
	}
}
