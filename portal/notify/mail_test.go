package notify_test

import (
	"mime"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/mailer"
	"github.com/meterseal/meterseal/internal/mailer/mailertest"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/notify"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// O-30, O-31, L-27: reminders are mailed once each, ahead of time, and name
// license, cluster, both dates and the file to send, in the vendor's name.
func TestRemindersAreMailed(t *testing.T) {
	portaltest.OnBoth(t, func(t *testing.T, v *portaltest.Vendor) {
		office := &mailertest.Office{}
		send := sender(v, notify.Options{PublicURL: "https://portal.example", SMTP: mailer.Relay{Host: office.Serve(t, nil), From: "Acme Größe <meter@vendor.example>"}})
		v.Must(v.SetSettings(ctx, portal.Settings{Name: "Vendor & Söhne", Contact: "Call +49 1", RemindTo: []string{"staff@vendor.example"}}, "ana"))
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Policy: "monthly-pay-per-use"})
		s := v.Open(l, "a")
		a := s.Send(portal.AcceptOptions{Ledger: "Plant 2", Actor: "kim"})
		site, err := v.Ledger(ctx, a.Origin)
		v.Must(err)
		if site.ReportBy.IsZero() {
			t.Fatal("the license has no report-by")
		}
		round := func() {
			t.Helper()
			if _, err := v.Remind(ctx, "https://portal.example"); err != nil {
				t.Fatal(err)
			}
			v.Must(send.Round(ctx))
		}
		subjects := func() (out []string) {
			for _, m := range office.Letters() {
				s, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
				v.Must(err)
				out = append(out, s)
			}
			return out
		}
		round()
		before := len(office.Letters())
		v.Clock.Set(site.ReportBy.Add(-7 * 24 * time.Hour))
		office.Refuse(1)
		round()
		v.Clock.Add(time.Hour)
		round()
		round()
		if n := len(office.Letters()) - before; n != 1 {
			t.Fatalf("%d mails seven days ahead, want 1: %q", n, subjects())
		}
		m := office.Letters()[before]
		for _, want := range []string{"L-1", "Plant 2", site.ReportBy.Format("2006-01-02 15:04:05 UTC"), site.LedgerID, "https://portal.example/my/upload", "Vendor & Söhne", "Call +49 1"} {
			if !strings.Contains(m.Body, want) {
				t.Errorf("the mail does not name %q:\n%s", want, m.Body)
			}
		}
		if strings.Join(m.To, " ") != "staff@vendor.example" || m.From != "meter@vendor.example" || m.Header.Get("Auto-Submitted") == "" {
			t.Errorf("mail from %s to %s, want meter@vendor.example to staff@vendor.example", m.From, m.To)
		}
		v.Clock.Set(site.ReportBy.Add(-time.Hour))
		round()
		v.Clock.Set(site.ReportBy.Add(400 * 24 * time.Hour))
		round()
		got := strings.Join(subjects(), "\n")
		if !strings.Contains(got, "Usage report overdue: license L-1, Plant 2") || strings.Count(got, "Usage report due") != 2 {
			t.Errorf("subjects:\n%s\nwant two of a report that is due, and one of an overdue one", got)
		}
		events, err := v.FindEvents(ctx, portal.ListOptions{State: portal.EventReportOverdue})
		v.Must(err)
		if len(events.Items) != 1 {
			t.Errorf("%d events report.overdue, want 1", len(events.Items))
		}
	})
}
