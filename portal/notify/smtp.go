package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"strings"
	"time"

	"github.com/meterseal/meterseal/portal"
)

// mailTime bounds one attempt.
const mailTime = 30 * time.Second

// SMTP says where mails are handed in.
type SMTP struct {
	// Host is "host:port"; empty: nowhere. Port 465 speaks TLS from the start; on
	// others STARTTLS is used where the server offers it, and it has to offer it
	// unless it is on loopback.
	Host string
	// From is the sender, "Name <address>" or an address.
	From string
	// User and Password sign in; empty: nobody does.
	User, Password string
	// TLS has what the server is verified with; nil: the roots of the system.
	TLS *tls.Config
}

// Check returns what is wrong with the settings.
func (s SMTP) Check() error {
	if s.Host == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(s.Host); err != nil {
		return fmt.Errorf("smtp_host: %q is no HOST:PORT", s.Host)
	}
	if _, err := mail.ParseAddress(s.From); err != nil {
		return fmt.Errorf("smtp_from: %q is no mail address", s.From)
	}
	return nil
}

// Send hands one mail in.
func (s SMTP) Send(ctx context.Context, m portal.Mail, at time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, mailTime)
	defer cancel()
	host, port, err := net.SplitHostPort(s.Host)
	if err != nil {
		return err
	}
	config := &tls.Config{}
	if s.TLS != nil {
		config = s.TLS.Clone()
	}
	config.ServerName, config.MinVersion = host, tls.VersionTLS12
	var conn net.Conn
	if port == "465" {
		conn, err = (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", s.Host)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", s.Host)
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return err
		}
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := s.secure(c, conn, config, host); err != nil {
		return err
	}
	from, err := mail.ParseAddress(s.From)
	if err != nil {
		return err
	}
	text, err := s.message(from, m, at)
	if err != nil {
		return err
	}
	if err := c.Mail(from.Address); err != nil {
		return err
	}
	if err := c.Rcpt(m.Address); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// secure begins TLS and signs in.
func (s SMTP) secure(c *smtp.Client, conn net.Conn, config *tls.Config, host string) error {
	_, isTLS := conn.(*tls.Conn)
	if ok, _ := c.Extension("STARTTLS"); ok && !isTLS {
		if err := c.StartTLS(config); err != nil {
			return err
		}
		isTLS = true
	}
	remote, _ := conn.RemoteAddr().(*net.TCPAddr)
	if !isTLS && (remote == nil || !remote.IP.IsLoopback()) {
		return errors.New("the mail server offers no TLS: mails and passwords are not sent in the clear")
	}
	if s.User == "" {
		return nil
	}
	return c.Auth(smtp.PlainAuth("", s.User, s.Password, host))
}

// message writes a mail as RFC 5322 asks for it. No header takes a line break:
// what people typed cannot add one.
func (s SMTP) message(from *mail.Address, m portal.Mail, at time.Time) ([]byte, error) {
	if _, err := mail.ParseAddress(m.Address); err != nil || strings.ContainsAny(m.Subject, "\r\n") {
		return nil, fmt.Errorf("mail to %q: no address, or a subject with a line break", m.Address)
	}
	domain := from.Address[strings.LastIndexByte(from.Address, '@')+1:]
	var b bytes.Buffer
	for _, h := range [][2]string{
		{"From", from.String()}, {"To", "<" + m.Address + ">"}, {"Subject", mime.QEncoding.Encode("utf-8", m.Subject)},
		{"Date", at.Format(time.RFC1123Z)}, {"Message-ID", "<" + m.ID + "@" + domain + ">"}, {"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "quoted-printable"},
	} {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	if _, err := w.Write([]byte(strings.ReplaceAll(m.Body, "\n", "\r\n"))); err != nil {
		return nil, err
	}
	return b.Bytes(), w.Close()
}
