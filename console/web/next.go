package web

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/license"
)

// nextStep is what people have to do, by when, and what happens if nobody does.
type nextStep struct {
	Kind    string // good, warn, bad or none
	Text    string // one sentence
	Hint    string
	Code    string // of what went wrong; empty: nothing did
	By      *time.Time
	Local   string
	Left    timeLeft
	Then    string // what happens if nobody does
	How     string // how it is done without a connection
	Command string // does it: arguments of meterseal
	To      []link // the first leads on
}

type link struct{ Name, Path string }

// A remedy is how one kind of action is done.
type remedy struct {
	how, command string
	to           []link
}

const byFile = "Export a report here, carry the file to your vendor, and import the reply that comes back. No connection is needed."

var (
	toExport = link{"Export a report", "/reports"}
	toImport = link{"Import the reply", "/reports/import"}
	toLook   = link{"Look at the license", "/license"}
)

var remedies = map[license.Action]remedy{
	license.ActionRestore: {"At the command line of this machine, while the daemon is stopped. Nodes keep their usage meanwhile.", "restore --help",
		[]link{{"How to restore", "/docs/how-to/backup-and-restore"}, {"Check the ledger", "/ledger"}}},
	license.ActionInstall: {"Your vendor gives the license as a file; it is imported here, or named in the configuration.", "",
		[]link{{"Install a license", "/reports/import"}, toLook}},
	// A site without a key trusts nobody yet, so there is nothing to import with.
	license.ActionConfigure: {"Your vendor gives the license key as a file. Name it in the configuration and start the daemon again; what was counted stays.", "",
		[]link{{"Install a license", "/docs/reference/config"}}},
	license.ActionAsk:      {"Ask your vendor; his reply is a file that is imported here.", "", []link{toImport, toLook}},
	license.ActionImport:   {"Your vendor gives the newest reply again; it is a file that is imported here.", "", []link{toImport, toLook}},
	license.ActionWait:     {"", "", []link{toLook}},
	license.ActionActivate: {byFile, "", []link{toExport, toImport}},
	license.ActionReport:   {byFile, "", []link{toExport, toImport}},
	license.ActionRenew:    {"Ask your vendor to renew; then export a report here, carry the file to him, and import the reply that comes back.", "", []link{{"Renew: export a report", "/reports"}, toImport}},
}

// nextOf is the sentence of the license, unless the daemon itself is what keeps
// usage from being counted.
func nextOf(s *console.Status, dates []console.LicenseDate) nextStep {
	l := &s.License
	switch {
	case s.Refused != nil:
		return nextStep{Kind: "bad", Text: sentence(s.Refused.Message), Hint: sentence(s.Refused.Hint), Code: s.Refused.Code, To: []link{{"What this code means", "/docs/errors/" + s.Refused.Code}}}
	case s.ServiceStatus == "starting":
		return nextStep{Kind: "none", Text: "Nothing is to be done: the daemon starts.", Hint: "It reads its ledger. This page goes on by itself.", To: []link{{"Look again", "/"}}}
	case s.ServiceStatus != "running" && l.NextActionKind != license.ActionRestore && l.NextActionKind != license.ActionInstall && l.State != license.StateDeactivated:
		return nextStep{Kind: "bad", Text: "Events are not taken: " + s.Reason + ".", Hint: "Nodes keep theirs meanwhile.", To: []link{{"What is wrong", "/health"}}}
	}
	how := remedies[l.NextActionKind]
	n := nextStep{Kind: l.Words.Kind, Text: sentence(l.NextAction), By: l.NextActionBy, Local: besideUTC(l.NextByLocal), How: how.how, Command: how.command, To: how.to}
	switch {
	case l.State == license.StateDeactivated:
		return n
	case n.Text == "":
		n.Text, n.Hint = "Nothing is to be done.", "The license holds, and has no date by which something is due."
		return n
	case n.By == nil:
		n.Then = l.Words.Usage + " " + l.Words.Answers
		return n
	}
	n.Left = leftUntil(*n.By, s.Time)
	n.Then = thenAfter(n.By, dates)
	switch {
	case l.NextActionKind == license.ActionWait, n.Left.Over: // it is so already
		n.Then = l.Words.Usage + " " + l.Words.Answers
	case n.Kind == "good":
		n.Hint = "Nothing presses: the license holds until then."
	}
	return n
}

// graceOf names the date until which there is grace after another.
var graceOf = map[string]string{"report due": "report grace", "end": "end of grace"}

// thenAfter is what happens after a date of the license, and after its grace.
func thenAfter(t *time.Time, dates []console.LicenseDate) string {
	then, grace := "", ""
	for _, d := range dates {
		switch {
		case then == "" && d.UTC.Equal(*t):
			then, grace = sentence(d.Then), graceOf[d.Name]
		case grace != "" && d.Name == grace:
			then += " After " + d.UTC.Format(time.DateOnly) + ": " + d.Then + "."
		}
	}
	return then
}

// besideUTC is an instant in the zone of the daemon, unless that is UTC.
func besideUTC(local string) string {
	if strings.HasSuffix(local, " UTC") {
		return ""
	}
	return local
}

// timeLeft is how far away a date is, to be read from afar: a number and what it is.
type timeLeft struct {
	N, Unit string
	Over    bool // it has passed
}

// leftUntil counts whole days, and hours on the last two.
func leftUntil(t, now time.Time) timeLeft {
	d, end := t.Sub(now), " left"
	over := d < 0
	if over {
		d, end = -d, " over"
	}
	n, unit := int64(d/(24*time.Hour)), "day"
	if d < 48*time.Hour {
		n, unit = int64(d/time.Hour), "hour"
	}
	if d < time.Hour {
		return timeLeft{"<1", unit + end, over}
	}
	if n != 1 {
		unit += "s"
	}
	return timeLeft{strconv.FormatInt(n, 10), unit + end, over}
}

// sentence writes a message as a sentence: with a capital and a full stop.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	first, size := utf8.DecodeRuneInString(s)
	s = string(unicode.ToUpper(first)) + s[size:]
	if strings.ContainsAny(s[len(s)-1:], ".!?") {
		return s
	}
	return s + "."
}
