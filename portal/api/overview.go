package api

import (
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) overviewRoutes() []Route {
	return []Route{{
		Method: http.MethodGet, Path: "/api/v1/overview", ID: "getOverview", Right: gate.Read,
		Summary: "What the first page of the staff shows",
		Answers: ok("Counts, what is due, the trend", portal.Overview{}),
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			o, err := s.Portal.Overview(r.Context())
			if err != nil {
				return err
			}
			return s.answer(w, r, o)
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/reminders", ID: "listReminders", Right: gate.Read,
		Summary: "Ledgers that have to report, or whose license ends, soon or since long",
		Params:  []param{{Name: "days", Kind: httpapi.Count, Max: 3660, Doc: "within so many; 90 if not given"}},
		Answers: ok("What each has to send by when", portal.Page[portal.Reminder]{}),
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			days := uint64(90)
			if q.Has("days") {
				days = q.N["days"]
			}
			all, err := s.Portal.Reminders(r.Context(), time.Duration(days)*24*time.Hour)
			if err != nil {
				return err
			}
			return s.answer(w, r, whole(all))
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/audit", ID: "listAudit", Right: gate.Read,
		Summary: "Who did what, newest first",
		Params:  lists(param{Name: "object", Doc: "done to it only: an id or origin"}, param{Name: "action", Doc: "such as license.issue"}),
		Answers: ok("A page of them; search finds part of actor, action or object", portal.Page[portal.Audit]{}),
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			o := options(r, q)
			o.Origin, o.Code = q.Text["object"], q.Text["action"]
			page, err := s.Portal.FindAudit(r.Context(), o)
			if err != nil {
				return err
			}
			return s.answer(w, r, page)
		},
	}}
}

func (s *Server) alertRoutes() []Route {
	alert := id("the alert")
	return []Route{{
		Method: http.MethodGet, Path: "/api/v1/alerts", ID: "listAlerts", Right: gate.Read,
		Summary: "Contradictions and alarms that wait for staff, newest first",
		Params: lists(param{Name: "state", Enum: []string{"open", "resolved"}, Doc: "both if not given"},
			param{Name: "code", Doc: "what they are of"}, param{Name: "license", Doc: "id"}, param{Name: "customer", Doc: "id"}),
		Answers: ok("A page of them", portal.Page[AlertDetail]{}),
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			found, err := s.Portal.FindAlerts(r.Context(), options(r, q))
			if err != nil {
				return err
			}
			page := portal.Page[AlertDetail]{Items: []AlertDetail{}, Next: found.Next, Total: found.Total}
			for _, a := range found.Items {
				page.Items = append(page.Items, alertOf(a))
			}
			return s.answer(w, r, page)
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/alerts/{id}", ID: "getAlert", Right: gate.Read,
		Summary: "An alert",
		Params:  []param{alert}, Answers: ok("The alert", AlertDetail{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error { return s.showAlert(w, r) },
	}, {
		Method: http.MethodGet, Path: "/api/v1/alerts/{id}/evidence", ID: "getEvidence", Right: gate.Read,
		Summary: "The evidence file of an alert: both signed checkpoints",
		Params:  []param{alert}, Answers: text(httpapi.TextType, "The file"), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			a, err := s.alert(r)
			if err != nil {
				return err
			}
			if a.Evidence == "" {
				return hidden("evidence of alert", a.ID)
			}
			h := w.Header()
			h.Set("Content-Type", httpapi.TextType)
			h.Set("Content-Disposition", `attachment; filename="`+filepath.Base(a.Evidence)+`"`)
			http.ServeFile(w, r, a.Evidence)
			return nil
		},
	}, {
		Method: http.MethodPost, Path: "/api/v1/alerts/{id}/resolve", ID: "resolveAlert", Right: gate.Manage,
		Summary: "Close an alert with what was found out",
		Params:  []param{alert}, Body: takes(resolveBody{}), Answers: done("The alert as it is now", AlertDetail{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			var body resolveBody
			if err := readJSON(w, r, &body); err != nil {
				return err
			}
			if err := required("resolution", body.Resolution); err != nil {
				return err
			}
			if err := s.Portal.ResolveAlert(r.Context(), r.PathValue("id"), body.Resolution, actor(r)); err != nil {
				return err
			}
			return s.showAlert(w, r)
		},
	}}
}

// An AlertDetail waits for somebody of the vendor's staff.
type AlertDetail struct {
	portal.Alert
	Evidence string `json:"evidence,omitempty" doc:"where the file with both signed checkpoints is; none: there is no such file"`
}

type resolveBody struct {
	Resolution string `json:"resolution" doc:"what was found out"`
}

func alertOf(a portal.Alert) AlertDetail {
	out := AlertDetail{Alert: a}
	if a.Evidence != "" {
		out.Evidence = "/api/v1/alerts/" + a.ID + "/evidence"
	}
	return out
}

func (s *Server) alert(r *http.Request) (portal.Alert, error) {
	id := r.PathValue("id")
	all, err := s.Portal.Alerts(r.Context(), true)
	i := slices.IndexFunc(all, func(a portal.Alert) bool { return a.ID == id })
	if err == nil && i < 0 {
		err = hidden("alert", id)
	}
	if err != nil {
		return portal.Alert{}, err
	}
	return all[i], nil
}

func (s *Server) showAlert(w http.ResponseWriter, r *http.Request) error {
	a, err := s.alert(r)
	if err != nil {
		return err
	}
	return s.answer(w, r, alertOf(a))
}
