package web

import (
	"cmp"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) siteRoutes() []Route {
	list := []Route{
		{"GET", "/sites", gate.Read, s.sites},
		{"GET", "/ledgers/{id}", gate.Read, s.ledger},
		{"GET", "/ledgers/{id}/reply", gate.Read, s.ledgerReply},
		{"GET", "/ledgers/{id}/reply/qr", gate.Read, s.ledgerQR},
		{"GET", "/ledgers/{id}/receipts/{file}", gate.Read, s.ledgerReceipt},
	}
	for _, act := range ledgerActs {
		path := "/ledgers/{id}/" + act.Name
		list = append(list, Route{"GET", path, gate.Manage, s.actOn(act)}, Route{"POST", path, gate.Manage, s.actOn(act)})
	}
	return list
}

// registrations are O-01's words for a site, explained.
var registrations = map[string]string{
	"registration_failed":  "the activation was refused",
	"not_licensed":         "no license in force: it waits for approval, or its report is overdue",
	"partially_licensed":   "some clusters of the site have a license in force, others have not",
	"licensed":             "a license is in force",
	"deactivated":          "it has ended",
	portal.ApprovalPending: "the vendor decides about its activation",
}

func (s *Server) sites(w http.ResponseWriter, r *http.Request) error {
	o := listOptions(r)
	if asCSV(r) {
		return writeCSV(w, "ledgers", []string{"ledger", "label", "license", "customer", "state", "registration", "overdue", "records", "reported_until", "report_by", "license_end", "origin"},
			rowsOf(portal.All(r.Context(), o, s.Portal.FindLedgers), func(l portal.LedgerLine) []string {
				return []string{l.LedgerID, l.Label, l.License, l.Customer, l.State, l.Registration, strconv.FormatBool(l.Overdue), strconv.FormatUint(l.Size, 10),
					spelled(l.Until), spelled(l.ReportBy), spelled(l.LicenseEnd), l.Origin}
			}))
	}
	p, err := s.Portal.FindLedgers(r.Context(), o)
	if err != nil {
		return err
	}
	return s.show(w, r, "sites", page{Title: "Sites and ledgers", Nav: "sites", Data: p, Command: "site list", API: "GET /api/v1/ledgers"})
}

// A ledgerPage is what the page of a ledger shows.
type ledgerPage struct {
	*portal.Ledger
	Terms                *portal.License
	Customer             *portal.Customer
	Site                 *portal.Site
	Overdue              bool
	Last                 portal.ReportLine // accepted
	Missing              [][2]uint64
	Chain                []portal.TimelineReport
	Cut                  bool // not all facts are shown
	Marks                []mark
	Picture              template.HTML
	Span                 string // of the timeline
	Alerts               []portal.Alert
	HasReply             bool
	Acts                 []ledgerAct
	RegistrationMeans    string
	SiteRegistration     string
	SiteRegistrationMean string
}

// spans of a timeline, by the value of the parameter span.
var timelineSpans = []struct {
	Name, Word string
	days       int
}{{"30d", "30 days", 30}, {"90d", "90 days", 90}, {"1y", "One year", 365}, {"all", "Everything", 0}}

// TimelineSpans are for the template.
func (ledgerPage) TimelineSpans() any { return timelineSpans }

func (s *Server) ledger(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l, err := s.Portal.LedgerByID(ctx, r.PathValue("id"))
	if err != nil {
		return err
	}
	d := ledgerPage{Ledger: l}
	if d.Terms, err = s.Portal.License(ctx, l.License); err != nil {
		return err
	}
	if d.Customer, err = s.Portal.Customer(ctx, d.Terms.Customer); err != nil {
		return err
	}
	if d.Site, err = s.Portal.Site(ctx, l.License); err != nil {
		return err
	}
	if d.Last, err = s.Portal.LastReport(ctx, l.Origin); err != nil {
		return err
	}
	if d.Missing, err = s.Portal.MissingRecords(ctx, l.Origin); err != nil {
		return err
	}
	alerts, err := s.Portal.FindAlerts(ctx, portal.ListOptions{Origin: l.Origin, State: "open", Limit: 10})
	if err != nil {
		return err
	}
	d.Alerts = alerts.Items
	_, _, err = s.Portal.NewestReply(ctx, l.Origin)
	d.HasReply = err == nil
	d.Overdue = slices.Contains(d.Site.Overdue, l.Origin)
	d.RegistrationMeans = registrations[cmp.Or(l.Approval, l.Registration)]
	d.SiteRegistration, d.SiteRegistrationMean = d.Site.Registration, registrations[d.Site.Registration]
	for _, act := range ledgerActs {
		if act.Fits(l) {
			d.Acts = append(d.Acts, act)
		}
	}
	if err := s.timeline(r, &d); err != nil {
		return err
	}
	name := cmp.Or(l.Label, l.LedgerID)
	return s.show(w, r, "ledger", page{Title: name, Nav: "sites", Crumbs: []crumb{{"Sites", "/sites"}}, Data: d,
		Command: "site show " + l.LedgerID, API: "GET /api/v1/ledgers/" + l.LedgerID})
}

// timeline fills in the timeline for the span that is asked for: all of a young
// ledger, else the last 90 days.
func (s *Server) timeline(r *http.Request, d *ledgerPage) error {
	end := s.now()
	if d.Until.After(end) {
		end = d.Until
	}
	if !d.Ended.IsZero() && d.Ended.Before(end) {
		end = d.Ended
	}
	begin := d.Activated
	if d.Span = r.URL.Query().Get("span"); d.Span == "" {
		if d.Span = "all"; end.Sub(begin) > 120*24*time.Hour {
			d.Span = "90d"
		}
	}
	for _, x := range timelineSpans {
		if from := end.AddDate(0, 0, -x.days); x.Name == d.Span && x.days > 0 && from.After(begin) {
			begin = from
		}
	}
	from, to := begin, time.Unix(1<<35, 0)
	if d.Span == "all" {
		from = time.Unix(0, 0)
	}
	t, err := s.Portal.Timeline(r.Context(), d.Origin, from, to)
	if err != nil {
		return err
	}
	for _, x := range t.Reports { // windows from before the activation was known here
		if d.Span == "all" && !x.From.IsZero() && x.From.Before(begin) {
			begin = x.From
		}
	}
	d.Chain, d.Cut, d.Marks = t.Reports, t.FactsCut, marksOf(t, d.Terms.Terms)
	slices.Reverse(d.Chain)
	d.Picture = drawTimeline(d.Marks, begin, end)
	return nil
}

func (s *Server) ledgerReply(w http.ResponseWriter, r *http.Request) error {
	l, err := s.Portal.LedgerByID(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	reply, name, err := s.Portal.NewestReply(r.Context(), l.Origin)
	if err != nil {
		return err
	}
	return attach(w, name, plainText, reply)
}

// ledgerQR shows the newest reply as QR codes, to print or to scan from the
// screen (L-13).
func (s *Server) ledgerQR(w http.ResponseWriter, r *http.Request) error {
	l, err := s.Portal.LedgerByID(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	reply, name, err := s.Portal.NewestReply(r.Context(), l.Origin)
	if err != nil {
		return err
	}
	parts, err := qrParts(reply)
	if err != nil {
		return err
	}
	title := cmp.Or(l.Label, l.LedgerID)
	return s.show(w, r, "reply_qr", page{Title: "Reply as QR codes", Nav: "sites", Crumbs: []crumb{{"Sites", "/sites"}, {title, "/ledgers/" + l.LedgerID}},
		Data:    map[string]any{"Ledger": l, "Name": name, "Parts": parts},
		Command: "site reply " + l.LedgerID + " --format png --out qr", API: "GET /api/v1/ledgers/" + l.LedgerID + "/reply"})
}

// ledgerReceipt gives a receipt back for programs of transparency logs: the
// countersigned checkpoint, SIZE.checkpoint, or what was said of the report,
// SIZE.acceptance (O-14, O-24).
func (s *Server) ledgerReceipt(w http.ResponseWriter, r *http.Request) error {
	l, err := s.Portal.LedgerByID(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	file := r.PathValue("file")
	receipts, err := s.Portal.Receipts(r.Context(), l.Origin)
	if err != nil {
		return err
	}
	for _, x := range receipts {
		size := strconv.FormatUint(x.Size, 10)
		for kind, note := range map[string]string{".checkpoint": x.Note, ".acceptance": x.Acceptance} {
			if file == size+kind && note != "" {
				return attach(w, l.LedgerID+"-"+file, plainText, []byte(note))
			}
		}
	}
	return &portal.Error{Code: portal.CodeNotFound, Status: http.StatusNotFound, Message: "there is no file " + file + " of ledger " + l.LedgerID, Hint: "the page of the ledger lists them"}
}
