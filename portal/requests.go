package portal

import (
	"context"
	"encoding/json"
	"time"
)

// requestLife is how long the second person has.
const requestLife = 24 * time.Hour

// A KeyChange is what may be asked of the vendor's keys: see [Portal.AddKey],
// [Portal.PromoteKey] and [Portal.RevokeKey].
type KeyChange struct {
	Action string `json:"action"` // announce, rotate, revoke
	Role   string `json:"role,omitempty"`
	Label  string `json:"label,omitempty"` // of announce
	Force  bool   `json:"force,omitempty"` // of rotate
	Key    string `json:"key,omitempty"`   // of revoke: name or vkey
}

// A Request is a change that one administrator has asked for, and another has to.
type Request struct {
	ID      string    `json:"id"`
	Change  KeyChange `json:"change"`
	By      string    `json:"by"` // address
	Asked   time.Time `json:"asked"`
	Expires time.Time `json:"expires"` // the last second at which it may be confirmed
}

// ChangeKey does what two administrators have asked for: by is the address of the
// one who asks now, actor how the audit log names him. The first is refused with
// second_person_needed, and his request is written down; when another one asks for
// the very same within a day, it is done, and the log names both.
//
// Where there is one administrator only, he decides alone. Who has the vendor's
// folder and its passphrase needs nobody: the commands of the program do not ask.
func (p *Portal) ChangeKey(ctx context.Context, change KeyChange, by, actor string) (Key, error) {
	if err := p.checkKeyChange(change); err != nil {
		return Key{}, err
	}
	admins, err := p.Administrators(ctx)
	if err != nil {
		return Key{}, err
	}
	if admins < 2 {
		return p.doKeyChange(ctx, change, actor)
	}
	first, err := p.confirmRequest(ctx, change, by, actor)
	if err != nil {
		return Key{}, err
	}
	k, err := p.doKeyChange(ctx, change, first.By+" and "+actor)
	if err != nil {
		// It was not done, so it stays asked for.
		if back := p.reopenRequest(ctx, first.ID); back != nil {
			p.o.Log.Warn("request not opened again", "request", first.ID, "err", back)
		}
	}
	return k, err
}

// Administrators counts those who can sign in: not who is disabled, nor who was
// invited and has neither chosen a password nor come in another way.
func (p *Portal) Administrators(ctx context.Context) (n int64, err error) {
	_, err = p.store.reader().get(ctx, "SELECT COUNT(*) FROM users WHERE role = ? AND disabled = 0 AND (password <> '' OR seen > 0)", []any{string(RoleAdmin)}, &n)
	return n, err
}

func (p *Portal) checkKeyChange(c KeyChange) error {
	switch c.Action {
	case "announce", "rotate":
		if _, err := roleOf(c.Role); err != nil {
			return err
		}
	case "revoke":
		for _, k := range p.keys.List() {
			if k.VKey.Name == c.Key || k.VKey.String() == c.Key {
				return nil
			}
		}
		return refuse(CodeNotFound, "there is no key %q", c.Key).with("line", "key")
	default:
		return refuse(CodeBadRequest, "action is %q, want announce, rotate or revoke", c.Action)
	}
	if c.Action == "announce" && c.Label == "" {
		return refuse(CodeBadRequest, "the key has no label").with("line", "label")
	}
	return nil
}

func (p *Portal) doKeyChange(ctx context.Context, c KeyChange, actor string) (Key, error) {
	switch c.Action {
	case "announce":
		return p.AddKey(ctx, c.Role, c.Label, actor)
	case "rotate":
		return p.PromoteKey(ctx, c.Role, c.Force, actor)
	}
	return p.RevokeKey(ctx, c.Key, actor)
}

// confirmRequest closes the request of another administrator for the same change,
// and returns it; without one it writes a request down and refuses.
func (p *Portal) confirmRequest(ctx context.Context, change KeyChange, by, actor string) (first Request, err error) {
	var refusal *Error
	err = p.store.tx(ctx, func(c conn) error {
		open, err := c.requests(ctx, p.now())
		if err != nil {
			return err
		}
		for _, r := range open {
			if r.Change != change {
				continue
			}
			if r.By == by {
				refusal = secondPerson(r)
				return nil
			}
			n, err := c.exec(ctx, "UPDATE requests SET state = 'done', closed_by = ?, closed = ? WHERE id = ? AND state = 'open'", by, p.now().Unix(), r.ID)
			if err == nil && n == 0 {
				err = refuse(CodeState, "the request was closed meanwhile")
			}
			first = r
			return err
		}
		r := Request{ID: newID("q-"), Change: change, By: by, Asked: p.now(), Expires: p.now().Add(requestLife)}
		if _, err := c.exec(ctx, "INSERT INTO requests (id, action, body, asked_by, asked, expires, state, closed_by, closed) VALUES (?, ?, ?, ?, ?, ?, 'open', '', 0)",
			r.ID, change.Action, toJSON(change), by, r.Asked.Unix(), r.Expires.Unix()); err != nil {
			return err
		}
		refusal = secondPerson(r)
		return c.audit(ctx, p.now(), actor, "key.request", r.ID, nil, change)
	})
	if err == nil && refusal != nil {
		err = refusal
	}
	return first, err
}

func secondPerson(r Request) *Error {
	return refuse(CodeSecondPerson, "%s asked for it; another administrator has to ask for the same until %s", r.By, r.Expires.Format(time.RFC3339)).with("request", r.ID)
}

func (p *Portal) reopenRequest(ctx context.Context, id string) error {
	return p.store.tx(ctx, func(c conn) error {
		_, err := c.exec(ctx, "UPDATE requests SET state = 'open', closed_by = '', closed = 0 WHERE id = ?", id)
		return err
	})
}

// WithdrawRequest takes a request back.
func (p *Portal) WithdrawRequest(ctx context.Context, id, by, actor string) error {
	return p.store.tx(ctx, func(c conn) error {
		n, err := c.exec(ctx, "UPDATE requests SET state = 'withdrawn', closed_by = ?, closed = ? WHERE id = ? AND state = 'open'", by, p.now().Unix(), id)
		if err == nil && n == 0 {
			err = refuse(CodeNotFound, "there is no open request %q", id)
		}
		if err != nil {
			return err
		}
		return c.audit(ctx, p.now(), actor, "key.withdraw", id, nil, nil)
	})
}

// Requests lists those that may still be confirmed, the oldest first.
func (p *Portal) Requests(ctx context.Context) ([]Request, error) {
	return p.store.reader().requests(ctx, p.now())
}

func (c conn) requests(ctx context.Context, now time.Time) ([]Request, error) {
	return list(ctx, c, func(scan func(...any) error) (r Request, err error) {
		var body string
		var asked, expires int64
		if err = scan(&r.ID, &body, &r.By, &asked, &expires); err == nil {
			err = json.Unmarshal([]byte(body), &r.Change)
		}
		r.Asked, r.Expires = unix(asked), unix(expires)
		return r, err
	}, "SELECT id, body, asked_by, asked, expires FROM requests WHERE state = 'open' AND expires >= ? ORDER BY id", now.Unix())
}
