package mailer_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/mailer"
	"github.com/meterseal/meterseal/internal/mailer/mailertest"
)

var ctx = context.Background()

// A password goes over TLS alone; STARTTLS is used where it is offered, and the
// certificate is verified. No header takes a line break.
func TestMailIsSignedInOverTLS(t *testing.T) {
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	defer web.Close()
	pool := x509.NewCertPool()
	pool.AddCert(web.Certificate()) // it is for 127.0.0.1
	office := &mailertest.Office{Users: map[string]string{"meter": "secret"}}
	m := mailer.Message{ID: "m-1", To: []string{"kim@acme.example"}, Subject: "Ünïcode", Body: "line\n.dot\n"}
	r := mailer.Relay{Host: office.Serve(t, web.TLS.Clone()), From: "meter@vendor.example", User: "meter", Password: "secret", TLS: &tls.Config{RootCAs: pool}}
	if err := r.Send(ctx, m, time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := office.Letters(); len(got) != 1 || got[0].Body != "line\n.dot\n" {
		t.Errorf("mails = %+v, want one", got)
	}
	r.Password = "wrong"
	if err := r.Send(ctx, m, time.Now()); err == nil {
		t.Error("Send with a wrong password: no error, want one")
	}
	r.Password, r.TLS = "secret", nil
	if err := r.Send(ctx, m, time.Now()); err == nil {
		t.Error("Send to a server whose certificate nobody vouches for: no error, want one")
	}
	m.Subject = "a\r\nBcc: all@acme.example"
	r.TLS = &tls.Config{RootCAs: pool}
	if err := r.Send(ctx, m, time.Now()); err == nil || len(office.Letters()) != 1 {
		t.Errorf("Send with a line break in the subject = %v, %d mails, want an error and 1", err, len(office.Letters()))
	}
}

// A file of any bytes arrives as it was, and one that cannot be read is no mail.
func TestAttachment(t *testing.T) {
	office := &mailertest.Office{}
	r := mailer.Relay{Host: office.Serve(t, nil), From: "Plant 2 <meter@plant.example>"}
	content := bytes.Repeat([]byte("--meterseal=_part\r\n.\r\n\x00\xff"), 1000)
	m := mailer.Message{ID: "m-2", To: []string{"a@plant.example", "b@plant.example"}, Subject: "Usage report", Body: "Grüße, " + strings.Repeat("long ", 50) + "\n",
		Attachment: mailer.Attachment{Name: "a b.usage.zst", Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }}}
	if err := r.Send(ctx, m, time.Now()); err != nil {
		t.Fatal(err)
	}
	got := office.Letters()
	if len(got) != 1 {
		t.Fatalf("%d mails, want 1", len(got))
	}
	if l := got[0]; l.Body != m.Body || l.Attachment != "a b.usage.zst" || !bytes.Equal(l.File, content) || strings.Join(l.To, " ") != "a@plant.example b@plant.example" {
		t.Errorf("mail to %v with %q of %d bytes, text %q; want what was sent", l.To, l.Attachment, len(l.File), l.Body)
	}
	m.Attachment.Open = func() (io.ReadCloser, error) { return nil, io.ErrUnexpectedEOF }
	if err := r.Send(ctx, m, time.Now()); err == nil || len(office.Letters()) != 1 {
		t.Errorf("Send of a file that cannot be read = %v, %d mails, want an error and 1", err, len(office.Letters()))
	}
}

func TestCheck(t *testing.T) {
	for _, r := range []mailer.Relay{{Host: "relay", From: "a@b.example"}, {Host: "relay:25", From: "nobody"}, {}} {
		if r.Check() == nil {
			t.Errorf("Check(%+v): no error, want one", r)
		}
	}
	if err := (mailer.Relay{Host: "relay:25", From: "Plant <a@b.example>"}).Check(); err != nil {
		t.Errorf("Check = %v, want none", err)
	}
	for _, a := range []string{"", "kim", "Kim <kim@acme.example>", "kim@acme.example\r\nRCPT TO:<x@y>"} {
		if mailer.CheckAddress(a) == nil {
			t.Errorf("CheckAddress(%q): no error, want one", a)
		}
	}
}
