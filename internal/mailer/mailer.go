// Package mailer hands mails to a relay, over TLS unless it is told otherwise.
//
// It knows no queue: who sends tries again. A relay that took a mail and died
// before it said so gets it twice, with the same Message-ID.
package mailer

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"strings"
	"time"
)

// sendTime bounds one attempt.
const sendTime = 30 * time.Second

// A Relay says where mails are handed in.
type Relay struct {
	// Host is "host:port". Port 465 speaks TLS from the start; on others STARTTLS is
	// used where the server offers it, and it has to offer it unless it is on
	// loopback or Insecure is set.
	Host string
	// From is the sender, "Name <address>" or an address.
	From string
	// User and Password sign in; empty: nobody does. They go over TLS alone.
	User, Password string
	// TLS has what the server is verified with; nil: the roots of the system.
	TLS *tls.Config
	// Insecure hands mails, but no password, to a server without TLS.
	Insecure bool
}

// A Message is one mail.
type Message struct {
	ID      string // before the @ of its Message-ID
	To      []string
	Subject string
	Body    string
	// Attachment is a file; Open is asked at each attempt. Without a Name there is none.
	Attachment Attachment
}

// An Attachment is a file that goes with a mail.
type Attachment struct {
	Name string
	Open func() (io.ReadCloser, error)
}

// Check returns what is wrong with the settings.
func (r Relay) Check() error {
	if _, _, err := net.SplitHostPort(r.Host); err != nil {
		return fmt.Errorf("%q is no HOST:PORT", r.Host)
	}
	if _, err := mail.ParseAddress(r.From); err != nil {
		return fmt.Errorf("%q is no mail address", r.From)
	}
	return nil
}

// CheckAddress returns what is wrong with the address of a recipient.
func CheckAddress(address string) error {
	if a, err := mail.ParseAddress(address); err != nil || a.Address != address {
		return fmt.Errorf("%q is no mail address", address)
	}
	return nil
}

// Send hands one mail in.
func (r Relay) Send(ctx context.Context, m Message, at time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	from, err := mail.ParseAddress(r.From)
	if err != nil {
		return err
	}
	head, err := m.head(from, at)
	if err != nil {
		return err
	}
	c, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Mail(from.Address); err != nil {
		return err
	}
	for _, to := range m.To {
		if err := c.Rcpt(to); err != nil {
			return fmt.Errorf("%s: %w", to, err)
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	if err := m.write(w); err != nil {
		return err // without the end of the mail, which the server then drops
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// connect begins a session: TLS, and the sender's name if he has one.
func (r Relay) connect(ctx context.Context) (*smtp.Client, error) {
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{}
	if r.TLS != nil {
		config = r.TLS.Clone()
	}
	config.ServerName, config.MinVersion = host, tls.VersionTLS12
	var conn net.Conn
	if port == "465" {
		conn, err = (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", r.Host)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", r.Host)
	}
	if err != nil {
		return nil, err
	}
	if end, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(end) // a connection that cannot take one fails by itself
	}
	c, err := smtp.NewClient(conn, host)
	if err == nil {
		err = r.secure(c, conn, config, host)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// secure begins TLS and signs in.
func (r Relay) secure(c *smtp.Client, conn net.Conn, config *tls.Config, host string) error {
	_, isTLS := conn.(*tls.Conn)
	if ok, _ := c.Extension("STARTTLS"); ok && !isTLS {
		if err := c.StartTLS(config); err != nil {
			return err
		}
		isTLS = true
	}
	remote, _ := conn.RemoteAddr().(*net.TCPAddr)
	if local := remote != nil && remote.IP.IsLoopback(); !isTLS && !local && !r.Insecure {
		return errors.New("the mail server offers no TLS: mails and passwords are not sent in the clear")
	}
	if r.User == "" {
		return nil
	}
	return c.Auth(smtp.PlainAuth("", r.User, r.Password, host)) // refuses without TLS, but for loopback
}

// boundary stands between the parts of a mail with an attachment; neither part
// can have a line that begins with it.
const boundary = "meterseal=_part"

// head writes the headers as RFC 5322 asks for them. None takes a line break: what
// people typed cannot add one.
func (m Message) head(from *mail.Address, at time.Time) ([]byte, error) {
	to := make([]string, len(m.To))
	for i, address := range m.To {
		if _, err := mail.ParseAddress(address); err != nil {
			return nil, fmt.Errorf("mail to %q: no address", address)
		}
		to[i] = "<" + address + ">"
	}
	if len(to) == 0 || strings.ContainsAny(m.Subject+m.Attachment.Name, "\r\n") {
		return nil, fmt.Errorf("mail to %q: no address, or a subject with a line break", m.To)
	}
	domain := from.Address[strings.LastIndexByte(from.Address, '@')+1:]
	headers := [][2]string{
		{"From", from.String()}, {"To", strings.Join(to, ", ")}, {"Subject", mime.QEncoding.Encode("utf-8", m.Subject)},
		{"Date", at.Format(time.RFC1123Z)}, {"Message-ID", "<" + m.ID + "@" + domain + ">"}, {"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
	}
	if m.Attachment.Name != "" {
		headers = append(headers, [2]string{"Content-Type", mime.FormatMediaType("multipart/mixed", map[string]string{"boundary": boundary})})
	} else {
		headers = append(headers, textPart...)
	}
	return headerBytes(headers), nil
}

var textPart = [][2]string{{"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "quoted-printable"}}

func headerBytes(headers [][2]string) []byte {
	var b bytes.Buffer
	for _, h := range headers {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// write writes the body, and the attachment as it is read.
func (m Message) write(w io.Writer) error {
	if m.Attachment.Name == "" {
		return m.text(w)
	}
	file, err := m.Attachment.Open()
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := fmt.Fprintf(w, "--%s\r\n%s", boundary, headerBytes(textPart)); err != nil {
		return err
	}
	if err := m.text(w); err != nil {
		return err
	}
	part := headerBytes([][2]string{{"Content-Type", "application/octet-stream"}, {"Content-Transfer-Encoding", "base64"},
		{"Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": m.Attachment.Name})}})
	if _, err := fmt.Fprintf(w, "\r\n--%s\r\n%s", boundary, part); err != nil {
		return err
	}
	encoder := base64.NewEncoder(base64.StdEncoding, &lines{w: w})
	if _, err := io.Copy(encoder, file); err != nil {
		return err
	}
	if err := encoder.Close(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\r\n--%s--\r\n", boundary)
	return err
}

func (m Message) text(w io.Writer) error {
	q := quotedprintable.NewWriter(w)
	if _, err := q.Write([]byte(strings.ReplaceAll(m.Body, "\n", "\r\n"))); err != nil {
		return err
	}
	return q.Close()
}

// lines breaks base64 into lines of 76 characters.
type lines struct {
	w   io.Writer
	col int
}

func (l *lines) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		if l.col == 76 {
			if _, err := io.WriteString(l.w, "\r\n"); err != nil {
				return n, err
			}
			l.col = 0
		}
		k := min(len(b), 76-l.col)
		if _, err := l.w.Write(b[:k]); err != nil {
			return n, err
		}
		b, n, l.col = b[k:], n+k, l.col+k
	}
	return n, nil
}
