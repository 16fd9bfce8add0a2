package portal

import (
	"context"
	"time"

	"github.com/meterseal/meterseal/internal/credential"
)

// Codes of who is not let in.
const (
	CodeNotSignedIn = "auth/not_signed_in"
	CodeSignIn      = "auth/sign_in_failed"
	CodeTooMany     = "auth/too_many_attempts"
	CodeLink        = "auth/link_invalid"
	CodeCrossOrigin = "auth/cross_origin"
	CodeHost        = "auth/wrong_host"
)

// A Session is a browser in which somebody has signed in, or begun to.
type Session struct {
	ID      string    `json:"id"`
	UserID  string    `json:"user"` // empty: nobody yet
	State   string    `json:"-"`    // SessionOpen, or a step of signing in
	Data    string    `json:"-"`    // what that step remembers
	Created time.Time `json:"created"`
	Seen    time.Time `json:"seen"`
	Ends    time.Time `json:"ends"`
	Address string    `json:"address"`
	Agent   string    `json:"agent"`
}

// SessionOpen is the state of a session whose user has signed in.
const SessionOpen = "open"

// StartSession keeps a session and returns its secret, which is kept nowhere. replaces
// is the secret of a session that ends with it; empty: none. A session that is open
// is a sign-in: it is noted in the audit log.
func (p *Portal) StartSession(ctx context.Context, s Session, replaces string) (secret string, err error) {
	secret, hash := credential.NewSecret("")
	now := p.now()
	s.Agent = clean(s.Agent)
	err = p.store.tx(ctx, func(c conn) error {
		if replaces != "" {
			if _, err := c.exec(ctx, "DELETE FROM sessions WHERE hash = ?", credential.HashSecret(replaces)); err != nil {
				return err
			}
		}
		_, err := c.exec(ctx, "INSERT INTO sessions (hash, id, user_id, state, data, created, seen, ends, address, agent) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			hash, newID("s-"), s.UserID, s.State, s.Data, now.Unix(), now.Unix(), s.Ends.Unix(), s.Address, s.Agent)
		if err != nil || s.State != SessionOpen {
			return err
		}
		if _, err := c.exec(ctx, "UPDATE users SET seen = ? WHERE id = ?", now.Unix(), s.UserID); err != nil {
			return err
		}
		if _, err := c.exec(ctx, "DELETE FROM sessions WHERE ends < ?", now.Unix()); err != nil { // of anybody: nothing else does
			return err
		}
		u, err := c.user(ctx, s.UserID)
		if err != nil {
			return err
		}
		return c.audit(ctx, now, u.Email, "session.start", u.Email, nil, map[string]string{"address": s.Address, "agent": s.Agent})
	})
	return secret, err
}

const sessionColumns = "id, user_id, state, data, created, seen, ends, address, agent"

func scanSession(scan func(...any) error) (s Session, err error) {
	var created, seen, ends int64
	err = scan(&s.ID, &s.UserID, &s.State, &s.Data, &created, &seen, &ends, &s.Address, &s.Agent)
	s.Created, s.Seen, s.Ends = unix(created), unix(seen), unix(ends)
	return s, err
}

// seenEvery is how exactly the use of a session or token is noted: not each request
// writes.
const seenEvery = time.Minute

// Session returns the session of a secret and notes that it is used; found is false
// where there is none, or it was not used for longer than idle, or it has ended.
func (p *Portal) Session(ctx context.Context, secret string, idle time.Duration) (s Session, found bool, err error) {
	hash, now := credential.HashSecret(secret), p.now()
	all, err := list(ctx, p.store.reader(), scanSession, "SELECT "+sessionColumns+" FROM sessions WHERE hash = ?", hash)
	if err != nil || len(all) == 0 {
		return s, false, err
	}
	s = all[0]
	if !now.Before(s.Ends) || now.Sub(s.Seen) > idle {
		return s, false, p.EndSession(ctx, secret)
	}
	if now.Sub(s.Seen) >= seenEvery {
		err = p.store.tx(ctx, func(c conn) error {
			_, err := c.exec(ctx, "UPDATE sessions SET seen = ? WHERE hash = ?", now.Unix(), hash)
			return err
		})
	}
	return s, err == nil, err
}

// EndSession ends the session of a secret.
func (p *Portal) EndSession(ctx context.Context, secret string) error {
	return p.store.tx(ctx, func(c conn) error {
		_, err := c.exec(ctx, "DELETE FROM sessions WHERE hash = ?", credential.HashSecret(secret))
		return err
	})
}

// TakeSession ends a session in a step of signing in and returns it: of several
// requests that come at once one gets it.
func (p *Portal) TakeSession(ctx context.Context, secret string) (s Session, found bool, err error) {
	err = p.store.tx(ctx, func(c conn) error {
		hash := credential.HashSecret(secret)
		all, err := list(ctx, c, scanSession, "SELECT "+sessionColumns+" FROM sessions WHERE hash = ? AND state <> ? AND ends > ?", hash, SessionOpen, p.now().Unix())
		if err != nil || len(all) == 0 {
			return err
		}
		n, err := c.exec(ctx, "DELETE FROM sessions WHERE hash = ?", hash)
		s, found = all[0], n == 1
		return err
	})
	return s, found, err
}

// Sessions lists the open sessions of a user, the newest first.
func (p *Portal) Sessions(ctx context.Context, user string) ([]Session, error) {
	return list(ctx, p.store.reader(), scanSession, "SELECT "+sessionColumns+" FROM sessions WHERE user_id = ? AND state = ? AND ends > ? ORDER BY created DESC, id DESC",
		user, SessionOpen, p.now().Unix())
}

// EndUserSessions ends the sessions of a user; session names one, empty means all but
// the session keep.
func (p *Portal) EndUserSessions(ctx context.Context, user, session, keep, actor string) error {
	return p.changeUser(ctx, user, "session.end", actor, func(c conn, u *User) error {
		if session == "" {
			return c.endSessions(ctx, u.ID, keep)
		}
		n, err := c.exec(ctx, "DELETE FROM sessions WHERE user_id = ? AND id = ?", u.ID, session)
		if err == nil && n == 0 {
			err = refuse(CodeNotFound, "there is no session %q", session)
		}
		return err
	})
}

func (c conn) endSessions(ctx context.Context, user, keep string) error {
	_, err := c.exec(ctx, "DELETE FROM sessions WHERE user_id = ? AND id <> ?", user, keep)
	return err
}

// PasswordHash returns who has an address and the hash of his password: the zero user
// and "" if there is nobody, or he is disabled.
func (p *Portal) PasswordHash(ctx context.Context, email string) (u User, phc string, err error) {
	c := p.store.reader()
	if u, err = c.user(ctx, email); missing(err) || err == nil && !u.Disabled.IsZero() {
		return User{}, "", nil
	} else if err != nil {
		return u, "", err
	}
	_, err = c.get(ctx, "SELECT password FROM users WHERE id = ?", []any{u.ID}, &phc)
	return u, phc, err
}

// SetPassword keeps the hash of a new password, and ends the user's sessions but the
// session keep.
func (p *Portal) SetPassword(ctx context.Context, user, phc, keep, actor string) error {
	return p.changeUser(ctx, user, "user.set-password", actor, func(c conn, u *User) error {
		return c.setPassword(ctx, u.ID, phc, keep)
	})
}

func (c conn) setPassword(ctx context.Context, user, phc, keep string) error {
	if _, err := c.exec(ctx, "UPDATE users SET password = ? WHERE id = ?", phc, user); err != nil {
		return err
	}
	if _, err := c.exec(ctx, "DELETE FROM user_links WHERE user_id = ?", user); err != nil {
		return err
	}
	return c.endSessions(ctx, user, keep)
}

// LinkUser returns whose one-time link this is; auth/link_invalid if it is nobody's,
// was used, or is too old.
func (p *Portal) LinkUser(ctx context.Context, link string) (User, error) {
	return p.store.reader().linkUser(ctx, link, p.now())
}

func (c conn) linkUser(ctx context.Context, link string, now time.Time) (User, error) {
	var id string
	found, err := c.get(ctx, "SELECT user_id FROM user_links WHERE hash = ? AND expires > ?", []any{credential.HashSecret(link), now.Unix()}, &id)
	if err != nil {
		return User{}, err
	}
	if found {
		u, err := c.user(ctx, id)
		if err != nil || u.Disabled.IsZero() {
			return u, err
		}
	}
	return User{}, refuse(CodeLink, "this link was used, is too old, or was replaced by another")
}

// UseLink keeps the hash of the password that somebody chose by his one-time link,
// which it ends.
func (p *Portal) UseLink(ctx context.Context, link, phc string) (u User, err error) {
	err = p.store.tx(ctx, func(c conn) error {
		if u, err = c.linkUser(ctx, link, p.now()); err != nil {
			return err
		}
		n, err := c.exec(ctx, "DELETE FROM user_links WHERE hash = ?", credential.HashSecret(link))
		if err == nil && n == 0 {
			err = refuse(CodeLink, "this link was used, is too old, or was replaced by another")
		}
		if err != nil {
			return err
		}
		if err := c.setPassword(ctx, u.ID, phc, ""); err != nil {
			return err
		}
		return c.audit(ctx, p.now(), u.Email, "user.use-link", u.Email, nil, nil)
	})
	return u, err
}
