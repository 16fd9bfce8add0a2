package web

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) auditRoutes() []Route {
	return []Route{{"GET", "/audit", gate.Read, s.audit}}
}

// An auditRow is an entry with what it changed.
type auditRow struct {
	portal.Audit
	What    string // the action without its reason
	Reason  string
	Path    string // of the page of its object; empty: there is none
	Changes []change
}

func (s *Server) audit(w http.ResponseWriter, r *http.Request) error {
	o := listOptions(r)
	o.Origin = r.URL.Query().Get("object")
	if asCSV(r) {
		return writeCSV(w, "audit", []string{"time", "actor", "action", "object", "before", "after"},
			rowsOf(portal.All(r.Context(), o, s.Portal.FindAudit), func(a portal.Audit) []string {
				return []string{spelled(a.Time), a.Actor, a.Action, a.Object, string(a.Before), string(a.After)}
			}))
	}
	p, err := s.Portal.FindAudit(r.Context(), o)
	if err != nil {
		return err
	}
	rows := portal.Page[auditRow]{Next: p.Next, Total: p.Total, Items: []auditRow{}}
	for _, a := range p.Items {
		row := auditRow{Audit: a, Path: objectPath(a), Changes: changes(a.Before, a.After)}
		row.What, row.Reason, _ = strings.Cut(a.Action, ": ")
		rows.Items = append(rows.Items, row)
	}
	return s.show(w, r, "audit", page{Title: "Audit log", Nav: "audit", Data: rows, API: "GET /api/v1/audit"})
}

// objectPath is the page of what an entry is about.
func objectPath(a portal.Audit) string {
	kind, _, _ := strings.Cut(a.Action, ".")
	switch kind {
	case "license", "customer", "product":
		return "/" + kind + "s/" + escape(a.Object)
	case "policy":
		return "/policies/" + escape(a.Object)
	case "alert":
		return "/alerts/" + escape(a.Object)
	case "ledger", "report":
		if i := strings.LastIndexByte(a.Object, '/'); i >= 0 {
			return "/ledgers/" + escape(a.Object[i+1:])
		}
	}
	return ""
}

// A change is one value of an object, before and after.
type change struct{ Name, Before, After string }

// changesMax bounds the changes of one entry that are listed.
const changesMax = 60

// changes lists what differs between two objects, value by value; what is new or
// gone stands alone. Numbers and texts are shown as they are.
func changes(before, after json.RawMessage) []change {
	x, y := flatten(before), flatten(after)
	names := []string{}
	for name := range x {
		names = append(names, name)
	}
	for name := range y {
		if _, both := x[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	out := []change{}
	for _, name := range names {
		if x[name] == y[name] {
			continue
		}
		if len(out) == changesMax {
			return append(out, change{Name: "…", After: strconv.Itoa(len(names)-changesMax) + " more"})
		}
		out = append(out, change{name, x[name], y[name]})
	}
	return out
}

// flatten spells each value of a JSON text under its path; that of a plain value
// is empty. Nothing and null have none.
func flatten(text json.RawMessage) map[string]string {
	out := map[string]string{}
	var v any
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return out
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				walk(strings.TrimPrefix(path+"."+k, "."), x)
			}
		case []any:
			for i, x := range v {
				walk(path+"["+strconv.Itoa(i)+"]", x)
			}
		case string:
			out[path] = v
		case json.Number:
			out[path] = v.String()
		case bool:
			out[path] = map[bool]string{true: "yes", false: "no"}[v]
		}
	}
	walk("", v)
	return out
}
