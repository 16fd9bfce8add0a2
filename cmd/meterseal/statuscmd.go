package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/exporter"
	"github.com/meterseal/meterseal/license"
)

// statusAnswer is the part of GET /v1/status that the command shows.
type statusAnswer struct {
	ServiceStatus string          `json:"service_status"`
	Reason        string          `json:"reason"`
	Site          string          `json:"site"`
	Time          time.Time       `json:"time"`
	License       console.License `json:"license"`
	Ledger        struct {
		Origin      string     `json:"origin"`
		Records     uint64     `json:"records"`
		ClosedUntil *time.Time `json:"closed_until"`
	} `json:"ledger"`
	Nodes []struct {
		Name      string     `json:"name"`
		LastHeard *time.Time `json:"last_heard"`
		Accepted  uint64     `json:"accepted"`
		Counted   uint64     `json:"counted"`
		Open      uint64     `json:"open"`
		Rejected  uint64     `json:"rejected"`
	} `json:"nodes"`
	Meters  []meterAnswer `json:"meters"`
	Exports []struct {
		Name    string    `json:"name"`
		State   string    `json:"state"`
		Next    time.Time `json:"next"`
		Code    string    `json:"code"`
		Message string    `json:"message"`
	} `json:"exports"`
}

type meterAnswer struct {
	ID           string     `json:"id"`
	Total        int64      `json:"used_total"`
	Adjusted     int64      `json:"adjusted"`
	SinceReceipt *int64     `json:"used_since_receipt"`
	Period       *int64     `json:"used_period"`
	Limit        *int64     `json:"limit"`
	Remaining    *int64     `json:"remaining"`
	ResetsAt     *time.Time `json:"resets_at"`
}

func (a *app) statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "State of the daemon, its license, ledger and nodes",
		Long: `Ask the daemon how it is. Exit code: 0 active; 5 a warning, service goes on,
as when an export by a schedule fails; 4 the license gives no service (an
evaluating site too, which counts everything); 6 the store takes no events; 7
the ledger is older than what was accepted; 8 a newer program is needed; 1 when
no daemon answers. With --warn 30d it is also 5 when the license ends or a
report is due within that time. With --quiet it prints one line, as monitoring
systems show it, with numbers behind a "|".`,
		Example: `  meterseal status
  meterseal status --warn 30d --quiet
  meterseal status --warn 30d || mail -s "meterseal: $?" ops`,
		Args: cobra.NoArgs,
	}
	httpFlags(cmd)
	cli.FormFlags(cmd)
	warn := cmd.Flags().String("warn", "", "exit code 5 also this long before a date: 30d")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		ahead := time.Duration(0)
		if *warn != "" {
			if ahead, err = parseDuration(*warn); err != nil {
				return cli.Fail(cli.ExitUsage, "config_invalid", "write it like 30d", "--warn %v", err)
			}
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := c.getJSON(cmd.Context(), "/v1/status", nil, &raw); err != nil {
			return err
		}
		var s statusAnswer
		if err := json.Unmarshal(raw, &s); err != nil {
			return fmt.Errorf("read status: %w", err)
		}
		if form == "json" {
			err = cli.PrintJSON(a.Out, raw)
		} else if a.Quiet {
			err = a.printStatusLine(&s, ahead)
		} else {
			err = a.printStatus(&s)
		}
		if err == nil && s.exit(ahead) != cli.ExitOK {
			return &cli.Failure{Exit: s.exit(ahead)}
		}
		return err
	}
	return cmd
}

// exit is the exit code: that of the state, or a warning ahead of a date.
func (s *statusAnswer) exit(ahead time.Duration) int {
	l := &s.License
	if s.ServiceStatus == "unhealthy" && (l.ExitCode == cli.ExitOK || l.ExitCode == cli.ExitWarning) {
		return cli.ExitStore // of what the license says, nothing keeps events out
	}
	if l.ExitCode != cli.ExitOK {
		return l.ExitCode
	}
	for _, e := range s.Exports {
		if e.State == exporter.Failing || e.State == exporter.Overdue {
			return cli.ExitWarning
		}
	}
	if ahead == 0 {
		return cli.ExitOK
	}
	for _, t := range []*time.Time{l.Ends, l.ReportBy, l.NextActionBy} {
		if t != nil && t.Sub(s.Time) <= ahead {
			return cli.ExitWarning
		}
	}
	return cli.ExitOK
}

// printStatusLine says all in one line, as monitoring systems show it: the worst
// first, and then what to do by when. It ends with numbers as Nagios reads them.
func (a *app) printStatusLine(s *statusAnswer, ahead time.Duration) error {
	l, word := &s.License, "OK"
	switch code := s.exit(ahead); {
	case code == cli.ExitWarning:
		word = "WARNING"
	case code != cli.ExitOK:
		word = "CRITICAL"
	}
	line := fmt.Sprintf("%s - %s, license %s", word, s.ServiceStatus, l.State)
	if l.NextAction != "" {
		line += "; next: " + l.NextAction
	}
	if s.Reason != "" {
		line += "; " + s.Reason
	}
	line = strings.ReplaceAll(line, "|", "/") // what follows it are numbers
	var numbers []string
	for _, d := range []struct {
		name string
		t    *time.Time
	}{{"report_due", l.ReportBy}, {"license_end", l.Ends}} {
		if d.t != nil {
			numbers = append(numbers, fmt.Sprintf("%s=%ds", d.name, int64(d.t.Sub(s.Time).Seconds())))
		}
	}
	for _, m := range s.Meters {
		if m.Period != nil && m.Limit != nil {
			numbers = append(numbers, fmt.Sprintf("'%s'=%d;;;0;%d", m.ID, *m.Period, *m.Limit))
		}
	}
	if len(numbers) > 0 {
		line += " | " + strings.Join(numbers, " ")
	}
	_, err := fmt.Fprintln(a.Out, line)
	return err
}

func (a *app) printStatus(s *statusAnswer) error {
	site := s.Site
	if site == "" {
		site = "site"
	}
	heard, last := "no event yet", time.Time{}
	for _, n := range s.Nodes {
		if n.LastHeard != nil && n.LastHeard.After(last) {
			last = *n.LastHeard
			heard = "last heard " + last.Format("2006-01-02 15:04:05 UTC")
		}
	}
	a.statusLine(site, s.ServiceStatus, cli.Plural(len(s.Nodes), "node")+", "+heard)
	if s.Reason != "" {
		a.statusLine("  why", "", s.Reason)
	}
	a.printLicenseStatus(s)
	closed := "-"
	if s.Ledger.ClosedUntil != nil {
		closed = s.Ledger.ClosedUntil.Format("2006-01-02 15:04 UTC")
	}
	a.statusLine("ledger", "sealed", cli.Plural(s.Ledger.Records, "record")+", windows closed up to "+closed)
	fmt.Fprintf(a.Out, "  %s\n", s.Ledger.Origin)
	for _, e := range s.Exports {
		text := "next " + e.Next.Format("2006-01-02 15:04 UTC")
		if e.Code != "" {
			text = e.Message + " [" + e.Code + "]"
		}
		a.statusLine("export "+e.Name, e.State, text)
	}
	t := &cli.Table{Columns: []string{"node", "accepted", "counted", "open", "rejected"}, Right: []bool{false, true, true, true, true}}
	for _, n := range s.Nodes {
		t.Add(n.Name, cli.Grouped(n.Accepted), cli.Grouped(n.Counted), cli.Grouped(n.Open), cli.Grouped(n.Rejected))
	}
	if len(t.Rows) > 0 {
		if err := t.Print(a.Out, "table", true); err != nil {
			return err
		}
	}
	if t = s.meterTable(); len(t.Rows) > 0 {
		return t.Print(a.Out, "table", true)
	}
	return nil
}

func (a *app) statusLine(what, state, text string) {
	fmt.Fprintln(a.Out, cli.Wrap(strings.TrimRight(fmt.Sprintf("%-14s %-10s %s", what, state, text), " "), cli.Columns, strings.Repeat(" ", 26)))
}

// printLicenseStatus says what the license is, both its dates, and what to do
// next.
func (a *app) printLicenseStatus(s *statusAnswer) {
	l := &s.License
	switch {
	case l.State == license.StateNone:
		a.statusLine("license", string(l.State), "evaluating: everything is counted")
		return
	case l.ID == "":
		a.statusLine("license", string(l.State), l.Message)
	default:
		id := fmt.Sprintf("%s serial %d, %s", l.ID, l.Serial, l.Enforcement)
		if len(l.License)+len(id) > cli.Columns-28 { // beside what statusLine prints
			a.statusLine("license", string(l.State), l.License)
			fmt.Fprintf(a.Out, "  %-12s %s\n", "id", id)
			break
		}
		a.statusLine("license", string(l.State), l.License+"  "+id)
	}
	a.printDate(s, "ends", l.Ends, l.EndsLocal)
	a.printDate(s, "report due", l.ReportBy, l.ReportByLocal)
	if l.NextAction != "" {
		fmt.Fprintln(a.Out, cli.Wrap("  next         "+l.NextAction, cli.Columns, "               "))
	}
	var warnings []string
	for _, w := range l.Warnings {
		if w != l.Code {
			warnings = append(warnings, w)
		}
	}
	if len(warnings) > 0 {
		fmt.Fprintln(a.Out, cli.Wrap("  warnings     "+strings.Join(warnings, ", "), cli.Columns, "               "))
	}
}

func (a *app) printDate(s *statusAnswer, what string, t *time.Time, local string) {
	if t == nil {
		return
	}
	left := fmt.Sprintf("%d days left", int(t.Sub(s.Time)/(24*time.Hour)))
	if t.Before(s.Time) {
		left = fmt.Sprintf("%d days ago", int(s.Time.Sub(*t)/(24*time.Hour)))
	}
	fmt.Fprintf(a.Out, "  %-12s %s  %-24s %13s\n", what, t.Format("2006-01-02 15:04:05 UTC"), local, left)
}

func (s *statusAnswer) meterTable() *cli.Table {
	if s.License.State == license.StateNone {
		t := &cli.Table{Columns: []string{"meter", "sealed", "adjusted"}, Right: []bool{false, true, true}}
		for _, m := range s.Meters {
			t.Add(m.ID, cli.Grouped(m.Total), cli.Grouped(m.Adjusted))
		}
		return t
	}
	t := &cli.Table{Columns: []string{"meter", "since_receipt", "this_period", "limit", "left", "resets"}, Right: []bool{false, true, true, true, true, false}}
	number := func(n *int64) string {
		if n == nil {
			return "-"
		}
		return cli.Grouped(*n)
	}
	for _, m := range s.Meters {
		limit, left, resets := "-", "-", ""
		if m.Limit != nil {
			limit = cli.Grouped(*m.Limit)
			if m.Remaining != nil && *m.Limit > 0 {
				left = fmt.Sprintf("%.0f %%", 100*float64(*m.Remaining)/float64(*m.Limit))
			}
		}
		if m.ResetsAt != nil {
			resets = m.ResetsAt.Format("2 Jan")
		}
		t.Add(m.ID, number(m.SinceReceipt), number(m.Period), limit, left, resets)
	}
	return t
}
