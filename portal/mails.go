package portal

import (
	"context"
	"slices"
	"time"
)

// States of a mail.
const (
	MailPending = "pending"
	MailSent    = "sent"
	MailFailed  = "failed"
)

// mailWaits are the waits between attempts to send a mail.
var mailWaits = []time.Duration{time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}

// A Mail waits to be sent, or was. Without an SMTP server it waits for ever.
type Mail struct {
	ID       string    `json:"id"`
	Address  string    `json:"address"`
	Subject  string    `json:"subject"`
	Body     string    `json:"body"`
	State    string    `json:"state"`
	Attempts int64     `json:"attempts"`
	Error    string    `json:"error,omitempty"`
	Created  time.Time `json:"created"`
}

func (c conn) addMail(ctx context.Context, at time.Time, address, subject, body string) error {
	_, err := c.exec(ctx, "INSERT INTO mails (id, address, subject, body, state, attempts, due, claimed, error, created) VALUES (?, ?, ?, ?, ?, 0, ?, 0, '', ?)",
		newID("m-"), address, subject, body, MailPending, at.Unix(), at.Unix())
	return err
}

// Mails lists mails, the newest first. States: pending, sent, failed.
// Search looks at addresses and subjects.
func (p *Portal) Mails(ctx context.Context, o ListOptions) (Page[Mail], error) {
	if states := []string{MailPending, MailSent, MailFailed}; o.State != "" && !slices.Contains(states, o.State) {
		return Page[Mail]{}, noState(o.State, states...)
	}
	q := query{columns: mailColumns, from: "mails", order: []string{"id"}, desc: true}
	q.is("state", o.State)
	q.search(o.Search, "address", "subject")
	return page(ctx, p.store.reader(), q, o, func(scan func(...any) error) (Mail, []any, error) {
		m, err := scanMail(scan)
		return m, []any{m.ID}, err
	})
}

const mailColumns = "id, address, subject, body, state, attempts, error, created"

func scanMail(scan func(...any) error) (m Mail, err error) {
	var created int64
	err = scan(&m.ID, &m.Address, &m.Subject, &m.Body, &m.State, &m.Attempts, &m.Error, &created)
	m.Created = unix(created)
	return m, err
}

// ClaimMails returns mails that are due, which are the caller's for a minute.
func (p *Portal) ClaimMails(ctx context.Context, most int) ([]Mail, error) {
	now := p.now().Unix()
	due, err := list(ctx, p.store.reader(), scanMail, "SELECT "+mailColumns+" FROM mails WHERE state = 'pending' AND due <= ? AND claimed < ? ORDER BY due, id LIMIT ?", now, now, most)
	if err != nil {
		return nil, err
	}
	return claim(ctx, p, "mails", due, func(m Mail) string { return m.ID })
}

// Mailed writes down what became of an attempt to send a mail; failed is nil if
// the server took it.
func (p *Portal) Mailed(ctx context.Context, m Mail, failed error) error {
	now := p.now()
	return p.store.tx(ctx, func(c conn) error {
		state, due, text := MailSent, now, ""
		if failed != nil {
			text = clean(failed.Error())
			if state = MailFailed; int(m.Attempts) < len(mailWaits) {
				state, due = MailPending, now.Add(mailWaits[m.Attempts])
			}
		}
		_, err := c.exec(ctx, "UPDATE mails SET state = ?, attempts = attempts + 1, due = ?, claimed = 0, error = ? WHERE id = ?", state, due.Unix(), text, m.ID)
		return err
	})
}
