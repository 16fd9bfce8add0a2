package gate

import (
	"net/http"
	"strings"

	"github.com/meterseal/meterseal/internal/credential"
	"github.com/meterseal/meterseal/portal"
)

var errCode = &portal.Error{Code: portal.CodeSignIn, Status: http.StatusUnauthorized, Message: "this code is not the present one, or was used",
	Hint: "wait for the next code; look at the clock of the device that shows it"}

// Halfway returns who has shown his password and has to show a second factor; found is
// false where the browser is not at this step.
func (g *Gate) Halfway(r *http.Request) (u portal.User, found bool, err error) {
	s, found, err := g.stepOf(r, stateSecondFactor)
	if err != nil || !found {
		return u, false, err
	}
	u, err = g.o.Portal.User(r.Context(), s.UserID)
	return u, err == nil && u.Disabled.IsZero(), err
}

// SignInCode ends a sign-in by a one-time code or a recovery code.
func (g *Gate) SignInCode(w http.ResponseWriter, r *http.Request, code string) error {
	u, found, err := g.Halfway(r)
	if err != nil {
		return err
	}
	if !found {
		return &portal.Error{Code: portal.CodeSignIn, Status: http.StatusUnauthorized, Message: "this sign-in took too long", Hint: "begin again with address and password"}
	}
	if err := g.attempt(r, accountSubject(u, "")); err != nil {
		return err
	}
	ok, err := g.codeOf(r, u, code)
	if err != nil {
		return err
	}
	if !ok {
		g.failed(r, "user", u.Email, "step", "second factor")
		return errCode
	}
	return g.succeed(w, r, u)
}

// codeOf tells whether code is a one-time code or a recovery code of u; each works
// once.
func (g *Gate) codeOf(r *http.Request, u portal.User, code string) (bool, error) {
	secret, used, err := g.o.Portal.TOTP(r.Context(), u.ID)
	if err != nil {
		return false, err
	}
	if step, ok := credential.CheckTOTP(secret, code, g.o.Now(), used); ok {
		return g.o.Portal.UseTOTP(r.Context(), u.ID, step)
	}
	return g.o.Portal.UseRecovery(r.Context(), u.ID, credential.HashRecovery(code))
}

// NewTOTP returns a secret of one-time codes for the caller, and the address that an
// authenticator reads. Nothing is kept before SetTOTP.
func (g *Gate) NewTOTP(c Caller, issuer string) (secret, address string) {
	secret = credential.NewTOTP()
	return secret, credential.TOTPAddress(secret, issuer, c.Email)
}

// TOTPAddress is what an authenticator reads to make the codes of a secret.
func TOTPAddress(c Caller, issuer, secret string) string {
	return credential.TOTPAddress(secret, issuer, c.Email)
}

// SetTOTP keeps a secret of one-time codes, once the caller has shown a code of it and
// his password. It returns recovery codes, which are shown once.
func (g *Gate) SetTOTP(r *http.Request, secret, code, password string) ([]string, error) {
	c := CallerOf(r.Context())
	if err := g.Prove(r, password); err != nil {
		return nil, err
	}
	step, ok := credential.CheckTOTP(strings.TrimSpace(secret), code, g.o.Now(), 0)
	if !ok {
		return nil, &portal.Error{Code: portal.CodeBadRequest, Status: http.StatusBadRequest, Message: errCode.Message, Hint: errCode.Hint}
	}
	codes, hashes := credential.NewRecoveryCodes()
	return codes, g.o.Portal.SetTOTP(r.Context(), c.User, secret, step, hashes, c.Actor())
}

// RemoveTOTP takes one-time codes and recovery codes away.
func (g *Gate) RemoveTOTP(r *http.Request, password string) error {
	if err := g.Prove(r, password); err != nil {
		return err
	}
	c := CallerOf(r.Context())
	return g.o.Portal.SetTOTP(r.Context(), c.User, "", 0, nil, c.Actor())
}

// NewRecoveryCodes replaces the recovery codes of the caller.
func (g *Gate) NewRecoveryCodes(r *http.Request, password string) ([]string, error) {
	if err := g.Prove(r, password); err != nil {
		return nil, err
	}
	c := CallerOf(r.Context())
	codes, hashes := credential.NewRecoveryCodes()
	return codes, g.o.Portal.SetRecovery(r.Context(), c.User, hashes, c.Actor())
}
