// Package mailertest is a real SMTP server that keeps what it takes, for tests.
package mailertest

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// An Office is the server. Its fields are set before it serves.
type Office struct {
	Users map[string]string // who may hand in, with his password; nil: everybody

	mu      sync.Mutex
	letters []Letter
	refuse  int // so many mails are refused first
}

// A Letter is a mail that was taken.
type Letter struct {
	From string
	To   []string
	*mail.Message
	Body       string
	Attachment string // name of the attached file
	File       []byte // its content
}

// Serve listens on loopback until the test ends, with STARTTLS if c is given.
func (o *Office) Serve(t testing.TB, c *tls.Config) (address string) {
	t.Helper()
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

// Letters returns the mails that were taken so far.
func (o *Office) Letters() []Letter {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]Letter{}, o.letters...)
}

// Refuse lets the next n mails be refused for now.
func (o *Office) Refuse(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refuse = n
}

// NewSession is smtp.Backend.
func (o *Office) NewSession(*smtp.Conn) (smtp.Session, error) {
	return &session{o: o, known: o.Users == nil}, nil
}

type session struct {
	o     *Office
	from  string
	to    []string
	known bool
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if s.known = s.o.Users[user] == password; !s.known {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if !s.known {
		return smtp.ErrAuthRequired
	}
	s.from, s.to = from, nil
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error { s.to = append(s.to, to); return nil }
func (s *session) Reset()                                    {}
func (s *session) Logout() error                             { return nil }

func (s *session) Data(r io.Reader) error {
	m, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	l := Letter{From: s.from, To: s.to, Message: m}
	if err := l.read(); err != nil {
		return err
	}
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	if s.o.refuse > 0 {
		s.o.refuse--
		return &smtp.SMTPError{Code: 451, Message: "later"}
	}
	s.o.letters = append(s.o.letters, l)
	return nil
}

// read takes the parts apart.
func (l *Letter) read() error {
	kind, params, err := mime.ParseMediaType(l.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	if kind != "multipart/mixed" {
		return l.text(quotedprintable.NewReader(l.Message.Body))
	}
	parts := multipart.NewReader(l.Message.Body, params["boundary"])
	text, err := parts.NextPart() // decodes quoted-printable
	if err != nil {
		return err
	}
	if err := l.text(text); err != nil {
		return err
	}
	file, err := parts.NextPart()
	if err != nil {
		return err
	}
	l.Attachment = file.FileName()
	l.File, err = io.ReadAll(base64.NewDecoder(base64.StdEncoding, file))
	return err
}

func (l *Letter) text(r io.Reader) error {
	b, err := io.ReadAll(r)
	l.Body = strings.ReplaceAll(string(b), "\r\n", "\n")
	return err
}
