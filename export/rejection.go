package export

import (
	"slices"
	"strconv"
	"time"

	"github.com/meterseal/meterseal/ledger"
)

const rejectionType = "meterseal-rejection/v1"

// A Rejection says, under the vendor's reply key, why a report was not accepted
// and what to do.
type Rejection struct {
	// Origin is "" if the report could be tied to no ledger; then no reply holds it.
	Origin string
	// Report is the SHA-256 of the report's text.
	Report ledger.Hash
	// Code is major/minor, as of [Error] and [Finding].
	Code string
	// FixBy says who can put it right: "site", "courier" or "vendor".
	FixBy string
	// Record is the index of the first bad record; -1: none can be named.
	Record int64
	// Line is the line of the report's text, from 1; 0: none.
	Line uint64
	// Last is the newest accepted checkpoint of this origin; nil: none.
	Last *ledger.Checkpoint
	// Message has the value at fault, How the way out: UTF-8 of 1 to
	// ledger.ValueBytesMax bytes each.
	Message, How string
	Issued       time.Time
	// Extra are further lines, which begin with x-. They are shown and mean
	// nothing to this version.
	Extra []string
}

// Text returns the text of the note, to be signed by the reply key. It checks
// nothing: [ParseRejection] of the signed note does.
func (r *Rejection) Text() string {
	w := new(noteText)
	w.line(rejectionType)
	w.line("origin", dash(r.Origin != "", r.Origin))
	w.line("report", r.Report.String())
	w.line("code", r.Code)
	w.line("fix-by", r.FixBy)
	w.line("record", dash(r.Record >= 0, strconv.FormatInt(r.Record, 10)))
	w.line("line", dash(r.Line > 0, strconv.FormatUint(r.Line, 10)))
	if r.Last != nil {
		w.checkpoint("last", *r.Last)
	} else {
		w.line("last", "-", "-")
	}
	w.line("message", ledger.EscapeText(r.Message))
	w.line("how", ledger.EscapeText(r.How))
	w.line("issued", ledger.FormatDate(r.Issued))
	w.extra(r.Extra)
	return w.String()
}

func dash(there bool, s string) string {
	if there {
		return s
	}
	return "-"
}

// ParseRejection parses a rejection note in its one spelling, whose text Text
// gives again. It verifies no signature: [VerifyReply] does.
func ParseRejection(note []byte) (*Rejection, error) {
	t, err := parseVendorNote(note, "rejection", rejectionType)
	if err != nil {
		return nil, err
	}
	r := &Rejection{Record: -1}
	if s := t.field("origin"); s != "-" {
		r.Origin = t.origin(s)
	}
	r.Report = t.hash("report", t.field("report"))
	if r.Code = t.field("code"); !isCode(r.Code) {
		t.fail("%.60q is no code", r.Code)
	}
	if r.FixBy = t.field("fix-by"); !slices.Contains([]string{"site", "courier", "vendor"}, r.FixBy) {
		t.fail("fix-by is site, courier or vendor, not %.20q", r.FixBy)
	}
	if s := t.field("record"); s != "-" {
		r.Record = int64(t.uint("record", s))
	}
	if s := t.field("line"); s != "-" {
		if r.Line = t.uint("line", s); r.Line == 0 {
			t.fail("lines are counted from 1")
		}
	}
	if line, ok := t.optional("last"); ok && line != "- -" {
		t.at--
		c := t.checkpoint("last", r.Origin)
		if r.Last = &c; r.Origin == "" || c.Size == 0 {
			t.fail("last: a checkpoint of no ledger, or of size 0")
		}
	} else if !ok {
		t.field("last")
	}
	r.Message = t.text("message", t.field("message"))
	r.How = t.text("how", t.field("how"))
	r.Issued = t.date("issued", t.field("issued"))
	r.Extra = t.extra()
	if err := t.done(); err != nil {
		return nil, err
	}
	return r, nil
}
