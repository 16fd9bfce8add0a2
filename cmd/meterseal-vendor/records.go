package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/portal"
)

// recordsShown is how many records of a report the command lists at a time.
const recordsShown = 200

func (a *app) recordsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "records [REPORT]",
		Short: "From a billed number to the records that prove it",
		Long: `With --site and --meter: list the records of a meter that were booked on the
UTC days --from to --to, add them up once more, and say whether that is the
number in the books; exit code 7 if it is not. With --site and --record: one
accepted record, and with --proof the proof of it, a c2sp.org/tlog-proof@v1
under a checkpoint that the site and the vendor have signed. With REPORT: the
records of its file as it came, also of a refused one.`,
		Example: "  meterseal-vendor report records --site 'plant north' --meter render.pages\n  meterseal-vendor report records --site 'plant north' --record 12 --proof -\n  meterseal-vendor report records r-01h2x --after 640",
		Args:    cobra.MaximumNArgs(1),
		RunE:    a.with(a.showRecords),
	}
	f := cmd.Flags()
	f.String("site", "", "ledger or label")
	f.String("meter", "", "id of the meter")
	f.String("from", "", "first UTC day of booking, as 2026-11-01; else the first")
	f.String("to", "", "last UTC day of booking; else the last")
	f.Uint64("record", 0, "index of one accepted record")
	f.String("proof", "", "file for the proof of --record, or - for stdout")
	f.Uint64("after", 0, "go on from this record")
	f.Int("limit", recordsShown, "list at most so many; all are added up")
	f.Bool("force", false, "write over a file of other content")
	return cmd
}

func (a *app) showRecords(cmd *cobra.Command, p *portal.Portal, args []string) error {
	f := cmd.Flags()
	site, _ := f.GetString("site")
	meter, _ := f.GetString("meter")
	switch {
	case len(args) == 1 && site == "":
		return a.recordsOfReport(cmd, p, args[0])
	case len(args) == 1 || site == "":
		return cli.Fail(cli.ExitUsage, portal.CodeBadRequest, "give a report, or --site", "which records?")
	}
	l, err := ledgerOf(cmd, p, site)
	if err != nil {
		return err
	}
	if f.Changed("record") {
		return a.oneRecord(cmd, p, l)
	}
	if meter == "" {
		return cli.Fail(cli.ExitUsage, portal.CodeBadRequest, "give --meter, or --record", "which records of %s?", l.LedgerID)
	}
	filter := portal.RecordsFilter{Meter: meter, From: time.Unix(0, 0), To: a.now().AddDate(0, 0, 2)}
	filter.After, _ = f.GetUint64("after")
	filter.Limit, _ = f.GetInt("limit")
	for name, to := range map[string]*time.Time{"from": &filter.From, "to": &filter.To} {
		text, _ := f.GetString(name)
		if text == "" {
			continue
		}
		if *to, err = time.Parse(time.DateOnly, text); err != nil {
			return cli.Fail(cli.ExitUsage, portal.CodeBadRequest, "write it as 2026-11-30", "--%s %s is no day", name, text)
		}
		if name == "to" {
			*to = to.AddDate(0, 0, 1)
		}
	}
	all, err := p.Records(cmd.Context(), l.Origin, filter)
	if err != nil {
		return err
	}
	t := recordTable(all.Items)
	t.Note(fmt.Sprintf("%s in all: %s in %s, late %s, corrected %s", cli.Plural(int64(all.Sum.Records), "record"), cli.Grouped(all.Sum.Value), cli.Plural(int64(all.Sum.Events), "event"),
		cli.Grouped(all.Sum.Late), cli.Grouped(all.Sum.Adjusted)))
	if all.Next > 0 {
		t.Note(fmt.Sprintf("more: --after %d", all.Next))
	}
	if err := a.list(cmd, all, t); err != nil {
		return err
	}
	if !all.Equal {
		return cli.Fail(cli.ExitHistory, "balances_differ", "look for the missing files, then meterseal-vendor rebuild", "the books have %d in %d events, corrected %d: not what the records give",
			all.Booked.Value, all.Booked.Events, all.Booked.Adjusted)
	}
	return nil
}

func recordTable(lines []portal.RecordLine) *cli.Table {
	t := cli.NewTable("#record", "what", "window", "node", "meter", "#events", "#value", "report")
	for _, r := range lines {
		window := ""
		if !r.From.IsZero() {
			window = r.From.UTC().Format("2006-01-02 15:04")
		}
		t.Add(strconv.FormatUint(r.Index, 10), r.Kind, window, r.Node, r.Meter, cli.Grouped(r.Count), cli.Grouped(r.Value), r.Report)
	}
	return t
}

// oneRecord shows an accepted record, or writes its proof.
func (a *app) oneRecord(cmd *cobra.Command, p *portal.Portal, l *portal.Ledger) error {
	index, _ := cmd.Flags().GetUint64("record")
	proof, err := p.ProveRecord(cmd.Context(), l.Origin, index)
	if err != nil {
		return err
	}
	if out, _ := cmd.Flags().GetString("proof"); out != "" {
		force, _ := cmd.Flags().GetBool("force")
		return a.writeDocument(out, force, []byte(proof.Text))
	}
	return a.pairs(cmd, proof, "record", cli.Grouped(proof.Index), "line", proof.Line, "ledger", proof.Origin, "proven", fmt.Sprintf("under size %s", cli.Grouped(proof.Size)),
		"root", proof.Root, "report", proof.Report)
}

// recordsOfReport lists the records of a file as it came.
func (a *app) recordsOfReport(cmd *cobra.Command, p *portal.Portal, id string) error {
	after, _ := cmd.Flags().GetUint64("after")
	limit, _ := cmd.Flags().GetInt("limit")
	lines, err := p.FileRecords(cmd.Context(), id, after, max(1, limit))
	if err != nil {
		return err
	}
	return a.list(cmd, map[string]any{"records": lines}, recordTable(lines))
}
