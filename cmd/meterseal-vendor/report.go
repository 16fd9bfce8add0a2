package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/portal"
)

func (a *app) reportCommand() *cobra.Command {
	list := &cobra.Command{
		Use:     "list",
		Short:   "Reports that came, newest first, also refused ones",
		Example: "  meterseal-vendor report list --site 'plant north'\n  meterseal-vendor report list --refused -o csv",
		Args:    cobra.NoArgs,
		RunE:    a.with(a.listReports),
	}
	list.Flags().String("site", "", "ledger or label")
	list.Flags().String("license", "", "id")
	list.Flags().Bool("refused", false, "refused ones only")
	list.Flags().Int("limit", 1000, "at most so many")
	show := &cobra.Command{
		Use:   "show REPORT",
		Short: "What a report was answered with; its file or its reply again",
		Long: `Show what a report was answered with, and what it says of time and use beside
what was seen of it here: the times of its windows and records and those of the
uploads, its clock records, days with much less use than such days before, and
runs of days with the same use. These are hints for a conversation. They decide
no verdict: a slow courier or a holiday looks like this too.`,
		Example: "  meterseal-vendor report show r-01h2x\n  meterseal-vendor report show r-01h2x --reply-out again.reply",
		Args:    cobra.ExactArgs(1),
		RunE:    a.with(a.showReport),
	}
	show.Flags().String("reply-out", "", "file for the reply, or - for stdout")
	show.Flags().String("file-out", "", "file for the report as it came, or -")
	show.Flags().Bool("force", false, "write over files of other content")
	reply := &cobra.Command{
		Use:     "reply REPORT",
		Short:   "The reply to a report again, as it was given",
		Example: "  meterseal-vendor report reply r-01h2x --out again.reply",
		Args:    cobra.ExactArgs(1),
		RunE:    a.with(a.replyOfReport),
	}
	reply.Flags().String("out", "", "file to write, or - for stdout; else the reply's own name")
	reply.Flags().Bool("force", false, "write over a file of other content")
	verify := &cobra.Command{
		Use:   "verify FILE...",
		Short: "Verify reports as accept would, and book nothing",
		Long: `Say what "accept" would answer, and book, sign and keep nothing. It needs no
passphrase. Exit code: 0 all would be accepted, 3 one would be refused.`,
		Example: "  meterseal-vendor report verify first.usage",
		Args:    cobra.MinimumNArgs(1),
		RunE:    a.with(a.verifyReports),
	}
	acceptFlags(verify)
	c := catalog("report", "Usage reports that came", list, show, a.recordsCommand())
	dataFlags(verify)
	cli.OutputFlags(verify)
	dataFlags(reply)
	c.AddCommand(verify, reply)
	return c
}

func (a *app) listReports(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	var f portal.ReportFilter
	f.License, _ = cmd.Flags().GetString("license")
	f.Refused, _ = cmd.Flags().GetBool("refused")
	f.Limit, _ = cmd.Flags().GetInt("limit")
	if site, _ := cmd.Flags().GetString("site"); site != "" {
		l, err := ledgerOf(cmd, p, site)
		if err != nil {
			return err
		}
		f.Origin = l.Origin
	}
	all, err := p.Reports(cmd.Context(), f)
	if err != nil {
		return err
	}
	t := cli.NewTable("report", "received", "site", "#base", "#size", "answer")
	for _, r := range all {
		site := r.Label
		if site == "" {
			site = r.LedgerID
		}
		t.Add(r.ReportID, day(r.Received, ""), site, cli.Grouped(r.Base), cli.Grouped(r.Size), r.Code)
	}
	return a.list(cmd, map[string]any{"reports": all}, t)
}

func (a *app) showReport(cmd *cobra.Command, p *portal.Portal, args []string) error {
	r, err := p.Report(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	force, _ := cmd.Flags().GetBool("force")
	reply, _ := cmd.Flags().GetString("reply-out")
	file, _ := cmd.Flags().GetString("file-out")
	if reply != "" {
		if err := a.writeReplyOf(r, reply, force); err != nil {
			return err
		}
	}
	if file != "" {
		if err := a.writeReportFile(cmd, p, r.ReportID, file, force); err != nil {
			return err
		}
	}
	if reply != "" || file != "" {
		return nil
	}
	pairs := []string{"report", r.ReportID, "received", both(r.Received), "file", r.FileSHA256, "bytes", cli.Grouped(r.FileBytes),
		"ledger", r.Origin, "site", r.Label, "license", r.License, "answer", r.Code, "records", cli.Grouped(r.Base) + " to " + cli.Grouped(r.Size), "reply", r.ReplyName}
	for _, total := range r.Totals {
		pairs = append(pairs, "total", total.Meter+" "+total.Aggregation+" "+cli.Grouped(total.Value)+" in "+cli.Plural(total.Count, "event"))
	}
	for _, f := range r.Findings {
		pairs = append(pairs, "finding", f.Code+", record "+cli.Grouped(f.Record)+": "+f.Detail)
	}
	pairs = append(pairs, "license status", r.LicenseStatus)
	if r.KeyRotation {
		pairs = append(pairs, "key rotation", "a new site key: reports with the one before are refused")
	}
	shown := struct {
		*portal.Answer
		Hints *portal.Hints `json:"hints"` // null: the file cannot be read again
	}{Answer: r}
	if shown.Hints, err = p.Hints(cmd.Context(), r.ReportID); err != nil {
		pairs = append(pairs, "hints", "none: "+describeError(err).Message)
	} else {
		pairs = append(pairs, hintPairs(shown.Hints)...)
	}
	if r.Refusal != nil {
		pairs = append(pairs, "refused", r.Refusal.Message, "fixed by", r.Refusal.FixBy+": "+r.Refusal.Hint)
	}
	return a.pairs(cmd, shown, pairs...)
}

// writeReplyOf writes the reply of a report.
func (a *app) writeReplyOf(r *portal.Answer, path string, force bool) error {
	if len(r.Reply) == 0 {
		return cli.Fail(cli.ExitError, portal.CodeNotFound, "only a report that can be tied to a ledger gets one", "report %s has no reply", r.ReportID)
	}
	return a.writeDocument(path, force, r.Reply)
}

func (a *app) replyOfReport(cmd *cobra.Command, p *portal.Portal, args []string) error {
	r, err := p.Report(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	force, _ := cmd.Flags().GetBool("force")
	out, _ := cmd.Flags().GetString("out")
	return a.writeReplyOf(r, cmp.Or(out, r.ReplyName), force)
}

// hintPairs are the hints as names and values.
func hintPairs(h *portal.Hints) []string {
	after := "nothing before"
	if !h.SeenAfter.IsZero() {
		after = both(h.SeenAfter)
	}
	pairs := []string{"site's windows", both(h.SiteFrom) + " to " + both(h.SiteUntil), "seen here", after + " to " + both(h.SeenBy)}
	if !h.FirstRecord.IsZero() {
		pairs = append(pairs, "site's records", both(h.FirstRecord)+" to "+both(h.LastRecord))
	}
	if h.AheadS > 0 {
		pairs = append(pairs, "hint", fmt.Sprintf("the site's latest time is %s after the report was here", time.Duration(h.AheadS)*time.Second))
	}
	for _, c := range h.Clocks {
		pairs = append(pairs, "hint", fmt.Sprintf("clock record %s at %s: %+d s (%s)", cli.Grouped(c.Record), both(c.Time), c.StepS, c.Cause))
	}
	if more := h.ClockRecords - len(h.Clocks); more > 0 {
		pairs = append(pairs, "hint", cli.Plural(int64(more), "further clock record"))
	}
	for _, u := range h.Usage {
		pairs = append(pairs, "hint", fmt.Sprintf("%s of %s, %s from %s: %s, usual %s", u.Kind, u.Meter, cli.Plural(int64(u.Days), "day"), day(u.From, ""),
			cli.Grouped(u.Use), cli.Grouped(u.Usual)))
	}
	return pairs
}

// writeReportFile gives a report back as it came.
func (a *app) writeReportFile(cmd *cobra.Command, p *portal.Portal, id, path string, force bool) error {
	f, err := p.ReportFile(cmd.Context(), id)
	if err != nil {
		return err
	}
	defer f.Close()
	if path == "-" {
		_, err := io.Copy(a.Out, f)
		return err
	}
	return cli.WriteFile(path, force, func(w io.Writer) error { _, err := io.Copy(w, f); return err })
}

func (a *app) verifyReports(cmd *cobra.Command, p *portal.Portal, args []string) error {
	if _, err := cli.OutputForm(cmd); err != nil {
		return err
	}
	o, err := acceptOptions(cmd, p)
	if err != nil {
		return err
	}
	files := []*taken{}
	for _, path := range args {
		t := &taken{File: path}
		files = append(files, t)
		f, err := os.Open(path)
		if err == nil {
			t.Answer, err = p.Check(cmd.Context(), f, o)
			f.Close()
		}
		if err != nil {
			t.Error = describeError(err)
		}
	}
	return a.printTaken(cmd, files)
}
