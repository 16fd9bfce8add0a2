package web

import (
	"net/http"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
)

func (s *Server) homeRoutes() []Route {
	return []Route{
		{"GET", "/{$}", access.Read, s.home},
		{"POST", laterPath, access.Read, s.later},
	}
}

// homeView is the first page: what is to be done by when, and whether it counts.
type homeView struct {
	Status console.Status
	Next   nextStep
	// Only says that there is nothing beside Next: the daemon refused to start, or does
	// not say how it is.
	Only   bool
	Dates  []deadline
	First  *firstSteps // nil: all are done
	Seats  struct{ Taken, Limit uint64 }
	Nodes  console.NodeList // the silent ones first
	Check  console.LedgerCheck
	Export *console.ExportStatus // the next by a schedule
}

func (s *Server) home(w http.ResponseWriter, r *http.Request) error {
	p := page{Title: "Overview", Nav: "home", Command: "status", API: "GET /v1/status"}
	v, err := s.viewHome(r)
	if err != nil {
		q := problemOf(err)
		s.Log.Warn("overview without state", "code", q.Code, "err", err)
		v.Only, v.Next = true, nextStep{Kind: "bad", Text: sentence(q.Message), Hint: q.Hint, Code: q.Code, To: []link{{"Try again", "/"}, {"What this code means", "/docs/errors/" + q.Code}}}
		p.Status = q.Status
	}
	if p.Data = v; v.Only {
		p.Command, p.API, p.Bare = "", "", true
	}
	return s.show(w, r, "home", p)
}

func (s *Server) viewHome(r *http.Request) (v homeView, err error) {
	if err = s.get(r, "/v1/status", &v.Status); err != nil {
		return v, err
	}
	if v.Only = v.Status.Refused != nil; v.Only {
		v.Next = nextOf(&v.Status, nil)
		return v, nil
	}
	var d console.LicenseDetail
	// Without a store, or before a part is there, an answer is missing: the page says so.
	for path, into := range map[string]any{"/v1/license": &d, "/v1/nodes?sort=silent&limit=5": &v.Nodes, "/v1/ledger/check": &v.Check} {
		if err = s.maybe(s.get(r, path, into)); err != nil {
			return v, err
		}
	}
	v.Next, v.Dates = nextOf(&v.Status, d.Dates), deadlines(&v.Status, d.Dates)
	v.First = s.firstStepsOf(r, &v.Status)
	for _, p := range v.Status.Pools {
		v.Seats.Taken += p.Taken
		v.Seats.Limit += p.Limit
	}
	for i := range v.Status.Exports {
		if e := &v.Status.Exports[i]; v.Export == nil || e.Next.Before(v.Export.Next) {
			v.Export = e
		}
	}
	return v, nil
}

// deadline is a date of the license and what happens after it.
type deadline struct {
	Name  string
	At    *time.Time // nil: there is none
	Local string
	Kind  string
	Left  timeLeft
	Then  string
	Grace *console.LicenseDate // how it goes on after that
	None  string               // what it means that there is none
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
	add := func(title, name, none string) {
		d := deadline{Name: title, Kind: "good", None: none}
		if at := byName[name]; at != nil {
			d.At, d.Local, d.Then, d.Left, d.Grace = &at.UTC, besideUTC(at.Local), sentence(at.Then), leftUntil(at.UTC, s.Time), byName[graceOf[name]]
			if s.Time.After(at.UTC) {
				d.Kind = "warn"
			}
			if d.Left.Over && (d.Grace == nil || s.Time.After(d.Grace.UTC)) {
				d.Kind = "bad"
			}
		}
		list = append(list, d)
	}
	if byName["activate by"] != nil {
		add("First reply by", "activate by", "")
	}
	add("License ends", "end", "It never ends.")
	add("Report due", "report due", "No report is due.")
	return list
}

// alertKind is the colour of a limit that is used up to some percent.
func alertKind(percent int) string {
	switch {
	case percent >= 100:
		return "bad"
	case percent >= 80:
		return "warn"
	}
	return "none"
}
