package gate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/meterseal/meterseal/internal/credential"
	"github.com/meterseal/meterseal/portal"
)

// What failed sign-ins are bounded by. An address may be that of a whole company.
var (
	accountAttempts = portal.Attempts{Free: 5, Most: 15 * time.Minute, Forget: time.Hour}
	addressAttempts = portal.Attempts{Free: 40, Most: 15 * time.Minute, Forget: time.Hour}
)

// stateSecondFactor is the step of who has shown his password and has to show more.
const stateSecondFactor = "second-factor"

var errSignIn = &portal.Error{Code: portal.CodeSignIn, Status: http.StatusUnauthorized, Message: "address and password do not belong together",
	Hint: "look at what was typed; who forgot the password asks an administrator for a new link"}

// SignIn checks address and password and begins a session; more is true where a
// second factor has to be shown first (SignInCode). Whoever has no account here
// gets the same answer after the same time as who typed a wrong password.
func (g *Gate) SignIn(w http.ResponseWriter, r *http.Request, email, password string) (more bool, err error) {
	ctx := r.Context()
	u, phc, err := g.o.Portal.PasswordHash(ctx, email)
	if err != nil {
		return false, err
	}
	account := accountSubject(u, email)
	if err := g.attempt(r, account); err != nil {
		return false, err
	}
	ok, err := g.verify(ctx, password, phc)
	if err != nil {
		return false, err
	}
	if !ok {
		g.failed(r, "user", u.Email)
		return false, errSignIn
	}
	if u.SecondFactor() {
		// The account's failures stay counted until the second factor is right too.
		return true, g.step(w, r, u.ID, stateSecondFactor, "")
	}
	return false, g.succeed(w, r, u)
}

// failed notes a sign-in that was refused, with what is known of it.
func (g *Gate) failed(r *http.Request, more ...any) {
	g.o.Log.Warn("sign-in refused", append([]any{"address", g.Address(r)}, more...)...)
	g.o.OnFailure()
}

// accountSubject names an account whose attempts are counted. What was typed and is
// nobody's address may be a password: it is kept as a hash.
func accountSubject(u portal.User, typed string) string {
	if u.ID != "" {
		return "account " + u.Email
	}
	return "account " + credential.HashSecret(strings.ToLower(strings.TrimSpace(typed)))
}

// attempt counts an attempt of the address of r and of an account; it refuses where
// one of them has to wait.
func (g *Gate) attempt(r *http.Request, account string) error {
	for _, x := range []struct {
		subject string
		o       portal.Attempts
	}{{"address " + g.Address(r), addressAttempts}, {account, accountAttempts}} {
		wait, err := g.o.Portal.Attempt(r.Context(), x.subject, x.o)
		if err != nil {
			return err
		}
		if wait > 0 {
			g.o.Log.Warn("sign-in slowed", "address", g.Address(r))
			return tooMany(wait)
		}
	}
	return nil
}

// succeed takes the attempts back, and signs in.
func (g *Gate) succeed(w http.ResponseWriter, r *http.Request, u portal.User) error {
	if err := g.o.Portal.Succeeded(r.Context(), accountSubject(u, ""), true); err != nil {
		return err
	}
	if err := g.o.Portal.Succeeded(r.Context(), "address "+g.Address(r), false); err != nil {
		return err
	}
	g.o.Log.Info("signed in", "address", g.Address(r), "user", u.Email)
	return g.Begin(w, r, u)
}

func (g *Gate) verify(ctx context.Context, password, phc string) (bool, error) {
	if len(password) > passwordBytesMax {
		password = password[:passwordBytesMax] + "…" // which none is
	}
	ok, err := g.hasher.Verify(ctx, password, phc)
	return ok, busy(err)
}

func busy(err error) error {
	if errors.Is(err, credential.ErrBusy) {
		return &portal.Error{Code: portal.CodeTooMany, Status: http.StatusServiceUnavailable, Message: "too many sign in at once", Hint: "try again in a few seconds", Details: map[string]any{"retry_after": int64(5)}}
	}
	return err
}

// Bounds of passwords.
const (
	passwordRunesMin = 12
	passwordBytesMax = 256
)

// HashPassword returns what is kept of a new password; it refuses one that is easily
// guessed.
func (g *Gate) HashPassword(ctx context.Context, password, email string) (string, error) {
	if err := checkPassword(password, email); err != nil {
		return "", err
	}
	phc, err := g.hasher.Hash(ctx, password)
	return phc, busy(err)
}

func checkPassword(password, email string) error {
	bad := func(message string) error {
		return &portal.Error{Code: portal.CodeBadRequest, Status: http.StatusBadRequest, Message: message, Hint: "a few words that do not belong together are easy to keep in mind"}
	}
	kinds := map[rune]bool{}
	for _, r := range password {
		kinds[r] = true
	}
	name, _, _ := strings.Cut(strings.ToLower(email), "@")
	switch {
	case utf8.RuneCountInString(password) < passwordRunesMin:
		return bad("the password is too short: want 12 characters or more")
	case len(password) > passwordBytesMax:
		return bad("the password is too long: want at most 256 bytes")
	case len(kinds) < 5:
		return bad("the password repeats too few characters")
	case len(name) >= 3 && strings.Contains(strings.ToLower(password), name):
		return bad(fmt.Sprintf("the password contains the address, or its first part, %q", name))
	}
	return nil
}

// UseLink lets whoever has a one-time link choose his password.
func (g *Gate) UseLink(ctx context.Context, link, password string) (portal.User, error) {
	u, err := g.o.Portal.LinkUser(ctx, link)
	if err != nil {
		return u, err
	}
	phc, err := g.HashPassword(ctx, password, u.Email)
	if err != nil {
		return u, err
	}
	return g.o.Portal.UseLink(ctx, link, phc)
}

// ChangePassword changes that of the caller, who shows the one before. His other
// sessions end.
func (g *Gate) ChangePassword(r *http.Request, old, password string) error {
	c := CallerOf(r.Context())
	if err := g.Prove(r, old); err != nil {
		return err
	}
	phc, err := g.HashPassword(r.Context(), password, c.Email)
	if err != nil {
		return err
	}
	return g.o.Portal.SetPassword(r.Context(), c.User, phc, c.Session, c.Actor())
}

// Prove checks the password of the caller once more, before what a session that was
// left open should not do.
func (g *Gate) Prove(r *http.Request, password string) error {
	u, phc, err := g.o.Portal.PasswordHash(r.Context(), CallerOf(r.Context()).Email)
	if err != nil {
		return err
	}
	if err := g.attempt(r, accountSubject(u, "")); err != nil {
		return err
	}
	ok, err := g.verify(r.Context(), password, phc)
	if err != nil {
		return err
	}
	if !ok {
		return &portal.Error{Code: portal.CodeSignIn, Status: http.StatusForbidden, Message: "the present password is not right", Hint: "look at what was typed"}
	}
	if err := g.o.Portal.Succeeded(r.Context(), accountSubject(u, ""), true); err != nil {
		return err
	}
	return g.o.Portal.Succeeded(r.Context(), "address "+g.Address(r), false)
}
