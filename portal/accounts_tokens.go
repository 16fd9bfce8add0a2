package portal

import (
	"context"
	"strings"
	"time"

	"github.com/meterseal/meterseal/internal/credential"
)

// TokenPrefix begins every API token, so that one that leaked is recognized.
const TokenPrefix = "ms_"

// A Token lets a program send requests as a user.
type Token struct {
	ID     string `json:"id"`
	UserID string `json:"user"`
	Email  string `json:"email"` // the user's
	Name   string `json:"name"`
	// Scopes are the rights it is for; empty: all that the user has.
	Scopes  []string  `json:"scopes"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	Used    time.Time `json:"used,omitzero"`    // zero: not yet
}

const tokenColumns = "tokens.id, tokens.user_id, users.email, tokens.name, tokens.scopes, tokens.created, tokens.expires, tokens.used FROM tokens JOIN users ON users.id = tokens.user_id"

func scanToken(scan func(...any) error) (t Token, err error) {
	var scopes string
	var created, expires, used int64
	err = scan(&t.ID, &t.UserID, &t.Email, &t.Name, &scopes, &created, &expires, &used)
	t.Scopes = strings.FieldsFunc(scopes, func(r rune) bool { return r == ',' })
	t.Created, t.Expires, t.Used = unix(created), unix(expires), unix(used)
	return t, err
}

// AddToken makes an API token of a user. Its secret is returned once and kept
// nowhere. Package gate checks the names of the scopes.
func (p *Portal) AddToken(ctx context.Context, t Token, actor string) (Token, string, error) {
	secret, hash := credential.NewSecret(TokenPrefix)
	now := p.now()
	t.Name = strings.TrimSpace(t.Name)
	if t.Name == "" || len(t.Name) > 200 || strings.ContainsFunc(t.Name, func(r rune) bool { return r < ' ' }) {
		return t, "", refuse(CodeBadRequest, "name of the token is %.20q, want one line that says what it is for", t.Name)
	}
	if !t.Expires.IsZero() && !t.Expires.After(now) {
		return t, "", refuse(CodeBadRequest, "the token would have ended %s", t.Expires.Format(time.RFC3339))
	}
	err := p.store.tx(ctx, func(c conn) error {
		u, err := c.user(ctx, t.UserID)
		if err != nil {
			return err
		}
		t.ID, t.UserID, t.Email, t.Created = newID("t-"), u.ID, u.Email, now
		_, err = c.exec(ctx, "INSERT INTO tokens (id, hash, user_id, name, scopes, created, expires, used) VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
			t.ID, hash, t.UserID, t.Name, strings.Join(t.Scopes, ","), now.Unix(), seconds(t.Expires))
		if err != nil {
			return err
		}
		return c.audit(ctx, now, actor, "token.add", t.ID, nil, t)
	})
	return t, secret, err
}

// Tokens lists the API tokens of a user, the newest first; of everybody if user is
// empty.
func (p *Portal) Tokens(ctx context.Context, user string) ([]Token, error) {
	return list(ctx, p.store.reader(), scanToken, "SELECT "+tokenColumns+" WHERE tokens.user_id = ? OR ? = '' ORDER BY tokens.id DESC", user, user)
}

// RevokeToken ends an API token; user is whose it has to be, empty: anybody's.
func (p *Portal) RevokeToken(ctx context.Context, id, user, actor string) error {
	return p.store.tx(ctx, func(c conn) error {
		all, err := list(ctx, c, scanToken, "SELECT "+tokenColumns+" WHERE tokens.id = ? AND (tokens.user_id = ? OR ? = '')", id, user, user)
		if err == nil && len(all) == 0 {
			err = refuse(CodeNotFound, "there is no token %q", id)
		}
		if err != nil {
			return err
		}
		if _, err := c.exec(ctx, "DELETE FROM tokens WHERE id = ?", id); err != nil {
			return err
		}
		return c.audit(ctx, p.now(), actor, "token.revoke", id, all[0], nil)
	})
}

// TokenOf returns the token of a secret and its user, and notes that it is used;
// found is false where there is none, it has ended, or its user is disabled.
func (p *Portal) TokenOf(ctx context.Context, secret string) (t Token, u User, found bool, err error) {
	if !strings.HasPrefix(secret, TokenPrefix) {
		return t, u, false, nil
	}
	c, now := p.store.reader(), p.now()
	all, err := list(ctx, c, scanToken, "SELECT "+tokenColumns+" WHERE tokens.hash = ?", credential.HashSecret(secret))
	if err != nil || len(all) == 0 {
		return t, u, false, err
	}
	t = all[0]
	if u, err = c.user(ctx, t.UserID); err != nil || !u.Disabled.IsZero() || !t.Expires.IsZero() && !now.Before(t.Expires) {
		return t, u, false, err
	}
	if now.Sub(t.Used) >= seenEvery {
		err = p.store.tx(ctx, func(c conn) error {
			_, err := c.exec(ctx, "UPDATE tokens SET used = ? WHERE id = ?", now.Unix(), t.ID)
			return err
		})
	}
	return t, u, err == nil, err
}
