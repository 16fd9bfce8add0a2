package export

import (
	"strconv"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

const acceptanceType = "meterseal-acceptance/v1"

// LicenseState says what became of the license when a report was accepted.
type LicenseState string

// The states. Only the first one comes with a license.
const (
	LicenseIssued  LicenseState = "issued"  // the reply has it
	LicensePending LicenseState = "pending" // the vendor decides; a reply with it follows
	LicenseNone    LicenseState = "none"    // refused, or the ledger has ended
)

// An Acceptance is what the vendor states about a report that it accepted, under
// its reply key: the totals as the vendor counted them. Either side can prove
// them with it years later.
type Acceptance struct {
	Origin string
	// Report is the SHA-256 of the report's text.
	Report ledger.Hash
	// Base and Accepted are the checkpoints between which it lies. Their Origin
	// is Origin.
	Base, Accepted ledger.Checkpoint
	// From is the end of the last window closed before this report, or when the
	// ledger was opened; Until is the end of the last window closed in it.
	From, Until time.Time
	// Totals are what this report added, ascending by meter.
	Totals []AcceptedTotal
	// Findings are what the site is asked to explain; Verdict is Explain if
	// there are any, else OK.
	Findings []AcceptedFinding
	Verdict  Verdict
	// License says whether a license comes with it; if LicenseIssued,
	// LicenseSerial is its serial, 1 or more.
	License       LicenseState
	LicenseSerial uint64
	// NextReportBy is when the next report is due; nil: never.
	NextReportBy *time.Time
	// Reference is the vendor's, such as the number of an invoice; "": none.
	Reference string
	// Final says that the ledger ended with this report.
	Final  bool
	Issued time.Time
	// Extra are further lines, which begin with x-. They are shown and mean
	// nothing to this version.
	Extra []string
}

// AcceptedTotal is what a report added to one meter, in its smallest unit.
type AcceptedTotal struct {
	Meter       string `json:"meter"`
	Aggregation string `json:"aggregation"`
	Count       int64  `json:"count"`
	Value       int64  `json:"value"`
	Adjusted    int64  `json:"adjusted"` // sum of the corrections, never netted with Value
}

// AcceptedFinding is one thing that the site is asked to explain.
type AcceptedFinding struct {
	Code   string `json:"code"`
	Record uint64 `json:"record"`
}

// Text returns the text of the note, to be signed by the reply key. It checks
// nothing: [ParseAcceptance] of the signed note does.
func (a *Acceptance) Text() string {
	w := new(noteText)
	w.line(acceptanceType)
	w.line("origin", a.Origin)
	w.line("report", a.Report.String())
	w.checkpoint("base", a.Base)
	w.checkpoint("accepted", a.Accepted)
	w.line("period", ledger.FormatDate(a.From), ledger.FormatDate(a.Until))
	for _, t := range a.Totals {
		w.line("total", t.Meter, t.Aggregation, strconv.FormatInt(t.Count, 10), strconv.FormatInt(t.Value, 10),
			strconv.FormatInt(t.Adjusted, 10))
	}
	for _, f := range a.Findings {
		w.line("finding", f.Code, strconv.FormatUint(f.Record, 10))
	}
	w.line("verdict", string(a.Verdict))
	if a.License == LicenseIssued {
		w.line("license", strconv.FormatUint(a.LicenseSerial, 10))
	} else {
		w.line("license", string(a.License))
	}
	if a.NextReportBy != nil {
		w.line("next-report-by", ledger.FormatDate(*a.NextReportBy))
	}
	if a.Reference != "" {
		w.line("reference", ledger.EscapeText(a.Reference))
	}
	w.line("final", map[bool]string{true: "yes", false: "no"}[a.Final])
	w.line("issued", ledger.FormatDate(a.Issued))
	w.extra(a.Extra)
	return w.String()
}

// ParseAcceptance parses an acceptance note in its one spelling, whose text
// Text gives again. It verifies no signature: [VerifyReply] does.
func ParseAcceptance(note []byte) (*Acceptance, error) {
	t, err := parseVendorNote(note, "acceptance", acceptanceType)
	if err != nil {
		return nil, err
	}
	a := &Acceptance{Origin: t.origin(t.field("origin")), Report: t.hash("report", t.field("report"))}
	a.Base = t.checkpoint("base", a.Origin)
	if a.Accepted = t.checkpoint("accepted", a.Origin); a.Accepted.Size <= a.Base.Size {
		t.fail("accepted size %d is not above the base %d", a.Accepted.Size, a.Base.Size)
	}
	period := t.fields("period", 2)
	a.From, a.Until = t.date("period", period[0]), t.date("period", period[1])
	a.totals(t)
	a.findings(t)
	a.license(t)
	if s, ok := t.optional("next-report-by"); ok {
		by := t.date("next-report-by", s)
		a.NextReportBy = &by
	}
	if s, ok := t.optional("reference"); ok {
		a.Reference = t.text("reference", s)
	}
	final := t.field("final")
	if a.Final = final == "yes"; final != "yes" && final != "no" {
		t.fail("final is yes or no, not %.20q", final)
	}
	a.Issued = t.date("issued", t.field("issued"))
	a.Extra = t.extra()
	if err := t.done(); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Acceptance) totals(t *noteLines) {
	for {
		line, ok := t.optional("total")
		if !ok {
			return
		}
		f := t.split("total", line, 5)
		count, value := t.uint("total", f[2]), t.uint("total", f[3])
		total := AcceptedTotal{f[0], f[1], int64(count), int64(value), t.int("total", f[4])}
		if _, err := events.ParseAggregation(f[1]); err != nil {
			t.fail("total: %.40q is no aggregation", f[1])
		}
		if err := ledger.CheckMeter(f[0]); err != nil {
			t.fail("total: %v", err)
		}
		if n := len(a.Totals); n > 0 && a.Totals[n-1].Meter >= f[0] {
			t.fail("total of %s after that of %s", f[0], a.Totals[n-1].Meter)
		} else if n == ledger.MetersMax {
			t.fail("totals of more than %d meters", ledger.MetersMax)
		}
		a.Totals = append(a.Totals, total)
	}
}

func (a *Acceptance) findings(t *noteLines) {
	for {
		line, ok := t.optional("finding")
		if !ok {
			break
		}
		f := t.split("finding", line, 2)
		if !isCode(f[0]) {
			t.fail("finding: %.60q is no code", f[0])
		}
		if len(a.Findings) == FindingsMax {
			t.fail("more than %d findings", FindingsMax)
		}
		a.Findings = append(a.Findings, AcceptedFinding{f[0], t.uint("finding", f[1])})
	}
	want := OK
	if len(a.Findings) > 0 {
		want = Explain
	}
	if a.Verdict = Verdict(t.field("verdict")); a.Verdict != want {
		t.fail("verdict %.20q with %d findings", string(a.Verdict), len(a.Findings))
	}
}

func (a *Acceptance) license(t *noteLines) {
	s := t.field("license")
	switch a.License = LicenseState(s); a.License {
	case LicensePending, LicenseNone:
		return
	}
	a.License, a.LicenseSerial = LicenseIssued, t.uint("license", s)
	if a.LicenseSerial == 0 {
		t.fail("license 0: that serial is of a license for no ledger")
	}
}

// isCode reports whether s is spelled major/minor, each of [a-z][a-z0-9_]*.
func isCode(s string) bool {
	slash := 0
	for i := range len(s) {
		first := i == 0 || s[i-1] == '/'
		switch c := s[i]; {
		case c >= 'a' && c <= 'z':
		case !first && (c == '_' || c >= '0' && c <= '9'):
		case !first && c == '/':
			slash++
		default:
			return false
		}
	}
	return slash == 1 && len(s) <= ledger.NameBytesMax && s[len(s)-1] != '/'
}
