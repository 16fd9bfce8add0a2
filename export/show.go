package export

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// mark begins a line of explanation, which no line of a report begins with.
const mark = "    # "

// WriteExplained writes every line of the report in r as it stands, each followed
// by lines that begin with four spaces and "#" and say what it means. Without
// them it is the report, byte for byte.
//
// With o.TrustFile no key is needed; the Report then says that nobody vouches
// for it. What is written before an error is what the file says, no more.
func WriteExplained(w io.Writer, r io.Reader, o VerifyOptions) (*Report, error) {
	out := &explainer{w: bufio.NewWriter(w)}
	chain(&o.VisitHead, out.head)
	chain(&o.VisitState, out.state)
	chain(&o.Visit, out.record)
	chain(&o.VisitEvent, out.event)
	chain(&o.visitEnd, out.end)
	report, err := VerifyReport(r, o)
	if flushed := out.w.Flush(); err == nil {
		err = flushed
	}
	if err != nil {
		return nil, err
	}
	return report, nil
}

type explainer struct{ w *bufio.Writer }

func (x *explainer) line(line, words string) error {
	x.w.WriteString(line)
	x.w.WriteByte('\n')
	return x.words(words)
}

func (x *explainer) words(words string) error {
	if words == "" {
		return nil
	}
	var err error
	for _, l := range wrapText(words, textColumns-len(mark)) {
		_, err = x.w.WriteString(mark + l + "\n")
	}
	return err
}

func (x *explainer) head(h VisitedHead) error {
	for line := range strings.SplitSeq(strings.TrimSuffix(string(h.Head), "\n"), "\n") {
		_ = x.line(line, headWords(line))
	}
	_ = x.line("", "") // an error stays in the writer, and the last line returns it
	if h.BaseNote != nil {
		_ = x.note(h.BaseNote, oldNoteWords(h.Base))
	}
	return x.note(h.Note, newNoteWords(h.Size))
}

func oldNoteWords(size uint64) string {
	return fmt.Sprintf("the checkpoint that this report continues from: the first %s records, signed by the site and, once accepted, by the vendor", group(int64(size)))
}

func newNoteWords(size uint64) string {
	return fmt.Sprintf("the new checkpoint: %s records and their root, signed by the site", group(int64(size)))
}

func (x *explainer) note(note []byte, words string) error {
	x.w.Write(note)
	_ = x.words(words)
	return x.line("", "")
}

// headWords says what a line of the head means.
func headWords(line string) string {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case reportType:
		return "type and version of this file"
	case "level":
		return map[string]string{
			"standard":     "totals and hashes only; nothing about users, hosts or addresses",
			"pseudonymous": "each event too, with a keyed tag in place of its user",
			"detailed":     "each event too, with the user, host and address that were recorded",
		}[rest]
	case "key":
		return "public key of the site, which signed this report"
	case "new-key":
		return "public key that the site uses from now on; it has signed too"
	case "old":
		return "number of records reported before, and their root"
	case "prev":
		return "the last of these records"
	}
	return "hash of a part of the tree of these records"
}

func (x *explainer) state(line string) error {
	return x.line("= "+line, stateWords(line))
}

func stateWords(line string) string { return "as of the report before: " + RecordWords(line) }

func (x *explainer) record(v *Visited) error {
	line := string(v.Line)
	return x.line(line, group(int64(v.Index))+": "+RecordWords(line))
}

func (x *explainer) event(e VisitedEvent) error {
	if e.Line != "" {
		if err := x.line("> "+e.Line, publicWords(e.Line)); err != nil {
			return err
		}
	}
	if e.Private == "" {
		return nil
	}
	return x.line(">> "+e.Private, privateWords(e.Private))
}

// publicWords says what a line of salt and event means.
func publicWords(line string) string {
	_, text, _ := strings.Cut(line, " ")
	parsed, err := ledger.ParseEventLine(text)
	if err != nil {
		return "an event that this version cannot read"
	}
	return "event: " + eventWords(parsed)
}

func privateWords(line string) string {
	if strings.HasPrefix(line, "- ") {
		return "values behind the hashes of the record's bindings"
	}
	return "what a standard or pseudonymous report does not show of it"
}

const endWords = "number of records, and the SHA-256 of every byte before this line"

func (x *explainer) end(line string) error {
	return x.line(line, endWords)
}

// eventWords says what an event line means.
func eventWords(e *ledger.EventLine) string {
	s := fmt.Sprintf("%s, quantity %s", time.UnixMilli(e.TimeMS).UTC().Format("2006-01-02 15:04:05.000 UTC"), group(e.Quantity))
	switch {
	case e.Kind != "":
		s += ", a correction (" + e.Kind + ")"
	case e.Action != "":
		s += ", " + e.Action
	}
	if e.Tagged {
		s += ", user tag " + ledger.FormatTag(e.Tag)
	}
	for _, d := range e.Public {
		s += fmt.Sprintf(", %s %q", d.Name, d.Value)
	}
	return s
}

// RecordWords says what a record means, in one sentence.
func RecordWords(line string) string {
	rec, err := ledger.ParseRecord(line)
	if err != nil {
		return "a record that this version cannot read: " + err.Error()
	}
	switch r := rec.(type) {
	case *ledger.Usage:
		return usageWords(r)
	case *ledger.Adjust:
		return fmt.Sprintf("%s corrections (%s) of %s on %s, window %s: events %+d, value %+d", group(int64(r.Count)), r.Reason,
			r.Meter, r.Node, windowWords(r.From, r.To), r.DCount, r.DValue)
	case *ledger.Beat:
		return fmt.Sprintf("%s was running and used nothing, %s", r.Node, windowWords(r.From, r.To))
	case *ledger.Gap:
		return fmt.Sprintf("nothing is known of %s, %s: %s", everyNode(r.Node), windowWords(r.From, r.To), r.Reason)
	case *ledger.Reject:
		return fmt.Sprintf("%s events of %s do not count: %s, %s", group(r.Count), r.Node, r.Class, r.Reason)
	case *ledger.Seat:
		return fmt.Sprintf("seats of %s, window %s: %d at its start, at most %d at once, %s seat-seconds, %s refused", r.Pool,
			windowWords(r.From, r.To), r.Start, r.Peak, group(int64(r.Seconds)), group(int64(r.Denied)))
	}
	return siteWords(rec)
}

func usageWords(r *ledger.Usage) string {
	late := ""
	if r.Late {
		late = " late, for a window that was closed already"
	}
	what := map[events.Aggregation]string{events.Count: "count", events.Sum: "sum", events.Min: "smallest", events.Max: "greatest",
		events.Latest: "latest", events.Unique: "different subjects", events.Weighted: "unit-seconds", events.Peak: "peak"}[r.Aggregation]
	return fmt.Sprintf("%s used %s, window %s%s: %s events, %s %s", r.Node, r.Meter, windowWords(r.From, r.To), late,
		group(int64(r.Count)), what, group(r.Value))
}

// siteWords is RecordWords for what is not about use.
func siteWords(rec ledger.Record) string {
	switch r := rec.(type) {
	case *ledger.Open:
		return "the ledger was opened " + second(r.Time) + " under this key"
	case *ledger.Boot:
		return fmt.Sprintf("start %d of the daemon, version %s, %s; windows of %d s", r.Boots, r.Version, second(r.Time), r.Window) + variableWords(r.Attrs)
	case *ledger.Clock:
		if r.Cause == ledger.ClockPad {
			return "a filler, so that the close ends at an even number"
		}
		return fmt.Sprintf("the clock moved by %d s (%s), %s", r.Step, r.Cause, second(r.Time))
	case *ledger.License:
		return fmt.Sprintf("license %s serial %d was taken into use %s", r.ID, r.Serial, second(r.Time))
	case *ledger.Receipt:
		return fmt.Sprintf("the vendor's receipt for %s records was imported %s", group(int64(r.Size)), second(r.Time))
	case *ledger.Seen:
		return fmt.Sprintf("%s holds the checkpoint of %s records; %s of its events were taken", r.Node, group(int64(r.Size)), group(int64(r.Taken)))
	case *ledger.Key:
		return fmt.Sprintf("%s key: %s, %s", r.Role, r.Action, second(r.Time))
	case *ledger.Restore:
		return fmt.Sprintf("the ledger was restored to %s records: %s, %s", group(int64(r.Size)), r.Cause, second(r.Time))
	case *ledger.Retire:
		return "the ledger ends here: " + r.Reason + ", " + second(r.Time) + variableWords(r.Attrs)
	case *ledger.CloseKey:
		return "enrolled " + r.Role.String() + " key"
	case *ledger.CloseNode:
		return fmt.Sprintf("%s in all: %s accepted = %s counted + %s duplicate + %s rejected + %s quarantined + %s voided + %s open", r.Node,
			group(int64(r.Accepted)), group(int64(r.Counted)), group(int64(r.Duplicate)), group(int64(r.Rejected)),
			group(int64(r.Quarantined)), group(int64(r.Voided)), group(int64(r.Open)))
	case *ledger.CloseTotal:
		return fmt.Sprintf("%s: %s events, value %s, corrected by %s since the close before", r.Meter, group(int64(r.Count)), group(r.Value), group(r.DValue))
	case *ledger.CloseEnd:
		return fmt.Sprintf("close %d, %s: all windows up to %s are closed", r.No, second(r.Time), minute(unix(r.Until)))
	}
	return "a record of a kind that this version does not know; it changes no total"
}

// variableWords names the device variables of a record.
func variableWords(a ledger.Attrs) string {
	var b strings.Builder
	for i, v := range a.Variables() {
		if i == 0 {
			b.WriteString("; variables")
		}
		fmt.Fprintf(&b, " %s %q", v.Name, v.Value)
	}
	return b.String()
}

func everyNode(node string) string {
	if node == ledger.AllNodes {
		return "all nodes"
	}
	return node
}

func windowWords(from, to int64) string {
	a, b := unix(from), unix(to)
	layout := "2006-01-02 15:04 UTC"
	if a.Format(time.DateOnly) == b.Format(time.DateOnly) {
		layout = "15:04 UTC"
	}
	return a.Format("2006-01-02 15:04") + " to " + b.Format(layout)
}

func second(t int64) string { return unix(t).Format("2006-01-02 15:04:05 UTC") }
