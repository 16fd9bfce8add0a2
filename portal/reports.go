package portal

import (
	"context"
	"encoding/json"
	"os"
	"time"
)

// Report returns the answer that an upload was given, with its reply as it is
// now: what waited for approval has its license then. not_found if there is none.
func (p *Portal) Report(ctx context.Context, id string) (*Answer, error) {
	c := p.store.reader()
	var text, reply, origin, actor string
	found, err := c.get(ctx, "SELECT answer, reply, origin, actor FROM uploads WHERE id = ? AND code <> 'refresh'", []any{id}, &text, &reply, &origin, &actor)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, refuse(CodeNotFound, "there is no report %q", id)
	}
	a, err := answerOf(text)
	if err != nil {
		return nil, err
	}
	if a.Actor = actor; a.Refusal != nil || a.Origin == "" {
		return a.withReply(reply), err
	}
	l, err := c.ledger(ctx, origin)
	if err != nil || l == nil {
		return a.withReply(reply), err
	}
	if l.Approval == ApprovalRefused {
		a.LicenseStatus = LicenseRefused
	}
	return a.withReply(reply), nil
}

func (a *Answer) withReply(reply string) *Answer {
	if a != nil && reply != "" {
		a.Reply = []byte(reply)
	}
	return a
}

// ReportsOfFile lists the uploads of a file, by its SHA-256 in hex, newest first:
// whose answer was lost on the way, finds it so.
func (p *Portal) ReportsOfFile(ctx context.Context, sha string) ([]ReportLine, error) {
	return list(ctx, p.store.reader(), func(scan func(...any) error) (l ReportLine, err error) {
		var text string
		if err = scan(&text, &l.Actor); err != nil {
			return l, err
		}
		a, err := answerOf(text)
		if err != nil {
			return l, err
		}
		return ReportLine{ID: a.ReportID, Received: a.Received, Origin: a.Origin, Label: a.Label, License: a.License, Code: a.Code, Bytes: a.FileBytes,
			Base: a.Base, Size: a.Size, Actor: l.Actor}, nil
	}, "SELECT answer, actor FROM uploads WHERE file = ? AND file <> '' AND code <> 'refresh' ORDER BY id DESC LIMIT 100", sha)
}

// ReportFilter says which reports to list; the zero value all, newest first.
type ReportFilter struct {
	Origin, License string
	Refused         bool // refused ones only
	Limit           int  // 0: 1000
}

// Reports lists the answers that uploads were given, without replies.
func (p *Portal) Reports(ctx context.Context, f ReportFilter) ([]*Answer, error) {
	if f.Limit <= 0 {
		f.Limit = 1000
	}
	return list(ctx, p.store.reader(), func(scan func(...any) error) (*Answer, error) {
		var text string
		if err := scan(&text); err != nil {
			return nil, err
		}
		return answerOf(text)
	}, `SELECT uploads.answer FROM uploads LEFT JOIN ledgers ON ledgers.origin = uploads.origin WHERE uploads.code <> 'refresh'
		AND (? = '' OR uploads.origin = ?) AND (? = '' OR ledgers.license = ?) AND (? = 0 OR uploads.code LIKE '%/%') ORDER BY uploads.id DESC LIMIT ?`,
		f.Origin, f.Origin, f.License, f.License, bit(f.Refused), f.Limit)
}

// NewestReply returns the newest reply of a ledger, however it was activated, and
// the name of its file (L-07).
func (p *Portal) NewestReply(ctx context.Context, origin string) (reply []byte, name string, err error) {
	l, err := p.Ledger(ctx, origin)
	if err != nil {
		return nil, "", err
	}
	if reply, name, err = p.store.reader().newestReply(ctx, l); err == nil && reply == nil {
		err = refuse(CodeNotFound, "ledger %s has no reply yet", l.LedgerID)
	}
	return reply, name, err
}

// ReportFile opens the file of an upload as it came. The caller closes it.
func (p *Portal) ReportFile(ctx context.Context, id string) (*os.File, error) {
	var sha string
	found, err := p.store.reader().get(ctx, "SELECT file FROM uploads WHERE id = ? AND file <> ''", []any{id}, &sha)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(p.path(uploadsFolder, sha))
	if !found || os.IsNotExist(err) {
		return nil, refuse(CodeNotFound, "the file of report %q was not kept", id)
	}
	return f, err
}

// A Receipt is an accepted checkpoint: the chain of them is what the two sides
// agree on.
type Receipt struct {
	Size     uint64    `json:"size"`
	Root     string    `json:"root"`
	Time     time.Time `json:"time"`      // of our cosignature
	ReportID string    `json:"report_id"` // that it was given for, or that reminded us of it
	// Note is the checkpoint with both signatures, Acceptance what we said of the
	// report; empty where our records were lost.
	Note       string `json:"note"`
	Acceptance string `json:"acceptance"`
}

// Receipts lists the accepted checkpoints of a ledger, ascending.
func (p *Portal) Receipts(ctx context.Context, origin string) ([]Receipt, error) {
	return list(ctx, p.store.reader(), func(scan func(...any) error) (r Receipt, err error) {
		var size, at int64
		err = scan(&size, &r.Root, &at, &r.Note, &r.Acceptance, &r.ReportID)
		r.Size, r.Time = uint64(size), unix(at)
		return r, err
	}, "SELECT size, root, time, note, acceptance, upload FROM receipts WHERE origin = ? ORDER BY size", origin)
}

// MissingRecords lists the ranges [first, next) of accepted records that are not
// booked, because the reports that brought them were lost: send those files
// again.
func (p *Portal) MissingRecords(ctx context.Context, origin string) ([][2]uint64, error) {
	l, err := p.Ledger(ctx, origin)
	if err != nil {
		return nil, err
	}
	s, err := p.store.reader().spans(ctx, origin)
	return s.outside(0, l.Size), err
}

// Alerts lists alerts, newest first; open ones only, or all.
func (p *Portal) Alerts(ctx context.Context, all bool) ([]Alert, error) {
	return list(ctx, p.store.reader(), p.scanAlert, "SELECT "+alertColumns+" FROM alerts a WHERE ? = 1 OR a.resolved = 0 ORDER BY a.id DESC", bit(all))
}

const alertColumns = "a.id, a.origin, a.license, a.upload, a.code, a.detail, a.evidence, a.opened, a.resolved, a.resolution, a.actor"

func (p *Portal) scanAlert(scan func(...any) error) (a Alert, err error) {
	var opened, resolved int64
	err = scan(&a.ID, &a.Origin, &a.License, &a.Upload, &a.Code, &a.Detail, &a.Evidence, &opened, &resolved, &a.Resolution, &a.Actor)
	if a.Opened, a.Resolved = unix(opened), unix(resolved); a.Evidence != "" {
		a.Evidence = p.path(evidenceFolder, a.Evidence)
	}
	return a, err
}

// ResolveAlert closes an alert with what was found out.
func (p *Portal) ResolveAlert(ctx context.Context, id, resolution, actor string) error {
	return p.store.tx(ctx, func(c conn) error {
		n, err := c.exec(ctx, "UPDATE alerts SET resolved = ?, resolution = ?, actor = ? WHERE id = ? AND resolved = 0", p.now().Unix(), resolution, actor, id)
		if err == nil && n == 0 {
			err = refuse(CodeNotFound, "there is no open alert %q", id)
		}
		if err != nil {
			return err
		}
		return c.audit(ctx, p.now(), actor, "alert.resolve", id, nil, resolution)
	})
}

// An Audit entry says who did what.
type Audit struct {
	Time   time.Time       `json:"time"`
	Actor  string          `json:"actor"`
	Action string          `json:"action"`
	Object string          `json:"object"`
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
}

// AuditLog lists what was done, newest first, to one object or to all.
func (p *Portal) AuditLog(ctx context.Context, object string, limit int) ([]Audit, error) {
	return list(ctx, p.store.reader(), func(scan func(...any) error) (a Audit, err error) {
		var at int64
		var before, after string
		err = scan(&at, &a.Actor, &a.Action, &a.Object, &before, &after)
		a.Time, a.Before, a.After = unix(at), json.RawMessage(before), json.RawMessage(after)
		return a, err
	}, "SELECT time, actor, action, object, before, after FROM audit WHERE ? = '' OR object = ? ORDER BY id DESC LIMIT ?", object, object, limit)
}

// Documents lists every license note that was signed for a license, oldest first.
func (p *Portal) Documents(ctx context.Context, licenseID string) ([]string, error) {
	return list(ctx, p.store.reader(), scanText, "SELECT note FROM documents WHERE license = ? ORDER BY issued, serial, digest", licenseID)
}

// A Site is an installation with one license, and its clusters.
type Site struct {
	License string `json:"license"`
	// Registration is the least that is true of all ledgers that have not ended:
	// registration_failed, not_licensed, partially_licensed, licensed,
	// deactivated (O-01). Overdue ledgers are not licensed.
	Registration string    `json:"registration"`
	Ledgers      []*Ledger `json:"ledgers"`
	Overdue      []string  `json:"overdue"` // origins whose report is overdue
}

// Sites lists every license that was ever activated, with its ledgers.
func (p *Portal) Sites(ctx context.Context) ([]Site, error) {
	c, out := p.store.reader(), []Site{}
	type row struct {
		license string
		state   State
		grace   time.Duration
	}
	licenses, err := list(ctx, c, func(scan func(...any) error) (r row, err error) {
		var state string
		var grace int64
		err = scan(&r.license, &state, &grace)
		r.state, r.grace = State(state), time.Duration(grace)*time.Second
		return r, err
	}, "SELECT id, state, grace FROM licenses WHERE EXISTS (SELECT 1 FROM ledgers WHERE ledgers.license = licenses.id) ORDER BY id")
	if err != nil {
		return nil, err
	}
	ledgers, err := c.ledgers(ctx, "")
	if err != nil {
		return nil, err
	}
	of := map[string][]*Ledger{}
	for _, l := range ledgers {
		of[l.License] = append(of[l.License], l)
	}
	for _, k := range licenses {
		out = append(out, p.site(k.license, k.state, k.grace, of[k.license]))
	}
	return out, nil
}

func (p *Portal) site(id string, state State, grace time.Duration, ledgers []*Ledger) Site {
	s := Site{License: id, Ledgers: ledgers, Overdue: []string{}, Registration: "deactivated"}
	count := map[string]int{}
	for _, l := range ledgers {
		what := l.registration()
		overdue := l.overdue(grace, p.now())
		if what == "licensed" && (overdue || state != Active) {
			what = "not_licensed"
		}
		if overdue {
			s.Overdue = append(s.Overdue, l.Origin)
		}
		count[what]++
	}
	switch {
	case count["licensed"] > 0 && count["not_licensed"]+count["registration_failed"] > 0:
		s.Registration = "partially_licensed"
	case count["licensed"] > 0:
		s.Registration = "licensed"
	case count["not_licensed"] > 0:
		s.Registration = "not_licensed"
	case count["registration_failed"] > 0:
		s.Registration = "registration_failed"
	}
	return s
}

// overdue reports whether the report of a ledger is overdue, grace included.
func (l *Ledger) overdue(grace time.Duration, now time.Time) bool {
	return l.State == LedgerActive && !l.ReportBy.IsZero() && now.After(l.ReportBy.Add(grace))
}

// A Reminder names what a site has to send by when (O-31).
type Reminder struct {
	Code     string `json:"code"` // report.due, report.overdue, license.expiring
	License  string `json:"license"`
	Customer string `json:"customer"`
	Label    string `json:"label"`
	Origin   string `json:"origin"`
	// ReportBy and End are both dates, whichever is near.
	ReportBy time.Time `json:"report_by,omitzero"`
	End      time.Time `json:"end,omitzero"`
	// File is how the name of the file to send begins.
	File string `json:"file"`
}

// Reminders lists the active ledgers whose report is due, or whose license ends,
// within a span from now, or that are overdue; the soonest first.
func (p *Portal) Reminders(ctx context.Context, within time.Duration) ([]Reminder, error) {
	return p.store.reader().due(ctx, p.now(), within, 0)
}

// Activity counts activations and deactivations in [from, to) (L-28).
func (p *Portal) Activity(ctx context.Context, from, to time.Time) (activations, deactivations int64, err error) {
	c := p.store.reader()
	if _, err = c.get(ctx, "SELECT COUNT(*) FROM ledgers WHERE activated >= ? AND activated < ?", []any{from.Unix(), to.Unix()}, &activations); err != nil {
		return 0, 0, err
	}
	_, err = c.get(ctx, "SELECT COUNT(*) FROM ledgers WHERE ended >= ? AND ended < ?", []any{from.Unix(), to.Unix()}, &deactivations)
	return activations, deactivations, err
}
