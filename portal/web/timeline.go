package web

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// Lanes of a timeline, from the top.
const (
	laneReports = iota
	laneReceipts
	laneLicenses
	laneLate
	laneGaps
	laneSite
	lanes
)

var laneNames = [lanes]string{"Windows reported", "Receipts, refusals", "Licenses", "Late, corrected", "Gaps, silence", "Site"}

// A mark is one thing on a timeline, and one row of the table below it.
type mark struct {
	Lane     int
	Kind     string // of the picture: its class and its shape
	From, To time.Time
	What     string // happened
	Detail   string
	ID       string // of the row
	Record   int64  // -1: none
	Report   string // that it came with
}

// Ends writes where a mark ends; of the same day only the time.
func (m mark) Ends() string {
	if m.To.Format(time.DateOnly) == m.From.Format(time.DateOnly) {
		return m.To.Format("15:04")
	}
	return m.To.Format("2006-01-02 15:04")
}

// marksOf lists what a timeline shows, by time. terms name units.
func marksOf(t *portal.Timeline, terms *license.License) []mark {
	var out []mark
	for _, r := range t.Reports {
		what := "Report accepted"
		if r.Code == "explain" {
			what = "Report accepted, with questions"
		}
		detail := fmt.Sprintf("records %s to %s", count(r.Base), count(r.Size-1))
		for _, x := range r.Totals {
			detail += fmt.Sprintf("; %s %s", quantity(x.Value+x.Adjusted, scaleOf(terms, x.Meter)), x.Meter)
		}
		id := fmt.Sprintf("size-%d", r.Size)
		if !r.Until.IsZero() {
			out = append(out, mark{Lane: laneReports, Kind: cmp.Or(r.Code, "ok"), From: r.From, To: r.Until, What: what, Detail: detail, ID: id, Record: -1, Report: r.ReportID})
		}
		out = append(out, mark{Lane: laneReceipts, Kind: "receipt", From: r.Time, To: r.Time, What: "Receipt given", Detail: fmt.Sprintf("size %s", count(r.Size)), ID: id, Record: -1, Report: r.ReportID})
	}
	for _, r := range t.Refused {
		out = append(out, mark{Lane: laneReceipts, Kind: "refused", From: r.Received, To: r.Received, What: "Report refused", Detail: explain(r.Code).Title + " (" + r.Code + ")", ID: "refused-" + r.ID, Record: -1, Report: r.ID})
	}
	for _, l := range t.Licenses {
		out = append(out, mark{Lane: laneLicenses, Kind: "license", From: l.Issued, To: l.Issued, What: "License issued", Detail: fmt.Sprintf("serial %d", l.Serial), ID: fmt.Sprintf("serial-%d", l.Serial), Record: -1})
	}
	for _, f := range t.Facts {
		if m, ok := markOf(f, terms); ok {
			m.From, m.To, m.Record, m.Report, m.ID = f.From, f.To, int64(f.Record), f.ID, fmt.Sprintf("record-%d", f.Record)
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(a, b mark) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Lane, b.Lane)) })
	return out
}

// gapReasons are the reasons of gap records in words.
var gapReasons = map[string]string{
	ledger.GapOffline: "the node did not answer", ledger.GapDaemonDown: "no daemon ran", ledger.GapSpoolLost: "the node lost its spool",
	ledger.GapStreamLost: "the store lost its end", ledger.GapDeclared: "declared by the site", ledger.GapRemoved: "the node was taken out",
}

// markOf says in words what a record tells.
func markOf(f portal.Fact, terms *license.License) (m mark, ok bool) {
	switch r := f.Parsed().(type) {
	case *ledger.Usage:
		return mark{Lane: laneLate, Kind: "late", What: "Late window",
			Detail: fmt.Sprintf("%s %s of %s, booked after its window was closed", quantity(r.Value, scaleOf(terms, r.Meter)), r.Meter, r.Node)}, true
	case *ledger.Adjust:
		return mark{Lane: laneLate, Kind: "adjust", What: "Corrected window",
			Detail: fmt.Sprintf("%s %s of %s: %s", signed(r.DValue, scaleOf(terms, r.Meter)), r.Meter, r.Node, r.Reason)}, true
	case *ledger.Gap:
		m = mark{Lane: laneGaps, Kind: "silent", What: "Silent span", Detail: fmt.Sprintf("%s, %s: %s", nodeWord(r.Node), spanOf(r.To-r.From), gapReasons[r.Reason])}
		switch {
		case r.Lost:
			m.Kind, m.What = "gap", "Gap"
			m.Detail += fmt.Sprintf("; events %s to %s are lost", count(r.Seq0), count(r.Seq1-1))
		case r.Reason == ledger.GapRemoved:
			m.Kind, m.What = "removed", "Node taken out"
		}
		return m, true
	case *ledger.Clock:
		return mark{Lane: laneSite, Kind: "clock", What: "Clock step", Detail: fmt.Sprintf("%s (%s)", signedSpan(r.Step), r.Cause)}, true
	case *ledger.Restore:
		m = mark{Lane: laneSite, Kind: "restore", What: "Restore", Detail: fmt.Sprintf("came back at record %s: %s", count(r.Size), r.Cause)}
		if r.Known {
			m.Detail += fmt.Sprintf("; %s records are known to have been there", count(r.WasSize))
		}
		return m, true
	case *ledger.Key:
		what := "Key enrolled"
		if r.Action == ledger.KeyRemove {
			what = "Key removed"
		}
		return mark{Lane: laneSite, Kind: "key", What: what, Detail: r.Role.String() + " " + r.VKey}, true
	case *ledger.License:
		return mark{Lane: laneLicenses, Kind: "used", What: "License taken into use", Detail: fmt.Sprintf("serial %d", r.Serial)}, true
	case *ledger.Receipt:
		return mark{Lane: laneSite, Kind: "imported", What: "Receipt imported", Detail: fmt.Sprintf("of size %s, given %s", count(r.Size), time.Unix(r.VTime, 0).UTC().Format("2006-01-02 15:04"))}, true
	case *ledger.Open:
		return mark{Lane: laneSite, Kind: "open", What: "Ledger opened", Detail: ""}, true
	case *ledger.Boot:
		return mark{Lane: laneSite, Kind: "boot", What: "Daemon started", Detail: fmt.Sprintf("start %d, version %s", r.Boots, r.Version)}, true
	case *ledger.Retire:
		return mark{Lane: laneSite, Kind: "retire", What: "Ledger ended", Detail: r.Reason}, true
	}
	return m, false
}

func nodeWord(node string) string {
	if node == ledger.AllNodes {
		return "all nodes"
	}
	return node
}

// spanOf writes seconds in the largest units that fit.
func spanOf(s int64) string {
	var out []string
	for _, u := range []struct {
		s    int64
		word string
	}{{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}} {
		if n := s / u.s; n > 0 && len(out) < 2 {
			out = append(out, count(n)+" "+u.word)
			s -= n * u.s
		}
	}
	if len(out) == 0 {
		return "0 s"
	}
	return strings.Join(out, " ")
}

func signedSpan(s int64) string {
	if s < 0 {
		return spanOf(-s) + " back"
	}
	return spanOf(s) + " ahead"
}

func signed(n int64, scale int) string {
	if n > 0 {
		return "+" + quantity(n, scale)
	}
	return quantity(n, scale)
}

// scaleOf is the number of decimals of a meter.
func scaleOf(terms *license.License, meter string) int {
	if terms != nil {
		if m := terms.Meter(meter); m != nil {
			return m.Scale
		}
	}
	return 0
}

// Sizes of the picture, in units of its view box.
const (
	timelineWidth = 1000
	timelineLeft  = 150 // names of lanes
	timelineRight = 12
	laneHeight    = 34
	timelineTop   = 8
	pointWidth    = 18
	marksMax      = 500 // drawn; the table has all
)

// drawTimeline draws marks between from and to. What the site's clock puts
// outside stands at the edge. Each mark leads to its row.
func drawTimeline(marks []mark, from, to time.Time) template.HTML {
	if !to.After(from) {
		to = from.Add(time.Hour)
	}
	inner := float64(timelineWidth - timelineLeft - timelineRight)
	x := func(t time.Time) float64 {
		return timelineLeft + inner*min(1, max(0, t.Sub(from).Seconds()/to.Sub(from).Seconds()))
	}
	bottom := timelineTop + lanes*laneHeight
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="timeline" viewBox="0 0 %d %d" role="group" aria-labelledby="timeline-title timeline-desc">`, timelineWidth, bottom+26)
	fmt.Fprintf(&b, `<title id="timeline-title">Timeline of the ledger from %s to %s</title><desc id="timeline-desc">%d marks in %d lanes; the table below has the same.</desc>`,
		from.Format("2006-01-02"), to.Format("2006-01-02"), len(marks), lanes)
	for i, name := range laneNames {
		y := timelineTop + i*laneHeight
		fmt.Fprintf(&b, `<rect class="tl-lane%s" x="0" y="%d" width="%d" height="%d"/><text class="tl-name" x="8" y="%d">%s</text>`, []string{"", " odd"}[i%2], y, timelineWidth, laneHeight, y+laneHeight/2+4, name)
	}
	for _, tick := range ticks(from, to) {
		fmt.Fprintf(&b, `<line class="tl-tick" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text class="tl-date" x="%.1f" y="%d">%s</text>`,
			x(tick.at), x(tick.at), timelineTop, bottom, min(x(tick.at), timelineWidth-timelineRight-34), bottom+18, tick.word)
	}
	var taken [lanes]float64 // up to where points stand: those at one time stand side by side
	for _, m := range marks[:min(len(marks), marksMax)] {
		left := x(m.From)
		if m.point() {
			left = max(left, taken[m.Lane])
			taken[m.Lane] = left + pointWidth
		}
		m.draw(&b, min(left, timelineWidth-timelineRight), x(m.To))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// point tells whether a mark has no length.
func (m mark) point() bool {
	return m.Lane == laneReceipts || m.Lane == laneLicenses || m.Lane == laneSite
}

// draw draws one mark between left and right: a bar for what lasts, else a shape
// of its own.
func (m mark) draw(b *strings.Builder, left, right float64) {
	words := m.From.Format("2006-01-02 15:04")
	if m.To.After(m.From) {
		words += " to " + m.To.Format("2006-01-02 15:04")
	}
	words += ": " + m.What
	if m.Detail != "" {
		words += ", " + m.Detail
	}
	words = template.HTMLEscapeString(words)
	fmt.Fprintf(b, `<a class="tl-mark tl-%s" href="#%s" aria-label="%s"><title>%s</title>`, m.Kind, template.HTMLEscapeString(m.ID), words, words)
	middle := float64(timelineTop + m.Lane*laneHeight + laneHeight/2)
	switch {
	case m.Lane == laneReports:
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="16" rx="2"/>`, left, middle-8, max(4, right-left-1))
	case m.Lane == laneGaps, m.Lane == laneLate:
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="16"/>`, left, middle-8, max(5, right-left))
	case m.Kind == "receipt":
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="6"/>`, left, middle)
	case m.Kind == "refused":
		fmt.Fprintf(b, `<path d="M%.1f %.1fl12 12m0 -12l-12 12"/>`, left-6, middle-6)
	case m.Lane == laneLicenses:
		fmt.Fprintf(b, `<path d="M%.1f %.1fl7 7l-7 7l-7 -7z"/>`, left, middle-7)
	default:
		fmt.Fprintf(b, `<rect class="tl-box" x="%.1f" y="%.1f" width="16" height="18" rx="3"/><text x="%.1f" y="%.1f">%s</text>`, left-8, middle-9, left, middle+4, letterOf(m.Kind))
	}
	b.WriteString("</a>")
}

// letterOf tells marks of the site's lane apart without colour.
func letterOf(kind string) string {
	return map[string]string{"clock": "C", "restore": "R", "key": "K", "boot": "S", "imported": "I", "open": "O", "retire": "E"}[kind]
}

type tick struct {
	at   time.Time
	word string
}

// ticks are dates along the time, eight at most.
func ticks(from, to time.Time) (out []tick) {
	const most = 8
	for _, step := range []struct {
		d      time.Duration
		layout string
	}{{time.Hour, "15:04"}, {3 * time.Hour, "15:04"}, {6 * time.Hour, "2 Jan 15:04"}, {24 * time.Hour, "2 Jan"}, {2 * 24 * time.Hour, "2 Jan"}, {7 * 24 * time.Hour, "2 Jan"},
		{14 * 24 * time.Hour, "2 Jan"}, {30 * 24 * time.Hour, "2 Jan 2006"}, {91 * 24 * time.Hour, "2 Jan 2006"}, {365 * 24 * time.Hour, "2 Jan 2006"}, {5 * 365 * 24 * time.Hour, "Jan 2006"}} {
		if to.Sub(from)/step.d >= most {
			continue
		}
		for at := from.Truncate(step.d).Add(step.d); at.Before(to); at = at.Add(step.d) {
			out = append(out, tick{at, at.Format(step.layout)})
		}
		return out
	}
	return nil
}
