package web

import (
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/pages"
	"github.com/meterseal/meterseal/license"
)

func (s *Server) homeRoutes() []Route {
	return []Route{{"GET", "/{$}", access.Read, s.home}}
}

// homeView is the first page: what is to be done by when, and whether it counts.
type homeView struct {
	Status console.Status
	Next   nextStep
	Dates  []deadline
	Steps  []firstStep // nil: all are done
	Seats  struct{ Taken, Limit uint64 }
}

// nextStep is what people have to do, as the license says it, with its buttons; the
// first leads on.
type nextStep struct {
	Kind  string // good, warn, bad or none
	Text  string
	Hint  string
	By    *time.Time
	Local string
	Left  string // until then
	To    []link
}

type link struct{ Name, Path string }

func (s *Server) home(w http.ResponseWriter, r *http.Request) error {
	var v homeView
	if err := s.get(r, "/v1/status", &v.Status); err != nil {
		return err
	}
	var d console.LicenseDetail
	if err := s.maybe(s.get(r, "/v1/license", &d)); err != nil {
		return err
	}
	v.Next, v.Dates = nextOf(&v.Status), deadlines(&v.Status, d.Dates)
	v.Steps = firstSteps(&v.Status, console.CallerOf(r).Operator != "" || s.SignIn == nil)
	for _, p := range v.Status.Pools {
		v.Seats.Taken += p.Taken
		v.Seats.Limit += p.Limit
	}
	return s.show(w, r, "home", page{Title: "Overview", Nav: "home", Data: v, Command: "status", API: "GET /v1/status"})
}

// actionLinks lead to where the next step is done.
var actionLinks = map[license.Action][]link{
	license.ActionRestore:   {{"How to restore", "/docs/how-to/backup-and-restore"}, {"Check the ledger", "/ledger"}},
	license.ActionInstall:   {{"Import a license or reply", "/reports/import"}, {"Look at the license", "/license"}},
	license.ActionConfigure: {{"How to put a license in", "/docs/reference/config"}},
	license.ActionAsk:       {{"Import the vendor's reply", "/reports/import"}, {"Look at the license", "/license"}},
	license.ActionImport:    {{"Import the reply", "/reports/import"}, {"Look at the license", "/license"}},
	license.ActionWait:      {{"Look at the license", "/license"}},
	license.ActionActivate:  {{"Export the first report", "/reports"}, {"Import the reply", "/reports/import"}},
	license.ActionReport:    {{"Export a report", "/reports"}, {"Import the reply", "/reports/import"}},
	license.ActionRenew:     {{"Export a report", "/reports"}, {"Import the vendor's reply", "/reports/import"}},
}

// nextOf is the sentence of the license, unless the daemon itself is what keeps
// usage from being counted.
func nextOf(s *console.Status) nextStep {
	if p := s.Refused; p != nil {
		return nextStep{Kind: "bad", Text: p.Message, Hint: p.Hint, To: []link{{"What to do", "/docs/errors/" + p.Code}}}
	}
	l := s.License
	n := nextStep{Kind: l.Words.Kind, Text: instants.ReplaceAllString(l.NextAction, "$1 $2 UTC"), By: l.NextActionBy, Local: l.NextByLocal, To: actionLinks[l.NextActionKind]}
	if n.Text == "" {
		n.Text = "nothing is to be done"
	}
	if n.By != nil {
		n.Left, n.Local = left(*n.By, s.Time), beside(n.Local)
	}
	return n
}

// deadline is a date of the license and what happens after it.
type deadline struct {
	Name  string
	At    *time.Time // nil: there is none
	Local string
	Kind  string
	Left  string
	Then  string
	Grace *console.LicenseDate // how it goes on after that
}

// instants are as sentences of the license have them, where they are not the end of
// a day.
var instants = regexp.MustCompile(`(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\dZ`)

// left says how long it is until t, or how late it is.
func left(t, now time.Time) string {
	if now.After(t) {
		return strings.Replace(pages.Ago(t, now), " ago", " late", 1)
	}
	return strings.Replace(pages.Ago(t, now), " from now", " left", 1)
}

// beside is a local time, unless it says the same as that in UTC.
func beside(local string) string {
	if strings.HasSuffix(local, " UTC") {
		return ""
	}
	return local
}

// deadlines are the two dates that every license has, and in the beginning that of
// the first reply.
func deadlines(s *console.Status, dates []console.LicenseDate) (list []deadline) {
	if s.License.ID == "" {
		return nil
	}
	byName := map[string]*console.LicenseDate{}
	for i := range dates {
		byName[dates[i].Name] = &dates[i]
	}
	add := func(title, name, grace string) {
		d := deadline{Name: title, Kind: "good"}
		if at := byName[name]; at != nil {
			d.At, d.Local, d.Then, d.Left, d.Grace = &at.UTC, beside(at.Local), at.Then, left(at.UTC, s.Time), byName[grace]
			if s.Time.After(at.UTC) {
				d.Kind = "warn"
			}
			if d.Grace != nil && s.Time.After(d.Grace.UTC) {
				d.Kind = "bad"
			}
		}
		list = append(list, d)
	}
	if byName["activate by"] != nil {
		add("First reply by", "activate by", "")
	} else {
		add("Report due", "report due", "report grace")
	}
	add("License ends", "end", "end of grace")
	return list
}

// firstStep is one thing on the way from an empty site to one with a license.
type firstStep struct {
	Name string // of the part of the page
	Done bool
}

// firstSteps are those of a site that nothing was imported into yet.
func firstSteps(s *console.Status, signedIn bool) []firstStep {
	var events uint64
	for _, m := range s.Meters {
		events += m.Events
	}
	steps := []firstStep{
		{"meter", len(s.Meters) > 0},
		{"operator", signedIn},
		{"event", events > 0},
		{"license", s.License.ID != ""},
		{"reply", s.License.Serial > 0},
	}
	for _, x := range steps {
		if !x.Done && x.Name != "operator" { // who only reads goes on without
			return steps
		}
	}
	return nil
}
