package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
)

func (a *app) licenseCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "license", Short: "The license: what it says, its history, activate and deactivate"}
	activate := a.reportExportCommand()
	activate.Use = "activate"
	activate.Short = "Write the first report, which is the request to activate"
	activate.Long = `Write the first usage report: it is the request to activate. Carry it to your
vendor and import the reply; that is all. It is the same as "report export".`
	activate.Example = `  meterseal license activate --out first.usage
  meterseal import first.reply`
	code := activate.Flags().String("code", "", "the vendor's initialization code: print the activation code instead, where no file may leave")
	report := activate.RunE
	activate.RunE = func(cmd *cobra.Command, args []string) error {
		if *code == "" {
			return report(cmd, args)
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		return a.activateByCode(cmd.Context(), c, *code)
	}
	imports := a.importCommand()
	cmd.AddCommand(a.licenseShowCommand(), a.licenseHistoryCommand(), activate, imports, a.deactivateCommand())
	return cmd
}

func (a *app) licenseShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Every field with its meaning now, every date with what then",
		Example: `  meterseal license show
  meterseal license show --key > license.key`,
		Args: cobra.NoArgs,
	}
	httpFlags(cmd)
	cli.FormFlags(cmd)
	key := cmd.Flags().Bool("key", false, "the license in force as one line for license.key_file: a lost store is found by it")
	text := cmd.Flags().Bool("text", false, "the signed note as it came")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		var d console.LicenseDetail
		if err := c.getJSON(cmd.Context(), "/v1/license", nil, &d); err != nil {
			return err
		}
		switch {
		case *key:
			_, err = fmt.Fprintln(a.Out, d.Key)
		case *text:
			_, err = io.WriteString(a.Out, d.Text)
		case form == "json":
			err = cli.PrintJSON(a.Out, d)
		default:
			a.printLicense(&d)
		}
		return err
	}
	return cmd
}

func (a *app) printLicense(d *console.LicenseDetail) {
	fmt.Fprintf(a.Out, "%-14s %s, %s\n", "license", d.State, d.License.License)
	if d.NextAction != "" {
		fmt.Fprintln(a.Out, cli.Wrap(fmt.Sprintf("%-14s %s", "next", d.NextAction), cli.Columns, "               "))
	}
	for _, t := range d.Dates {
		fmt.Fprintf(a.Out, "%-14s %s   %s\n", t.Name, t.UTC.Format("2006-01-02 15:04:05 UTC"), t.Local)
		fmt.Fprintln(a.Out, cli.Wrap("               "+t.Then, cli.Columns, "               "))
	}
	for _, f := range d.Fields {
		fmt.Fprintln(a.Out, cli.Wrap(fmt.Sprintf("%-14s %s", f.Name, f.Value), cli.Columns, "               "))
		if f.Meaning != "" {
			fmt.Fprintln(a.Out, cli.Wrap("               "+f.Meaning, cli.Columns, "               "))
		}
	}
}

func (a *app) licenseHistoryCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "history", Short: "Licenses and receipts that were taken into use", Args: cobra.NoArgs}
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
		var h struct {
			Events []console.LicenseEvent `json:"events"`
		}
		if err := c.getJSON(cmd.Context(), "/v1/license/history", nil, &h); err != nil {
			return err
		}
		if form == "json" {
			return cli.PrintJSON(a.Out, h)
		}
		t := &cli.Table{Columns: []string{"time", "kind", "id", "serial", "size", "record"}, Right: []bool{false, false, false, true, true, true}}
		for _, e := range h.Events {
			serial := ""
			if e.Kind == "license" {
				serial = fmt.Sprint(e.Serial)
			}
			t.Add(e.Time.Format(time.RFC3339), e.Kind, e.ID, serial, fmt.Sprint(e.Size), fmt.Sprint(e.Record))
		}
		bare, _ := cmd.Flags().GetBool("no-headers")
		return t.Print(a.Out, form, !bare)
	}
	return cmd
}

func (a *app) deactivateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deactivate",
		Short: "End this site for good, and write its last report",
		Long: `End this site: close every window, retire the ledger, and write the last usage
report, which carries the final usage and the device variables. From then on
events are refused with 410 and every "may I?" is no. Carry the report to your
vendor: its receipt frees the license for another site. Doing it again writes
the same bytes.`,
		Example: `  meterseal deactivate --out last.usage
  meterseal deactivate --yes --reason moved --variable disks=12 --out last.usage`,
		Args: cobra.NoArgs,
	}
	httpFlags(cmd)
	f := cmd.Flags()
	yes := f.Bool("yes", false, "do not ask for the solution name")
	reason := f.String("reason", "deactivated", "why, one word, for the last record")
	to := f.String("to", "", "where the license goes, for the last record")
	given := f.StringArray("variable", nil, "a final device variable NAME=VALUE; may repeat")
	out := f.StringP("out", "o", "", `file to write, "-" for stdout; empty: its own name`)
	force := f.Bool("force", false, "replace a file of other content")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		vars := map[string]string{}
		for _, v := range *given {
			name, value, _ := strings.Cut(v, "=")
			if err := ledger.CheckVariable(name, value); err != nil {
				return cli.Fail(cli.ExitUsage, events.CodeMalformed, "write it like --variable disks=12", "--variable %s: %s", v, plain(err))
			}
			vars[name] = value
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		var s statusAnswer
		if err := c.getJSON(cmd.Context(), "/v1/status", nil, &s); err != nil {
			return err
		}
		name := s.License.SolutionName
		if !*yes && s.License.State != "deactivated" {
			if name, err = a.ask("this ends the site for good; type the solution name to go on", "--yes"); err != nil {
				return err
			}
		}
		body, err := json.Marshal(console.DeactivateOptions{SolutionName: name, Reason: *reason, To: *to, Variables: vars})
		if err != nil {
			return err
		}
		resp, err := c.do(cmd.Context(), "POST", "/v1/deactivate", nil, "application/json", bytes.NewReader(body))
		if err != nil {
			return err
		}
		return a.saveReport(resp, *out, export.WrapOptions{}, *force)
	}
	return cmd
}

func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (a *app) pruneCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove raw events and records that the vendor's receipt covers",
		Long: `Remove raw events past events.retention and record lines older than two years,
and only up to what the newest receipt covers. Without a receipt nothing goes.
Hashes stay, so reports and proofs from the receipt on can still be made. The
keys of months of which no raw event is left are destroyed: from then on nobody
can open their events, or find them out from the hashes
(docs/explanation/privacy.md).`,
		Example: `  meterseal prune --dry-run
  meterseal prune`,
		Args: cobra.NoArgs,
	}
	httpFlags(cmd)
	cli.FormFlags(cmd)
	dry := cmd.Flags().Bool("dry-run", false, "say what would go")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		resp, err := c.do(cmd.Context(), "POST", "/v1/prune", url.Values{"dry_run": {fmt.Sprint(*dry)}}, "", nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var p console.Pruned
		if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
			return fmt.Errorf("read answer of %s: %w", c.base, err)
		}
		if form == "json" {
			return cli.PrintJSON(a.Out, p)
		}
		if p.Receipt == 0 {
			_, err = fmt.Fprintln(a.Out, "receipt    none: nothing goes before the vendor has accepted a report")
			return err
		}
		gone := "removed"
		if *dry {
			gone = "would go"
		}
		_, err = fmt.Fprintf(a.Out, "receipt    covers %s records\n%-10s %s of raw events, %s of records\n", cli.Grouped(p.Receipt), gone, cli.Plural(p.Groups, "group"), cli.Plural(p.Records, "line"))
		if err == nil && p.Months > 0 {
			_, err = fmt.Fprintf(a.Out, "%-10s keys of %s: of events before %s nothing can be opened any more\n", gone, cli.Plural(p.Months, "month"), p.Keys)
		}
		return err
	}
	return cmd
}
