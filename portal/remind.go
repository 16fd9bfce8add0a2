package portal

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/meterseal/meterseal/ledger"
)

// remindDays are how many days ahead of a date somebody is reminded (O-30).
var remindDays = []int{90, 30, 7, 1}

// EventReportDue is a reminder of a report before its date. It is mailed, and no
// webhook's event.
const EventReportDue = "report.due"

// Remind writes the reminders that are due: a mail to each address and an event.
// Each is written once, whichever process asks first. publicURL is where people
// open the portal; empty: the mails name no address. It returns how many there
// were.
func (p *Portal) Remind(ctx context.Context, publicURL string) (int, error) {
	all, err := p.Reminders(ctx, time.Duration(remindDays[0])*24*time.Hour)
	if err != nil {
		return 0, err
	}
	settings, err := p.Settings(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, r := range all {
		for _, d := range p.duties(ctx, r) {
			done, err := p.remind(ctx, d, settings, publicURL)
			if err != nil {
				return n, err
			}
			if done {
				n++
			}
		}
	}
	return n, nil
}

// A duty is one date of a reminder that is near.
type duty struct {
	Reminder
	kind string // EventReportDue, EventReportOverdue, EventLicenseExpiring
	date time.Time
	days int // at most so many are left; 0: it is over
}

func (d duty) key() string {
	return strings.Join([]string{d.Origin, d.kind, ledger.FormatDate(d.date), fmt.Sprint(d.days)}, " ")
}

// duties are the dates of r that somebody has to be reminded of now.
func (p *Portal) duties(ctx context.Context, r Reminder) []duty {
	var out []duty
	now := p.now()
	if r.Code == EventReportOverdue {
		out = append(out, duty{r, EventReportOverdue, r.ReportBy, 0})
	} else if days, ok := near(now, r.ReportBy, p.reportedUntil(ctx, r.Origin)); ok {
		out = append(out, duty{r, EventReportDue, r.ReportBy, days})
	}
	if days, ok := near(now, r.End, time.Time{}); ok {
		out = append(out, duty{r, EventLicenseExpiring, r.End, days})
	}
	return out
}

// near returns the reminder that holds for a date: the smallest of remindDays that
// is not below the days left. Of a date that comes again and again, since is when
// the span began: who reports each month is not reminded ninety days ahead, but
// only in the last half of the span.
func near(now, date, since time.Time) (days int, ok bool) {
	if date.IsZero() || now.After(date) {
		return 0, false
	}
	left := date.Sub(now)
	for _, d := range remindDays {
		span := time.Duration(d) * 24 * time.Hour
		if left <= span && (since.IsZero() || span <= date.Sub(since)/2) {
			days, ok = d, true
		}
	}
	return days, ok
}

// reportedUntil is up to when a ledger has reported; zero: unknown.
func (p *Portal) reportedUntil(ctx context.Context, origin string) time.Time {
	l, err := p.Ledger(ctx, origin)
	if err != nil {
		return time.Time{}
	}
	if l.Until.IsZero() {
		return l.Activated
	}
	return l.Until
}

// remind writes one reminder, unless it was written before.
func (p *Portal) remind(ctx context.Context, d duty, s Settings, publicURL string) (done bool, err error) {
	lic, err := p.License(ctx, d.License)
	if err != nil {
		return false, err
	}
	l, err := p.Ledger(ctx, d.Origin)
	if err != nil {
		return false, err
	}
	err = p.store.tx(ctx, func(c conn) error {
		n, err := c.exec(ctx, "INSERT INTO reminded (what, time) VALUES (?, ?) ON CONFLICT (what) DO NOTHING", d.key(), p.now().Unix())
		if err != nil || n == 0 {
			return err
		}
		done = true
		if d.kind != EventReportDue {
			if err := p.emitLicense(ctx, c, d.kind, "", lic, l); err != nil {
				return err
			}
		}
		to, err := p.remindAddresses(ctx, c, s, d.Customer)
		if err != nil {
			return err
		}
		subject, body := p.letter(d, s, publicURL)
		for _, address := range to {
			if err := c.addMail(ctx, p.now(), address, subject, body); err != nil {
				return err
			}
		}
		return nil
	})
	return done, err
}

// letter writes a reminder: which license and cluster, both dates, what happens
// then, and which file to send (O-31).
func (p *Portal) letter(d duty, s Settings, publicURL string) (subject, body string) {
	name := s.Name
	if name == "" {
		name = p.Domain()
	}
	date := func(t time.Time) string {
		if t.IsZero() {
			return "none"
		}
		return t.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	var what, then string
	switch d.kind {
	case EventReportOverdue:
		subject = fmt.Sprintf("Usage report overdue: license %s, %s", d.License, d.Label)
		what = "The usage report of this cluster is overdue, its grace time too."
		then = "Usage goes on being counted. What the license allows until a report was accepted stands in it under \"enforcement\"."
	case EventReportDue:
		subject = fmt.Sprintf("Usage report due by %s: license %s, %s", d.date.UTC().Format("2006-01-02"), d.License, d.Label)
		what = "The next usage report of this cluster is due."
		then = "Nothing stops on that day: a time of grace follows, which the license states."
	default:
		subject = fmt.Sprintf("License ends on %s: license %s, %s", d.date.UTC().Format("2006-01-02"), d.License, d.Label)
		what = "The license of this cluster ends."
		then = "An accepted report renews it if its contract goes on. Renewing early shortens nothing."
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nlicense:    %s\ncluster:    %s\nreport due: %s\nlicense end: %s\nfile to send: %s*.usage\n\n%s\n\n", what, d.License, d.Label, date(d.ReportBy), date(d.End), d.File, then)
	b.WriteString("At the site: \"meterseal report export\" writes the file. ")
	if publicURL != "" {
		fmt.Fprintf(&b, "Upload it at\n%s/my/upload\nand import the reply that comes back.\n", strings.TrimSuffix(publicURL, "/"))
	} else {
		b.WriteString("Upload it at the vendor's portal, and import the reply that comes back.\n")
	}
	fmt.Fprintf(&b, "\n-- \n%s\n", name)
	for _, line := range []string{s.Domain, s.Contact} {
		if line != "" {
			b.WriteString(line + "\n")
		}
	}
	return subject, b.String()
}

// customerAddresses are the mail addresses of the users of a customer who may sign
// in.
func (c conn) customerAddresses(ctx context.Context, customer string) ([]string, error) {
	return list(ctx, c, scanText, "SELECT email FROM users WHERE role = ? AND customer = ? AND disabled = 0 ORDER BY email", string(RoleCustomer), customer)
}
