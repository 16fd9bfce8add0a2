package portal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
)

// errEnough ends the reading of a kept file.
var errEnough = errors.New("enough")

// records yields the accepted records of a ledger from an index on, read again
// from the files as they came. A record that no kept file has is left out. After
// the loop *failed is what went wrong.
func (p *Portal) records(ctx context.Context, c conn, origin string, from uint64, failed *error) iter.Seq2[uint64, []byte] {
	type part struct {
		first, next int64
		file        string
	}
	return func(yield func(uint64, []byte) bool) {
		parts, err := list(ctx, c, func(scan func(...any) error) (x part, err error) {
			err = scan(&x.first, &x.next, &x.file)
			return x, err
		}, "SELECT spans.first, spans.next, uploads.file FROM spans JOIN uploads ON uploads.id = spans.upload WHERE spans.origin = ? ORDER BY spans.first", origin)
		if *failed = err; err != nil {
			return
		}
		for _, x := range parts {
			if uint64(x.next) <= from {
				continue
			}
			more, err := p.readPart(x.file, max(uint64(x.first), from), uint64(x.next), yield)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if *failed = err; err != nil || !more {
				return
			}
		}
	}
}

// readPart yields the records [from, to) of a kept file.
func (p *Portal) readPart(file string, from, to uint64, yield func(uint64, []byte) bool) (more bool, err error) {
	f, err := os.Open(p.path(uploadsFolder, file))
	if err != nil {
		return false, err
	}
	defer f.Close()
	more = true
	_, err = export.VerifyReport(f, export.VerifyOptions{TrustFile: true, SizeMax: p.uploadBytesMax(), Unwrap: p.unwrap(), Visit: func(v *export.Visited) error {
		switch {
		case v.Index >= to:
			return errEnough
		case v.Index >= from && !yield(v.Index, v.Line):
			more = false
			return errEnough
		}
		return nil
	}})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return more, err
}

// A difference is where a report and the accepted records part.
type difference struct {
	found      bool
	first      uint64
	own, other string // the records at first
	days       map[string]bool
}

// compare verifies the report a second time, beside our own records: that alone
// can name the first that differs, and tell an older report that is part of the
// history from another history. It takes constant memory.
func (in *intake) compare(ctx context.Context) error {
	if err := in.file.begin(); err != nil {
		return err
	}
	var failed error
	next, stop := iter.Pull2(in.p.records(ctx, in.p.store.reader(), in.origin, in.report.BaseSize, &failed))
	defer stop()
	d := difference{days: map[string]bool{}}
	index, line, ok := next()
	own := func(at uint64) bool {
		for ok && index < at {
			index, line, ok = next()
		}
		return ok && index == at
	}
	o := in.options()
	o.OwnLeaf = func(at uint64) (ledger.Hash, bool) {
		if !own(at) {
			return ledger.Hash{}, false
		}
		return ledger.LeafHash(line), true
	}
	o.Visit = func(v *export.Visited) error {
		if !own(v.Index) || string(line) == string(v.Line) {
			return nil
		}
		if !d.found {
			d.found, d.first, d.own, d.other = true, v.Index, string(line), string(v.Line)
		}
		for _, l := range []string{string(line), string(v.Line)} {
			if s := dayOf(l); s != "" && len(d.days) < 1000 {
				d.days[s] = true
			}
		}
		return nil
	}
	report, err := export.VerifyReport(in.file, o)
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("compare report with accepted records: %w", err)
	}
	in.report, in.parted = report, d
	in.answer.Verdict, in.answer.Findings = report.Verdict, report.Findings
	return nil
}

// dayOf returns the UTC day that a record is about; empty: none.
func dayOf(line string) string {
	r, err := ledger.ParseRecord(line)
	if err != nil {
		return ""
	}
	var at int64
	switch r := r.(type) {
	case *ledger.Usage:
		at = r.From
	case *ledger.Adjust:
		at = r.From
	case *ledger.Beat:
		at = r.From
	case *ledger.Gap:
		at = r.From
	case *ledger.Reject:
		at = r.From
	case *ledger.Seat:
		at = r.From
	case ledger.Timed:
		at = r.RecordTime()
	default:
		return ""
	}
	return day(unix(at))
}

// cause says what most likely made two histories of one ledger.
func (d difference) cause() string {
	switch {
	case !d.found:
		return "the report continues from another history: an older disk or a copied directory went on"
	case strings.HasPrefix(d.own, "boot ") && strings.HasPrefix(d.other, "boot "):
		return "the histories part at a start of the daemon: the directory was copied, or an older disk was restored, and both went on"
	}
	return "the histories part while the daemon ran: two daemons write under one site key, or an older disk was restored and went on"
}

// rejected is the refusal of a report that its site has signed and that does not
// add up, or contradicts what was accepted.
func (in *intake) rejected() *Error {
	r, f := in.report, in.report.Decisive()
	e := refuse(f.Code, "%s (record %d)", f.Detail, f.Record).with("record", f.Record).with("findings", r.Findings)
	if !strings.HasPrefix(f.Code, "history/") {
		return e
	}
	d := in.parted
	e = e.with("root", r.Root).with("size", r.Size).with("cause", d.cause()).with("days", slices.Sorted(maps.Keys(d.days)))
	e = e.with("first_index", f.Record)
	if d.found {
		e = e.with("first_index", d.first).with("first_day", dayOf(d.other)).with("accepted_record", d.own).with("report_record", d.other)
		if s := dayOf(d.own); s != "" {
			e = e.with("first_day", min(s, dayOf(d.other)))
		}
	}
	if l := in.known.ledger; l != nil {
		e = e.with("accepted_size", l.Size).with("accepted_root", l.Root)
		for _, c := range in.known.accepted {
			if c.Size == r.Size {
				e = e.with("accepted_size", c.Size).with("accepted_root", c.Root.String())
			}
		}
	}
	return e
}

// evidence returns the alert of a refusal that the site has signed for, with a
// file that holds both signed checkpoints where two contradict each other; nil
// for any other.
func (in *intake) evidence(ctx context.Context, e *Error) (*Alert, error) {
	if in.report == nil || in.known.ledger == nil {
		return nil, nil
	}
	major, _, _ := strings.Cut(e.Code, "/")
	if !slices.Contains([]string{"history", "records", "ledger", "format"}, major) && e.Code != CodeKeyRevoked {
		return nil, nil
	}
	a := &Alert{Origin: in.origin, License: in.answer.License, Upload: in.answer.ReportID, Code: e.Code, Detail: e.Message, Opened: in.now}
	if open, err := in.p.store.reader().alertOpen(ctx, a); open || err != nil {
		return nil, err
	}
	if major != "history" {
		return a, nil
	}
	size, note, err := in.contradicted(ctx)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("Evidence: %s\nledger: %s\nfound: %s\nreport: %s, SHA-256 %s, kept as it came\nlikely cause: %v\n\n"+
		"Accepted checkpoint of size %d, signed by the site and by us:\n\n%s\nCheckpoint of the report, of size %d, signed by the site:\n\n%s",
		e.Message, in.origin, ledger.FormatDate(in.now), in.answer.ReportID, in.file.sha, e.Details["cause"], size, note, in.report.Size, in.report.Note)
	a.Evidence = in.answer.ReportID + ".txt"
	return a, writeDurably(in.p.path(evidenceFolder, a.Evidence), []byte(text))
}

// contradicted returns the accepted checkpoint that the report contradicts: that
// of its own size if there is one, else the newest.
func (in *intake) contradicted(ctx context.Context) (size uint64, note string, err error) {
	size = in.known.ledger.Size
	for _, c := range in.known.accepted {
		if c.Size == in.report.Size {
			size = c.Size
		}
	}
	_, err = in.p.store.reader().get(ctx, "SELECT note FROM receipts WHERE origin = ? AND size = ?", []any{in.origin, int64(size)}, &note)
	return size, note, err
}
