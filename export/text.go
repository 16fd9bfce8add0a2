package export

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// textColumns is the width that the renderings for people keep to, but for
// names and hashes that are longer.
const textColumns = 80

// WriteVerified writes what a verification found: a line per check and, if
// there is a report, what it holds. Report and err are those of [VerifyReport]
// or [VerifySQLite]; one of them is nil. The error itself is for the caller to
// print.
func WriteVerified(w io.Writer, report *Report, err error) error {
	p := &printer{w: w}
	if report == nil {
		var e *Error
		if errors.As(err, &e) {
			p.refusal(e)
		}
		return p.flush()
	}
	p.checks(report)
	p.findings(report)
	p.totals(report)
	p.pools(report)
	p.accounts(report)
	return p.flush()
}

// WriteText writes what a report holds in plain words, at 80 columns: who made
// it, the range, the totals, the account of each node, and what asks for an
// answer.
func WriteText(w io.Writer, report *Report) error {
	p := &printer{w: w}
	p.field("ledger", "%s", LedgerID(report.Origin))
	p.field("", "%s", report.Origin)
	p.field("records", "%s to %s, %s in all; level %s", group(int64(report.BaseSize)), group(int64(report.Size)-1),
		group(int64(report.Records)), report.Level)
	p.field("time", "%s to %s", minute(report.From), minute(report.Until))
	p.field("license", "%s", licenseWords(report))
	p.field("holds", "%s", holds(report))
	if report.Retired {
		p.field("last", "the ledger ends with this report: it was deactivated")
	}
	p.checks(report)
	p.findings(report)
	p.totals(report)
	p.pools(report)
	p.accounts(report)
	p.gaps(report)
	p.field("sha256", "%s", report.TextSHA256)
	return p.flush()
}

// printer collects lines; labels stand in a column of 10.
type printer struct {
	w io.Writer
	b bytes.Buffer
}

func (p *printer) flush() error {
	_, err := p.w.Write(p.b.Bytes())
	return err
}

func (p *printer) field(label, format string, args ...any) {
	text := wrapText(fmt.Sprintf(format, args...), textColumns-11)
	for i, line := range text {
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(&p.b, "%-10s %s\n", label, line)
	}
}

// wrapText breaks a text at spaces into lines of at most width characters.
func wrapText(s string, width int) []string {
	var lines []string
	for len(s) > width {
		i := strings.LastIndexByte(s[:width+1], ' ')
		if i <= 0 {
			if i = strings.IndexByte(s, ' '); i < 0 {
				break
			}
		}
		lines, s = append(lines, s[:i]), s[i+1:]
	}
	return append(lines, s)
}

func (p *printer) refusal(e *Error) {
	part := "file"
	switch major, _, _ := strings.Cut(e.Code, "/"); major {
	case "signature", "key":
		part = "signature"
	case "proof":
		part = "records"
	case "history":
		part = "base"
	case "size":
		part = "size"
	}
	for _, c := range e.Passed {
		if c.Name != part {
			p.check(c)
		}
	}
	p.field(part, "bad  %s", e.Error())
}

func (p *printer) check(c Check) {
	state := c.State
	if state == "not checked" {
		state = "-"
	}
	p.field(c.Name, "%-4s %s", state, c.Detail)
}

func (p *printer) checks(r *Report) {
	for _, c := range r.Checks {
		p.check(c)
	}
	verdict := map[Verdict]string{OK: "ok", Explain: "explain: accepted, with questions to the site",
		Reject: "reject: what the site signed does not add up"}[r.Verdict]
	if r.Duplicate {
		verdict = "duplicate: accepted before, nothing counts twice"
	}
	p.field("verdict", "%s", verdict)
	for _, a := range r.Alarms {
		p.field("alarm", "%s", a)
	}
}

func (p *printer) findings(r *Report) {
	for _, f := range r.Findings {
		p.field("  "+string(f.Verdict), "%s: record %s: %s", f.Code, group(int64(f.Record)), f.Detail)
	}
	if more := r.FindingsAll - uint64(len(r.Findings)); more > 0 {
		p.field("", "and %d more", more)
	}
}

func (p *printer) totals(r *Report) {
	if len(r.Totals) == 0 {
		p.field("totals", "no use")
		return
	}
	p.table([]string{"METER", "HOW", "EVENTS", "VALUE", "ADJUSTED", "SINCE OPEN"}, 2, func(row func(...string)) {
		for _, t := range r.Totals {
			all := "-"
			if t.AllValue != nil {
				all = group(*t.AllValue)
			}
			row(t.Meter, t.Aggregation, group(t.Count), group(t.Value), group(t.Adjusted), all)
		}
	})
}

func (p *printer) pools(r *Report) {
	if len(r.Pools) == 0 {
		return
	}
	p.table([]string{"SEATS OF", "PEAK", "SEAT-SECONDS", "REFUSED"}, 1, func(row func(...string)) {
		for _, t := range r.Pools {
			row(t.Pool, group(t.Peak), group(t.Seconds), group(t.Denied))
		}
	})
}

// accountsShown bounds the nodes listed in the text; the JSON form has all.
const accountsShown = 200

func (p *printer) accounts(r *Report) {
	if len(r.Accounts) == 0 {
		return
	}
	p.table([]string{"NODE", "ACCEPTED", "COUNTED", "TWICE", "REFUSED", "QUAR.", "VOID", "OPEN", "SILENT"}, 1, func(row func(...string)) {
		for i, a := range r.Accounts {
			if i == accountsShown {
				break
			}
			row(a.Node, group(a.Accepted), group(a.Counted), group(a.Duplicate), group(a.Rejected), group(a.Quarantined),
				group(a.Voided), group(a.Open), span(a.SilentSeconds))
		}
	})
	if more := len(r.Accounts) - accountsShown; more > 0 {
		p.field("", "and %d more nodes", more)
	}
}

// gapsShown bounds the gaps listed in the text.
const gapsShown = 20

func (p *printer) gaps(r *Report) {
	for i, g := range r.Gaps {
		if i == gapsShown {
			break
		}
		lost := ""
		if g.FirstLost != nil {
			lost = fmt.Sprintf(", events %d to %d lost", *g.FirstLost, *g.NextKept-1)
		}
		p.field("gap", "record %s: %s %s to %s, %s%s", group(int64(g.Record)), g.Node, minute(g.From), minute(g.To), g.Reason, lost)
	}
	if more := r.GapsAll - uint64(min(len(r.Gaps), gapsShown)); more > 0 {
		p.field("", "and %d more gaps", more)
	}
}

// table writes rows with the columns from right on aligned to the right.
func (p *printer) table(head []string, right int, fill func(row func(...string))) {
	rows := [][]string{head}
	fill(func(cells ...string) { rows = append(rows, cells) })
	width := make([]int, len(head))
	for _, row := range rows {
		for i, c := range row {
			width[i] = max(width[i], len(c))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			if i < right {
				fmt.Fprintf(&line, "%-*s", width[i], c)
			} else {
				fmt.Fprintf(&line, "%*s", width[i], c)
			}
		}
		p.b.WriteString(strings.TrimRight(line.String(), " "))
		p.b.WriteByte('\n')
	}
}

func licenseWords(r *Report) string {
	s := "none in force"
	if r.LicenseSerial > 0 {
		s = "serial " + strconv.FormatUint(r.LicenseSerial, 10)
	}
	if r.Rulebook != "" {
		s += ", rulebook " + r.Rulebook
	}
	return s
}

// holds says what a level shows, for those who decide whether it may leave.
func holds(r *Report) string {
	switch r.Level {
	case Pseudonymous:
		return fmt.Sprintf("totals, hashes, and %s events with tags in place of users; no names, hosts or addresses", group(int64(r.Events)))
	case Detailed:
		return fmt.Sprintf("totals, hashes, and %s events with the users, hosts and addresses that were recorded", group(int64(r.Events)))
	}
	return "totals and hashes; nothing about users, hosts or addresses"
}

// group spells a number with commas between thousands.
func group(n int64) string {
	s := strconv.FormatInt(n, 10)
	digits := strings.TrimPrefix(s, "-")
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return s[:len(s)-len(strings.TrimPrefix(s, "-"))] + digits
}

func minute(t time.Time) string {
	if t.Unix() == 0 {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

// span spells seconds with the two greatest units.
func span(seconds int64) string {
	switch {
	case seconds == 0:
		return "-"
	case seconds < 3600:
		return fmt.Sprintf("%dm%02ds", seconds/60, seconds%60)
	case seconds < 86400:
		return fmt.Sprintf("%dh%02dm", seconds/3600, seconds%3600/60)
	}
	return fmt.Sprintf("%dd%02dh", seconds/86400, seconds%86400/3600)
}
