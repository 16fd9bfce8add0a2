package portal

import (
	"context"
	"strings"
	"time"

	"github.com/meterseal/meterseal/internal/credential"
)

// TOTP returns the secret of a user's one-time codes, empty if he has none, and the
// newest step that was used.
func (p *Portal) TOTP(ctx context.Context, user string) (secret string, used int64, err error) {
	_, err = p.store.reader().get(ctx, "SELECT totp, totp_step FROM users WHERE id = ?", []any{user}, &secret, &used)
	return secret, used, err
}

// SetTOTP keeps the secret of one-time codes, step that was used to prove it, and the
// hashes of recovery codes. The empty secret takes one-time codes away.
func (p *Portal) SetTOTP(ctx context.Context, user, secret string, step int64, recovery []string, actor string) error {
	action := "user.set-totp"
	if secret == "" {
		action = "user.remove-totp"
	}
	return p.changeUser(ctx, user, action, actor, func(c conn, u *User) error {
		if _, err := c.exec(ctx, "UPDATE users SET totp = ?, totp_step = ? WHERE id = ?", secret, step, u.ID); err != nil {
			return err
		}
		return c.setRecovery(ctx, u.ID, recovery)
	})
}

// SetRecovery replaces the recovery codes of a user.
func (p *Portal) SetRecovery(ctx context.Context, user string, hashes []string, actor string) error {
	return p.changeUser(ctx, user, "user.set-recovery-codes", actor, func(c conn, u *User) error { return c.setRecovery(ctx, u.ID, hashes) })
}

func (c conn) setRecovery(ctx context.Context, user string, hashes []string) error {
	if _, err := c.exec(ctx, "DELETE FROM recovery_codes WHERE user_id = ?", user); err != nil {
		return err
	}
	for _, h := range hashes {
		if _, err := c.exec(ctx, "INSERT INTO recovery_codes (user_id, hash) VALUES (?, ?)", user, h); err != nil {
			return err
		}
	}
	return nil
}

// UseTOTP notes that the code of a step was used; false if it was before.
func (p *Portal) UseTOTP(ctx context.Context, user string, step int64) (ok bool, err error) {
	err = p.store.tx(ctx, func(c conn) error {
		n, err := c.exec(ctx, "UPDATE users SET totp_step = ? WHERE id = ? AND totp_step < ?", step, user, step)
		ok = n == 1
		return err
	})
	return ok, err
}

// UseRecovery ends the recovery code of a hash; false if the user has none such.
func (p *Portal) UseRecovery(ctx context.Context, user, hash string) (ok bool, err error) {
	err = p.store.tx(ctx, func(c conn) error {
		n, err := c.exec(ctx, "DELETE FROM recovery_codes WHERE user_id = ? AND hash = ?", user, hash)
		if ok = n == 1; err != nil || !ok {
			return err
		}
		u, err := c.user(ctx, user)
		if err != nil {
			return err
		}
		return c.audit(ctx, p.now(), u.Email, "user.use-recovery-code", u.Email, nil, nil)
	})
	return ok, err
}

// RecoveryLeft counts the recovery codes that a user has not used.
func (p *Portal) RecoveryLeft(ctx context.Context, user string) (n int64, err error) {
	_, err = p.store.reader().get(ctx, "SELECT COUNT(*) FROM recovery_codes WHERE user_id = ?", []any{user}, &n)
	return n, err
}

// KeepCeremony remembers what a user's authenticator has to answer: one of a kind.
func (p *Portal) KeepCeremony(ctx context.Context, user, kind, data string, ends time.Time) error {
	return p.store.tx(ctx, func(c conn) error {
		hash := credential.HashSecret(kind + " " + user)
		if _, err := c.exec(ctx, "DELETE FROM sessions WHERE hash = ?", hash); err != nil {
			return err
		}
		now := p.now().Unix()
		_, err := c.exec(ctx, "INSERT INTO sessions (hash, id, user_id, state, data, created, seen, ends, address, agent) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', '')",
			hash, newID("s-"), user, kind, data, now, now, ends.Unix())
		return err
	})
}

// TakeCeremony returns what KeepCeremony remembers, once.
func (p *Portal) TakeCeremony(ctx context.Context, user, kind string) (data string, found bool, err error) {
	s, found, err := p.TakeSession(ctx, kind+" "+user)
	return s.Data, found && s.State == kind, err
}

// A Passkey is a WebAuthn credential of a user.
type Passkey struct {
	ID      string    `json:"id"` // base64 of the credential's id
	UserID  string    `json:"user"`
	Name    string    `json:"name"`
	Body    string    `json:"-"` // JSON of package gate
	Created time.Time `json:"created"`
	Used    time.Time `json:"used,omitzero"`
}

// passkeysMax bounds how many a user has.
const passkeysMax = 20

// AddPasskey keeps a passkey.
func (p *Portal) AddPasskey(ctx context.Context, k Passkey, actor string) error {
	if k.Name = strings.TrimSpace(clean(k.Name)); k.Name == "" {
		k.Name = "passkey"
	}
	return p.changeUser(ctx, k.UserID, "passkey.add", actor, func(c conn, u *User) error {
		if u.Passkeys >= passkeysMax {
			return refuse(CodeState, "there are %d passkeys already", u.Passkeys)
		}
		n, err := c.exec(ctx, "INSERT INTO passkeys (id, user_id, name, body, created, used) VALUES (?, ?, ?, ?, ?, 0) ON CONFLICT (id) DO NOTHING",
			k.ID, u.ID, k.Name, k.Body, p.now().Unix())
		if err == nil && n == 0 {
			err = refuse(CodeExists, "this passkey is known already")
		}
		return err
	})
}

// Passkeys lists those of a user, the oldest first.
func (p *Portal) Passkeys(ctx context.Context, user string) ([]Passkey, error) {
	return list(ctx, p.store.reader(), func(scan func(...any) error) (k Passkey, err error) {
		var created, used int64
		err = scan(&k.ID, &k.UserID, &k.Name, &k.Body, &created, &used)
		k.Created, k.Used = unix(created), unix(used)
		return k, err
	}, "SELECT id, user_id, name, body, created, used FROM passkeys WHERE user_id = ? ORDER BY created, id", user)
}

// UsePasskey keeps what changed in a passkey when it was used: its counter.
func (p *Portal) UsePasskey(ctx context.Context, id, body string) error {
	return p.store.tx(ctx, func(c conn) error {
		_, err := c.exec(ctx, "UPDATE passkeys SET body = ?, used = ? WHERE id = ?", body, p.now().Unix(), id)
		return err
	})
}

// RemovePasskey ends a passkey of a user.
func (p *Portal) RemovePasskey(ctx context.Context, user, id, actor string) error {
	return p.changeUser(ctx, user, "passkey.remove", actor, func(c conn, u *User) error {
		n, err := c.exec(ctx, "DELETE FROM passkeys WHERE id = ? AND user_id = ?", id, u.ID)
		if err == nil && n == 0 {
			err = refuse(CodeNotFound, "there is no passkey %q", id)
		}
		return err
	})
}
