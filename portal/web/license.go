package web

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// licensePage is one license.
type licensePage struct {
	*portal.License
	Sentence, Stands string
	State            stateWord
	CustomerName     string
	Allowed          string // activations
	Dates            []dateRow
	Words            entitlements
	Rules            []string
	Ledgers          []licenseLedger
	Limits           []limitRow
	History          []portal.Audit
	Acts             []*licenseAct
}

// licenseLedger is a ledger of a license, with both dates.
type licenseLedger struct {
	*portal.Ledger
	State  stateWord
	Behind bool // the site has not reported the newest license
}

// limitRow is how far a ledger is with a limit.
type limitRow struct {
	Ledger, LedgerID, Meter, Unit string
	Used, Limit, Left             string
	Words, Kind                   string
	Percent                       int64
	Max, Value                    int64 // of the bar
}

// pathLicense is the license that a path names, and what its pages show of it.
func (s *Server) pathLicense(r *http.Request) (*portal.License, *licensePage, error) {
	l, err := s.Portal.License(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, nil, err
	}
	d, err := s.licensePage(r.Context(), l)
	return l, d, err
}

func (s *Server) license(w http.ResponseWriter, r *http.Request) error {
	l, d, err := s.pathLicense(r)
	if err != nil {
		return err
	}
	if d.History, err = s.Portal.AuditLog(r.Context(), l.ID, 8); err != nil {
		return err
	}
	return s.show(w, r, "license", page{Title: l.ID, Nav: "licenses", Crumbs: licenseCrumbs(l, d.CustomerName)[:2], Data: d,
		Command: "license show " + l.ID, API: "GET /api/v1/licenses/" + l.ID})
}

// licenseCrumbs lead from the list to a license.
func licenseCrumbs(l *portal.License, customer string) []crumb {
	c := []crumb{{"Licenses", "/licenses"}}
	if customer != "" {
		c = append(c, crumb{customer, "/customers/" + escape(l.Customer)})
	} else {
		c = append(c, crumb{l.Customer, "/customers/" + escape(l.Customer)})
	}
	return append(c, crumb{l.ID, "/licenses/" + escape(l.ID)})
}

func (s *Server) licensePage(ctx context.Context, l *portal.License) (*licensePage, error) {
	now := s.now()
	d := &licensePage{License: l, Sentence: sentenceOf(l.Terms), Stands: stateSentence(l, now), Allowed: "any number", Dates: datesOf(l.Terms, nil),
		Words: entitlementsOf(l.Terms), Rules: policyLine{Policy: portal.Policy{Rules: l.Rules}}.RuleLines(), Acts: actsFor(l)}
	if l.MaxActivations != nil {
		d.Allowed = count(*l.MaxActivations)
	}
	if c, err := s.Portal.Customer(ctx, l.Customer); err == nil {
		d.CustomerName = c.Name
	}
	ledgers, err := s.Portal.Ledgers(ctx, l.ID)
	if err != nil {
		return nil, err
	}
	overdue := false
	for _, x := range slices.Backward(ledgers) {
		late := x.State == portal.LedgerActive && !x.ReportBy.IsZero() && now.After(x.ReportBy.Add(l.Terms.ReportGrace.Duration()))
		overdue = overdue || late
		line := portal.LedgerLine{State: x.State, Registration: x.Registration, Overdue: late}
		d.Ledgers = append(d.Ledgers, licenseLedger{x, ledgerState(line), x.State == portal.LedgerActive && x.Serial > x.InForce})
		if x.State != portal.LedgerActive {
			continue
		}
		uses, err := s.Portal.LimitUses(ctx, l, x)
		if err != nil {
			return nil, err
		}
		for _, u := range uses {
			d.Limits = append(d.Limits, limitRowOf(l.Terms, x, u))
		}
	}
	d.State = licenseState(portal.LicenseLine{State: l.State, End: l.End, Overdue: overdue, Ledgers: l.ActiveActivations}, now)
	return d, nil
}

// limitRowOf says in words how far a ledger is: exactly reaching a limit is inside
// of it, and is never called too much.
func limitRowOf(t *license.License, l *portal.Ledger, u portal.LimitUse) limitRow {
	a := u.Allowance
	row := limitRow{Ledger: orText(l.Label, l.LedgerID), LedgerID: l.LedgerID, Meter: u.Meter, Max: max(a.Limit, 1), Value: min(a.Used, max(a.Limit, 1))}
	scale := 0
	if m := t.Meter(u.Meter); m != nil {
		row.Unit, scale = m.Unit, m.Scale
	}
	row.Used, row.Limit, row.Left = quantity(a.Used, scale), quantity(a.Limit, scale), quantity(a.Remaining, scale)
	if a.Limit > 0 {
		row.Percent = int64(float64(a.Used) / float64(a.Limit) * 100)
	}
	switch of := row.Used + " of " + row.Limit; {
	case a.Used == a.Limit && a.Limit == 0:
		row.Words, row.Kind = "0 of 0: every use is overage", "none"
	case a.Used == a.Limit:
		row.Words, row.Kind = of+", exactly reached", "warn"
	case a.Used > a.Limit:
		row.Words, row.Kind = of+", "+quantity(a.Used-a.Limit, scale)+" beyond it", "bad"
	case row.Percent >= 80:
		row.Words, row.Kind = of+", "+row.Left+" left", "warn"
	default:
		row.Words, row.Kind = of+", "+row.Left+" left", "good"
	}
	return row
}

// licenseNote and licenseKey download the unbound license and its one line.
func (s *Server) licenseNote(w http.ResponseWriter, r *http.Request) error {
	return s.licenseFile(w, r, ".license", func(l *portal.License) string { return l.Note })
}

func (s *Server) licenseKey(w http.ResponseWriter, r *http.Request) error {
	return s.licenseFile(w, r, ".key", func(l *portal.License) string { return l.Key + "\n" })
}

func (s *Server) licenseFile(w http.ResponseWriter, r *http.Request, suffix string, text func(*portal.License) string) error {
	l, err := s.Portal.License(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return attach(w, l.ID+suffix, plainText, []byte(text(l)))
}

// licenseReplies lists what has to be carried to which site after a change.
func (s *Server) licenseReplies(w http.ResponseWriter, r *http.Request) error {
	l, d, err := s.pathLicense(r)
	if err != nil {
		return err
	}
	d.Ledgers = slices.DeleteFunc(d.Ledgers, func(x licenseLedger) bool { return x.Ledger.State != portal.LedgerActive || x.Serial == 0 })
	return s.show(w, r, "license_replies", page{Title: "Replies to carry", Nav: "licenses", Crumbs: licenseCrumbs(l, d.CustomerName), Data: d,
		Command: "license refresh " + l.ID + " --out replies", API: "GET /api/v1/ledgers/LEDGER/reply"})
}

// historyPage is all that happened to a license.
type historyPage struct {
	*portal.License
	Audit     []portal.Audit
	Documents []documentRow
	Diff      []diffLine
	From, To  string // digests that are compared
}

// documentRow is a text that was signed.
type documentRow struct {
	Digest, Ledger string
	Serial         uint64
	Issued         time.Time
	Note           string
}

func (s *Server) licenseHistory(w http.ResponseWriter, r *http.Request) error {
	l, err := s.Portal.License(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	d := historyPage{License: l}
	if d.Audit, err = s.Portal.AuditLog(r.Context(), l.ID, 500); err != nil {
		return err
	}
	notes, err := s.Portal.Documents(r.Context(), l.ID)
	if err != nil {
		return err
	}
	labels := map[string]string{}
	ledgers, err := s.Portal.Ledgers(r.Context(), l.ID)
	if err != nil {
		return err
	}
	for _, x := range ledgers {
		labels[x.Origin] = orText(x.Label, x.LedgerID)
	}
	for _, note := range slices.Backward(notes) {
		t, err := license.Parse([]byte(note))
		if err != nil {
			return err
		}
		row := documentRow{Digest: license.Digest([]byte(note)).String(), Serial: t.Serial, Issued: t.Issued, Note: note, Ledger: "the key, for no site yet"}
		if t.Site != "" {
			row.Ledger = orText(labels[t.Site], t.Site)
		}
		d.Documents = append(d.Documents, row)
	}
	d.compare(r.URL.Query().Get("from"), r.URL.Query().Get("to"))
	return s.show(w, r, "license_history", page{Title: "History", Nav: "licenses", Crumbs: licenseCrumbs(l, ""), Data: d,
		Command: "license show " + l.ID + " --json", API: "GET /api/v1/licenses/" + l.ID + "/documents"})
}

// compare sets two documents beside each other: those that were chosen, or the
// newest and the one of the same site before it.
func (d *historyPage) compare(from, to string) {
	find := func(digest string) int {
		return slices.IndexFunc(d.Documents, func(x documentRow) bool { return x.Digest == digest })
	}
	i, j := find(from), find(to)
	if j < 0 && len(d.Documents) > 0 {
		j = 0
	}
	if i < 0 && j >= 0 {
		for k := j + 1; k < len(d.Documents); k++ {
			if d.Documents[k].Ledger == d.Documents[j].Ledger {
				i = k
				break
			}
		}
	}
	if j >= 0 {
		d.To = d.Documents[j].Digest
	}
	if i < 0 || i == j {
		return
	}
	d.From = d.Documents[i].Digest
	d.Diff = diffLines(bodyOf(d.Documents[i].Note), bodyOf(d.Documents[j].Note))
}

// bodyOf is the text of a note without its signatures.
func bodyOf(note string) []string {
	return strings.Split(strings.TrimSuffix(portal.Unsigned(note), "\n"), "\n")
}

// A diffLine is a line of one text, of the other, or of both.
type diffLine struct {
	Sign string // "−", "+" or empty
	Text string
}

// diffLines sets the lines of two licenses beside each other. Lines come in the
// order of the grammar, so those that both have keep their order.
func diffLines(a, b []string) (out []diffLine) {
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(a) > 0 && len(b) > 0 && a[0] == b[0]:
			out, a, b = append(out, diffLine{"", a[0]}), a[1:], b[1:]
		case len(a) > 0 && !slices.Contains(b, a[0]):
			out, a = append(out, diffLine{"−", a[0]}), a[1:]
		case len(b) > 0 && (len(a) == 0 || !slices.Contains(a, b[0])):
			out, b = append(out, diffLine{"+", b[0]}), b[1:]
		default: // both have it, elsewhere
			out, a = append(out, diffLine{"−", a[0]}), a[1:]
		}
	}
	return out
}

// auditWords says in words what an entry of the audit log is.
func auditWords(a portal.Audit) string {
	action, reason, _ := strings.Cut(a.Action, ": ")
	s := map[string]string{
		"license.issue": "issued", "license.update": "terms updated", "license.renew": "renewed", "license.suspend": "suspended", "license.resume": "resumed",
		"license.revoke": "revoked for good", "license.refresh": "given anew", "code.new": "initialization code made",
	}[action]
	if s == "" {
		s = action
	}
	if reason != "" {
		s += ": " + reason
	}
	return s
}

// auditText is what an entry of the log has before or after it, to be read.
func auditText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	if string(raw) == "null" {
		return ""
	}
	return string(raw)
}
