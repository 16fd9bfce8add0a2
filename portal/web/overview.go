package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) overviewRoutes() []Route {
	return []Route{
		{"GET", "/{$}", gate.SignedIn, s.overview},
		{"GET", "/limits", gate.Read, s.limits},
	}
}

// overviewPage is the first page of the staff.
type overviewPage struct {
	*portal.Overview
	First  []firstStep // until the first report was accepted
	Due    []dueGroup
	Limits []limitLine // the nearest ones
	Near   int         // how many there are
	Alerts []portal.Alert
	Counts []activityRow
}

// A firstStep is one of those from an empty machine to the first report.
type firstStep struct {
	Name, Help, Path string
	Done             bool
}

// dueGroup are reminders of one urgency.
type dueGroup struct {
	Title, Kind string
	Lines       []dueLine
}

// dueLine names all that a reminder has to: customer, license, cluster, both dates
// and the file to send (O-31).
type dueLine struct {
	portal.Reminder
	CustomerName, LedgerID string
	State                  stateWord
}

// activityRow counts activations and deactivations in a period.
type activityRow struct {
	Name                       string
	Activations, Deactivations int64
}

// overview is the first page: that of the staff; customers have their own.
func (s *Server) overview(w http.ResponseWriter, r *http.Request) error {
	if !gate.CallerOf(r.Context()).May(gate.Read) {
		http.Redirect(w, r, "/my", http.StatusSeeOther)
		return nil
	}
	ctx := r.Context()
	o, err := s.Portal.Overview(ctx)
	if err != nil {
		return err
	}
	d := overviewPage{Overview: o}
	if d.First, err = s.firstSteps(ctx, o); err != nil {
		return err
	}
	if d.Due, err = s.dueGroups(ctx, o.Due); err != nil {
		return err
	}
	near, err := s.nearLimits(ctx)
	if err != nil {
		return err
	}
	d.Near, d.Limits = len(near), near[:min(len(near), 8)]
	alerts, err := s.Portal.FindAlerts(ctx, portal.ListOptions{State: "open", Limit: 5})
	if err != nil {
		return err
	}
	d.Alerts = alerts.Items
	if d.Counts, err = s.activity(ctx); err != nil {
		return err
	}
	return s.show(w, r, "overview", page{Title: "Overview", Nav: "overview", Data: d, Command: "site list --due 90d", API: "GET /api/v1/overview"})
}

// firstSteps are what leads to the first report; none once there was one.
func (s *Server) firstSteps(ctx context.Context, o *portal.Overview) ([]firstStep, error) {
	reports, err := s.Portal.FindReports(ctx, portal.ListOptions{Limit: 1, State: "accepted"})
	if err != nil || reports.Total > 0 {
		return nil, err
	}
	products, err := s.Portal.Products(ctx)
	if err != nil {
		return nil, err
	}
	logins, err := s.Portal.Users(ctx, portal.ListOptions{Code: string(portal.RoleCustomer), Limit: 1})
	if err != nil {
		return nil, err
	}
	customers, err := s.Portal.FindCustomers(ctx, portal.ListOptions{Limit: 1})
	if err != nil {
		return nil, err
	}
	login := "/customers"
	if len(customers.Items) > 0 {
		login = "/customers/" + escape(customers.Items[0].ID) + "/logins"
	}
	return []firstStep{
		{"Describe a product", "What is metered: its meters, units and features.", "/products/new", len(products) > 0},
		{"Make a customer", "Who buys licenses and sends reports.", "/customers/new", o.Customers > 0},
		{"Issue a license", "Customer, product and one of the five shipped policies; then the terms.", "/licenses/new", o.Licenses > 0},
		{"Give the customer a login", "They see their licenses and bring reports themselves.", login, logins.Total > 0},
		{"Take the first report", "The customer puts the key into the site, exports a report and uploads it; staff can do it too. It is the activation.", "/reports", false},
	}, nil
}

// dueGroups sorts reminders by how soon something ends (O-30: 90, 30 and 7 days).
func (s *Server) dueGroups(ctx context.Context, all []portal.Reminder) ([]dueGroup, error) {
	now, names := s.now(), map[string]string{}
	groups := []dueGroup{{"Overdue or over", "bad", nil}, {"Within 7 days", "warn", nil}, {"Within 30 days", "none", nil}, {"Within 90 days", "none", nil}}
	for _, r := range all {
		if _, known := names[r.Customer]; !known {
			names[r.Customer] = r.Customer
			if c, err := s.Portal.Customer(ctx, r.Customer); err == nil {
				names[r.Customer] = c.Name
			} else if portal.CodeOf(err) == "" {
				return nil, err
			}
		}
		at := r.End
		if !r.ReportBy.IsZero() && (at.IsZero() || r.ReportBy.Before(at)) {
			at = r.ReportBy
		}
		line := dueLine{Reminder: r, CustomerName: names[r.Customer], LedgerID: export.LedgerID(r.Origin)}
		i := 3
		switch left := at.Sub(now); {
		case r.Code == "report.overdue":
			i, line.State = 0, stateWord{"report overdue", "bad"}
		case left < 0 && at.Equal(r.ReportBy):
			i, line.State = 0, stateWord{"report late, in grace", "warn"}
		case left < 0:
			i, line.State = 0, stateWord{"license ended", "bad"}
		case at.Equal(r.ReportBy):
			line.State = stateWord{"report due", "none"}
		default:
			line.State = stateWord{"license ends", "none"}
		}
		if left := at.Sub(now); i == 3 && left <= 7*24*time.Hour {
			i, line.State.Kind = 1, "warn"
		} else if i == 3 && left <= 30*24*time.Hour {
			i = 2
		}
		groups[i].Lines = append(groups[i].Lines, line)
	}
	return slices.DeleteFunc(groups, func(g dueGroup) bool { return len(g.Lines) == 0 }), nil
}

// activity counts activations and deactivations in the usual periods (L-28).
func (s *Server) activity(ctx context.Context) (out []activityRow, err error) {
	now := s.now()
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	year := time.Date(now.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
	for _, p := range []struct {
		name     string
		from, to time.Time
	}{{"This month", month, month.AddDate(0, 1, 0)}, {"Last month", month.AddDate(0, -1, 0), month}, {"This year", year, year.AddDate(1, 0, 0)}, {"Last year", year.AddDate(-1, 0, 0), year}} {
		row := activityRow{Name: p.name}
		if row.Activations, row.Deactivations, err = s.Portal.Activity(ctx, p.from, p.to); err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, nil
}

// limitLine is a limit that is nearly or wholly used, with whose it is.
type limitLine struct {
	License string
	limitRow
}

// nearPercent is from where on a limit is near.
const nearPercent = 80

// nearCache keeps what nearLimits found: it asks for every ledger that has a limit,
// which is too much for each view of the first page.
type nearCache struct {
	mu      sync.Mutex
	at      time.Time
	lines   []limitLine
	running bool
}

// nearCacheTime is how old the list may be; an older one is shown once more while
// it is made anew.
const nearCacheTime = time.Minute

// nearLimits lists the limits that are near, the nearest first.
func (s *Server) nearLimits(ctx context.Context) ([]limitLine, error) {
	s.near.mu.Lock()
	lines, at, running := s.near.lines, s.near.at, s.near.running
	fresh := !at.IsZero() && s.now().Sub(at) < nearCacheTime
	if at.IsZero() || fresh || running {
		s.near.mu.Unlock()
		if at.IsZero() {
			return s.findNear(ctx)
		}
		return lines, nil
	}
	s.near.running = true
	s.near.mu.Unlock()
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), nearCacheTime)
		defer cancel()
		if _, err := s.findNear(ctx); err != nil {
			s.Log.Warn("limits not looked at", "err", err)
		}
		s.near.mu.Lock()
		s.near.running = false
		s.near.mu.Unlock()
	}()
	return lines, nil
}

// findNear asks for the limits that are near, and keeps them.
func (s *Server) findNear(ctx context.Context) ([]limitLine, error) {
	uses, err := s.Portal.NearLimits(ctx, nearPercent)
	if err != nil {
		return nil, err
	}
	licenses, lines := map[string]*portal.License{}, []limitLine{}
	for _, u := range uses {
		l := licenses[u.License]
		if l == nil {
			if l, err = s.Portal.License(ctx, u.License); err != nil {
				return nil, err
			}
			licenses[u.License] = l
		}
		x, err := s.Portal.Ledger(ctx, u.Origin)
		if err != nil {
			return nil, err
		}
		lines = append(lines, limitLine{l.ID, limitRowOf(l.Terms, x, u)})
	}
	slices.SortStableFunc(lines, func(a, b limitLine) int { return cmp.Compare(b.Percent, a.Percent) })
	s.near.mu.Lock()
	s.near.lines, s.near.at = lines, s.now()
	s.near.mu.Unlock()
	return lines, nil
}

// limits is the whole list, asked for now.
func (s *Server) limits(w http.ResponseWriter, r *http.Request) error {
	lines, err := s.findNear(r.Context())
	if err != nil {
		return err
	}
	if asCSV(r) {
		return writeCSV(w, "limits", []string{"license", "ledger", "label", "meter", "unit", "used", "limit", "percent"}, func(yield func([]string, error) bool) {
			for _, l := range lines {
				if !yield([]string{l.License, l.LedgerID, l.Ledger, l.Meter, l.Unit, l.Used, l.Limit, count64(l.Percent)}, nil) {
					return
				}
			}
		})
	}
	return s.show(w, r, "limits", page{Title: "Limits that are near", Nav: "overview", Crumbs: []crumb{{"Overview", "/"}}, Data: lines, API: "GET /api/v1/limits"})
}
