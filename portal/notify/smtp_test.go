package notify_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/notify"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// A post office is a real SMTP server that keeps what it takes.
type postOffice struct {
	mu     sync.Mutex
	mails  []letter
	refuse int // so many mails are refused first
	users  map[string]string
}

type letter struct {
	from, to string
	*mail.Message
	body string
}

type postSession struct {
	o        *postOffice
	from, to string
	known    bool
}

func (o *postOffice) NewSession(*smtp.Conn) (smtp.Session, error) {
	return &postSession{o: o, known: o.users == nil}, nil
}

func (s *postSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *postSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if s.known = s.o.users[user] == password; !s.known {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func (s *postSession) Mail(from string, _ *smtp.MailOptions) error {
	if !s.known {
		return smtp.ErrAuthRequired
	}
	s.from = from
	return nil
}

func (s *postSession) Rcpt(to string, _ *smtp.RcptOptions) error { s.to = to; return nil }
func (s *postSession) Reset()                                    {}
func (s *postSession) Logout() error                             { return nil }

func (s *postSession) Data(r io.Reader) error {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	if s.o.refuse > 0 {
		s.o.refuse--
		return &smtp.SMTPError{Code: 451, Message: "later"}
	}
	m, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		return err
	}
	s.o.mails = append(s.o.mails, letter{s.from, s.to, m, strings.ReplaceAll(string(b), "\r\n", "\n")})
	return nil
}

func (o *postOffice) serve(t *testing.T, c *tls.Config) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := smtp.NewServer(o)
	s.Domain, s.TLSConfig, s.AllowInsecureAuth = "localhost", c, false
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-ended; err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// O-30, O-31, L-27: reminders are mailed once each, ahead of time, and name
// license, cluster, both dates and the file to send, in the vendor's name.
func TestRemindersAreMailed(t *testing.T) {
	portaltest.OnBoth(t, func(t *testing.T, v *portaltest.Vendor) {
		office := &postOffice{}
		send := sender(v, notify.Options{PublicURL: "https://portal.example", SMTP: notify.SMTP{Host: office.serve(t, nil), From: "Acme Größe <meter@vendor.example>"}})
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
			for _, m := range office.mails {
				s, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
				v.Must(err)
				out = append(out, s)
			}
			return out
		}
		round()
		before := len(office.mails)
		v.Clock.Set(site.ReportBy.Add(-7 * 24 * time.Hour))
		office.refuse = 1
		round()
		v.Clock.Add(time.Hour)
		round()
		round()
		if n := len(office.mails) - before; n != 1 {
			t.Fatalf("%d mails seven days ahead, want 1: %q", n, subjects())
		}
		m := office.mails[before]
		for _, want := range []string{"L-1", "Plant 2", site.ReportBy.Format("2006-01-02 15:04:05 UTC"), site.LedgerID, "https://portal.example/my/upload", "Vendor & Söhne", "Call +49 1"} {
			if !strings.Contains(m.body, want) {
				t.Errorf("the mail does not name %q:\n%s", want, m.body)
			}
		}
		if m.to != "staff@vendor.example" || m.from != "meter@vendor.example" || m.Header.Get("Auto-Submitted") == "" {
			t.Errorf("mail from %s to %s, want meter@vendor.example to staff@vendor.example", m.from, m.to)
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

// A password goes over TLS alone, and a server that offers none off loopback gets
// nothing; STARTTLS is used where it is offered.
func TestMailIsSignedInOverTLS(t *testing.T) {
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	defer web.Close()
	config := web.TLS.Clone()
	office := &postOffice{users: map[string]string{"meter": "secret"}}
	host := office.serve(t, config)
	m := portal.Mail{ID: "m-1", Address: "kim@acme.example", Subject: "Ünïcode", Body: "line\n.dot\n"}
	s := notify.SMTP{Host: host, From: "meter@vendor.example", User: "meter", Password: "secret", TLS: &tls.Config{RootCAs: rootsOf(web)}}
	if err := s.Send(ctx, m, time.Now()); err != nil {
		t.Fatal(err)
	}
	if len(office.mails) != 1 || office.mails[0].body != "line\n.dot\n" {
		t.Errorf("mails = %+v, want one", office.mails)
	}
	s.Password = "wrong"
	if err := s.Send(ctx, m, time.Now()); err == nil {
		t.Error("Send with a wrong password: no error, want one")
	}
	s.Password, s.TLS = "secret", nil
	if err := s.Send(ctx, m, time.Now()); err == nil {
		t.Error("Send to a server whose certificate nobody vouches for: no error, want one")
	}
	m.Subject = "a\r\nBcc: all@acme.example"
	s.TLS = &tls.Config{RootCAs: rootsOf(web)}
	if err := s.Send(ctx, m, time.Now()); err == nil || len(office.mails) != 1 {
		t.Errorf("Send with a line break in the subject = %v, %d mails, want an error and 1", err, len(office.mails))
	}
}

// rootsOf trusts the certificate of a server, which is for 127.0.0.1.
func rootsOf(s *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}
