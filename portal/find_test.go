package portal_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/portal"
)

// walk reads all pages of a list and returns a name of each item; between is
// called after each page.
func walk[T any](t *testing.T, o portal.ListOptions, find func(portal.ListOptions) (portal.Page[T], error), name func(T) string, between func()) (names []string, total int64) {
	t.Helper()
	for {
		page, err := find(o)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range page.Items {
			names = append(names, name(x))
		}
		if o.Cursor == "" {
			total = page.Total
		}
		if o.Cursor = page.Next; o.Cursor == "" {
			return names, total
		}
		if between != nil {
			between()
		}
	}
}

// A list is cut into pages in which each row stands once, also while rows are
// added before and after the page that is read.
func TestListsByPages(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		var want []string
		for i := range 23 {
			id, name := fmt.Sprintf("c-%02d", i), fmt.Sprintf("%s Works", string(rune("bB"[i%2])))
			_, err := v.SetCustomer(t0, portal.Customer{ID: id, Name: name}, "ana")
			v.Must(err)
			want = append(want, id)
		}
		added := 0
		names, total := walk(t, portal.ListOptions{Search: "WORKS", Limit: 5}, func(o portal.ListOptions) (portal.Page[portal.CustomerLine], error) { return v.FindCustomers(t0, o) },
			func(c portal.CustomerLine) string { return c.ID }, func() {
				added++
				_, err := v.SetCustomer(t0, portal.Customer{ID: fmt.Sprintf("a-%d", added), Name: "A works"}, "ana")
				v.Must(err)
			})
		if !slices.Equal(names, want) || total != 23 {
			t.Errorf("FindCustomers by pages of 5 = %v, total %d, want %v", names, total, want)
		}

		want = nil
		for i := range 12 {
			v.Clock.Add(time.Duration(i%2) * time.Second) // some of one second
			l := v.Issue(portal.LicenseSpec{ID: fmt.Sprintf("L-%02d", i), Customer: "acme"})
			want = append(want, l.ID)
		}
		slices.Reverse(want)
		names, total = walk(t, portal.ListOptions{Customer: "acme", Limit: 5}, func(o portal.ListOptions) (portal.Page[portal.LicenseLine], error) { return v.FindLicenses(t0, o) },
			func(l portal.LicenseLine) string { return l.ID }, func() {
				added++
				v.Clock.Add(time.Second)
				v.Issue(portal.LicenseSpec{ID: fmt.Sprintf("M-%02d", added), Customer: "acme"})
			})
		if !slices.Equal(names, want) || total != 12 {
			t.Errorf("FindLicenses by pages of 5 = %v, total %d, want %v", names, total, want)
		}

		audits, total := walk(t, portal.ListOptions{Limit: 10}, func(o portal.ListOptions) (portal.Page[portal.Audit], error) { return v.FindAudit(t0, o) },
			func(a portal.Audit) string { return a.Action + " " + a.Object }, nil)
		all, err := v.AuditLog(t0, "", 1000)
		v.Must(err)
		if len(audits) != len(all) || total != int64(len(all)) || audits[0] != all[0].Action+" "+all[0].Object {
			t.Errorf("FindAudit by pages of 10 gives %d, total %d, want %d", len(audits), total, len(all))
		}
		outboxByPages(t, v)
		for _, o := range []portal.ListOptions{{Cursor: "x"}, {Cursor: "WzFd"}, {Cursor: "WyJhIiwibnVsbCIsMV0"}, {Limit: -1}, {Limit: 501}, {State: "odd"}} {
			if _, err := v.FindLicenses(t0, o); code(err) != portal.CodeBadRequest {
				t.Errorf("FindLicenses(%+v) = %v, want bad_request", o, err)
			}
		}
	})
}

// outboxByPages pages through events, deliveries and mails.
func outboxByPages(t *testing.T, v *vendor) {
	hook, err := v.AddWebhook(t0, portal.Webhook{URL: "https://hooks.example/in"}, "ana")
	v.Must(err)
	var want []string
	for i := range 7 {
		id := fmt.Sprintf("z-%d", i)
		_, err := v.SetCustomer(t0, portal.Customer{ID: id, Name: "Z"}, "ana")
		v.Must(err)
		want = append([]string{id}, want...)
	}
	events, total := walk(t, portal.ListOptions{State: portal.EventCustomerCreated, Search: "z-", Limit: 3}, func(o portal.ListOptions) (portal.Page[portal.Event], error) { return v.FindEvents(t0, o) },
		func(e portal.Event) string { return e.Object }, nil)
	if !slices.Equal(events, want) || total != 7 {
		t.Errorf("FindEvents by pages of 3 = %v, total %d, want %v", events, total, want)
	}
	sent, total := walk(t, portal.ListOptions{State: portal.DeliveryPending, Limit: 3}, func(o portal.ListOptions) (portal.Page[portal.Delivery], error) { return v.Deliveries(t0, hook.ID, o) },
		func(d portal.Delivery) string { return d.Event.Object }, nil)
	if !slices.Equal(sent, want) || total != 7 {
		t.Errorf("Deliveries by pages of 3 = %v, total %d, want %v", sent, total, want)
	}
	_, events1 := v.FindEvents(t0, portal.ListOptions{State: "odd"})
	_, deliveries := v.Deliveries(t0, "", portal.ListOptions{State: "odd"})
	_, mails := v.Mails(t0, portal.ListOptions{State: "odd"})
	_, long := v.Mails(t0, portal.ListOptions{Limit: 501})
	for i, err := range []error{events1, deliveries, mails, long} {
		if code(err) != portal.CodeBadRequest {
			t.Errorf("list %d with an odd state or limit = %v, want bad_request", i, err)
		}
	}
}

// What is searched for stands as it is: signs of LIKE find themselves.
func TestSearchTakesTextAsItIs(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		for id, name := range map[string]string{"pct": "100% Ltd", "under": "a_b Ltd", "back": `c\d Ltd`, "uml": "Müller Ltd"} {
			_, err := v.SetCustomer(t0, portal.Customer{ID: id, Name: name}, "ana")
			v.Must(err)
		}
		for search, want := range map[string]string{"%": "pct", "_": "under", `\`: "back", "ltd": "back pct uml under", "a_B": "under", "axb": "", "Müll": "uml", "'; DROP": "", "?": ""} {
			p, err := v.FindCustomers(t0, portal.ListOptions{Search: search})
			v.Must(err)
			var got []string
			for _, c := range p.Items {
				got = append(got, c.ID)
			}
			slices.Sort(got)
			if strings.Join(got, " ") != want || p.Total != int64(len(got)) {
				t.Errorf("FindCustomers(%q) = %v, total %d, want %s", search, got, p.Total, want)
			}
		}
	})
}

// Each list says of each row what it is now, and finds it by its state.
func TestListsByState(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		s := v.Open(v.Issue(portal.LicenseSpec{ID: "L-ready", Policy: "monthly-pay-per-use"}), "L-ready")
		s.Send()
		s.Use(3, 4).Send()
		quiet := v.Issue(portal.LicenseSpec{ID: "L-quiet"})
		sus := v.Issue(portal.LicenseSpec{ID: "L-suspended"})
		_, err := v.SuspendLicense(t0, sus.ID, "ana")
		v.Must(err)
		short := v.Issue(portal.LicenseSpec{ID: "L-short", Expires: v.Clock.Now().AddDate(0, 0, 40).Format("2006-01-02")})
		v.Refuses("format/not_a_report", []byte("no report"))

		states := func(want map[string]string) {
			t.Helper()
			for state, ids := range want {
				p, err := v.FindLicenses(t0, portal.ListOptions{State: state})
				v.Must(err)
				var got []string
				for _, l := range p.Items {
					got = append(got, strings.TrimPrefix(l.ID, "L-"))
				}
				slices.Sort(got)
				if strings.Join(got, " ") != ids {
					t.Errorf("licenses that are %q: %v, want %s", state, got, ids)
				}
			}
		}
		states(map[string]string{"active": "quiet ready short", "suspended": "suspended", "revoked": "", "expired": "", "ending": "short", "overdue": ""})
		line := func(id string) portal.LicenseLine {
			p, err := v.FindLicenses(t0, portal.ListOptions{License: id})
			v.Must(err)
			if len(p.Items) != 1 {
				t.Fatalf("FindLicenses of %s = %+v", id, p)
			}
			return p.Items[0]
		}
		l, err := v.Ledger(t0, s.Ledger.Name)
		v.Must(err)
		if x := line("L-ready"); x.Ledgers != 1 || !x.ReportBy.Equal(l.ReportBy) || x.LastReport.IsZero() || x.Overdue || x.CustomerName != "Acme GmbH" {
			t.Errorf("line of L-ready: %+v, want one ledger, the report due %v", x, l.ReportBy)
		}
		if x := line(quiet.ID); x.Ledgers != 0 || !x.ReportBy.IsZero() || !x.End.Equal(quiet.End) || !x.LastReport.IsZero() {
			t.Errorf("line of L-quiet: %+v, want no ledger, the end %v", x, quiet.End)
		}
		for state, want := range map[string]int64{"": 3, "accepted": 2, "refused": 1, "duplicate": 0, "explain": 0, "pending": 0} {
			if p, err := v.FindReports(t0, portal.ListOptions{State: state}); err != nil || p.Total != want || int64(len(p.Items)) != want {
				t.Errorf("reports that are %q: %+v, %v, want %d", state, p, err, want)
			}
		}
		if p, err := v.FindReports(t0, portal.ListOptions{Code: "format"}); err != nil || p.Total != 1 || p.Items[0].Code != "format/not_a_report" {
			t.Errorf("reports with code format: %+v, %v, want one", p, err)
		}
		if p, err := v.FindReports(t0, portal.ListOptions{Customer: "acme", Search: "L-READY"}); err != nil || p.Total != 2 || p.Items[1].Size == 0 || p.Items[1].License != "L-ready" {
			t.Errorf("reports of acme: %+v, %v, want two", p, err)
		}

		v.Clock.Set(l.ReportBy.Add(365 * 24 * time.Hour))
		states(map[string]string{"expired": "quiet ready short", "overdue": "ready", "active": ""})
		if p, err := v.FindLedgers(t0, portal.ListOptions{State: "overdue", Customer: "acme"}); err != nil || p.Total != 1 || !p.Items[0].Overdue || p.Items[0].LedgerID != l.LedgerID {
			t.Errorf("overdue ledgers: %+v, %v, want %s", p, err, l.LedgerID)
		}
		if p, err := v.FindCustomers(t0, portal.ListOptions{State: "overdue"}); err != nil || p.Total != 1 || p.Items[0].Overdue != 1 || p.Items[0].Licenses != 4 || p.Items[0].LastReport.IsZero() {
			t.Errorf("customers with overdue reports: %+v, %v, want acme", p, err)
		}
		if x, err := v.LedgerByID(t0, l.LedgerID); err != nil || x.Origin != l.Origin {
			t.Errorf("LedgerByID(%q) = %v, %v, want %s", l.LedgerID, x, err, l.Origin)
		}
		if _, err := v.LedgerByID(t0, "%"); code(err) != portal.CodeNotFound {
			t.Errorf("LedgerByID(%%) = %v, want not_found", err)
		}
		o, err := v.Overview(t0)
		if err != nil || o.Customers != 1 || o.Licenses != 4 || o.Ledgers != 1 || len(o.Due) != 1 || o.Due[0].Code != "report.overdue" || len(o.NeverReported) != 0 {
			t.Errorf("Overview = %+v, %v, want one report overdue", o, err)
		}
		_, _ = short, quiet
	})
}
