package gate

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/meterseal/meterseal/portal"
)

// Steps of passkeys: making one, and signing in with one.
const (
	stateNewPasskey = "new-passkey"
	statePasskey    = "passkey"
)

// passkeysOf returns what makes and checks passkeys of a public address; nil if
// browsers have none there: they want a name, and TLS unless it is localhost.
func (g *Gate) passkeysOf() (*webauthn.WebAuthn, error) {
	if g.public == nil {
		return nil, nil
	}
	name := g.public.Hostname()
	if _, err := netip.ParseAddr(name); err == nil || net.ParseIP(name) != nil || g.public.Scheme != "https" && name != "localhost" {
		return nil, nil
	}
	return webauthn.New(&webauthn.Config{RPID: name, RPDisplayName: "Meterseal", RPOrigins: []string{g.public.Scheme + "://" + g.public.Host}})
}

// Passkeys tells whether passkeys can be used.
func (g *Gate) Passkeys() bool { return g.passkeys != nil }

var errNoPasskeys = &portal.Error{Code: portal.CodeState, Status: http.StatusConflict, FixBy: "vendor", Message: "passkeys cannot be used under this address",
	Hint: "start the portal with --public-url https://NAME"}

// passkeyUser is a user as package webauthn wants him.
type passkeyUser struct {
	portal.User
	keys []webauthn.Credential
}

func (u passkeyUser) WebAuthnID() []byte                         { return []byte(u.ID) }
func (u passkeyUser) WebAuthnName() string                       { return u.Email }
func (u passkeyUser) WebAuthnDisplayName() string                { return u.Name }
func (u passkeyUser) WebAuthnCredentials() []webauthn.Credential { return u.keys }

func (g *Gate) passkeyUser(r *http.Request, id string) (u passkeyUser, err error) {
	if u.User, err = g.o.Portal.User(r.Context(), id); err != nil {
		return u, err
	}
	if !u.Disabled.IsZero() {
		return u, errPasskey
	}
	all, err := g.o.Portal.Passkeys(r.Context(), u.ID)
	for _, k := range all {
		var c webauthn.Credential
		if err := json.Unmarshal([]byte(k.Body), &c); err != nil {
			return u, fmt.Errorf("read passkey %s: %w", k.ID, err)
		}
		u.keys = append(u.keys, c)
	}
	return u, err
}

var errPasskey = &portal.Error{Code: portal.CodeSignIn, Status: http.StatusUnauthorized, Message: "this passkey is not known here, or was not used in time",
	Hint: "try again, or sign in with a password"}

// NewPasskey begins to make a passkey of the caller, who shows his password: it
// returns what the browser's script hands to the authenticator.
func (g *Gate) NewPasskey(r *http.Request, password string) (any, error) {
	if g.passkeys == nil {
		return nil, errNoPasskeys
	}
	if err := g.Prove(r, password); err != nil {
		return nil, err
	}
	u, err := g.passkeyUser(r, CallerOf(r.Context()).User)
	if err != nil {
		return nil, err
	}
	options, session, err := g.passkeys.BeginRegistration(u, webauthn.WithExclusions(webauthn.Credentials(u.keys).CredentialDescriptors()),
		webauthn.WithAuthenticatorSelection(protocol.AuthenticatorSelection{ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired}))
	if err != nil {
		return nil, fmt.Errorf("begin passkey: %w", err)
	}
	return options, g.keepCeremony(r, u.ID, stateNewPasskey, session)
}

// keepCeremony remembers a challenge beside the caller's session.
func (g *Gate) keepCeremony(r *http.Request, user, state string, session *webauthn.SessionData) error {
	b, err := json.Marshal(session)
	if err != nil {
		return err
	}
	return g.o.Portal.KeepCeremony(r.Context(), user, state, string(b), g.o.Now().Add(stepTime))
}

// AddPasskey keeps the passkey that the authenticator made. The body of r is its
// answer.
func (g *Gate) AddPasskey(r *http.Request, name string) error {
	if g.passkeys == nil {
		return errNoPasskeys
	}
	c := CallerOf(r.Context())
	data, found, err := g.o.Portal.TakeCeremony(r.Context(), c.User, stateNewPasskey)
	if err != nil {
		return err
	}
	var session webauthn.SessionData
	if !found || json.Unmarshal([]byte(data), &session) != nil {
		return errPasskey
	}
	u, err := g.passkeyUser(r, c.User)
	if err != nil {
		return err
	}
	key, err := g.passkeys.FinishRegistration(u, session, r)
	if err != nil {
		g.o.Log.Warn("passkey refused", "address", g.Address(r), "user", u.Email, "err", err)
		return errPasskey
	}
	b, err := json.Marshal(key)
	if err != nil {
		return err
	}
	return g.o.Portal.AddPasskey(r.Context(), portal.Passkey{ID: base64.RawURLEncoding.EncodeToString(key.ID), UserID: u.ID, Name: name, Body: string(b)}, c.Actor())
}

// BeginPasskey begins a sign-in by passkey: the browser lists the ones it has.
func (g *Gate) BeginPasskey(w http.ResponseWriter, r *http.Request) (any, error) {
	if g.passkeys == nil {
		return nil, errNoPasskeys
	}
	options, session, err := g.passkeys.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, fmt.Errorf("begin passkey: %w", err)
	}
	b, err := json.Marshal(session)
	if err != nil {
		return nil, err
	}
	return options, g.step(w, r, "", statePasskey, string(b))
}

// SignInPasskey ends a sign-in by passkey, which proves two things at once: the device
// is there, and its holder unlocked it. The body of r is the authenticator's answer.
func (g *Gate) SignInPasskey(w http.ResponseWriter, r *http.Request) error {
	if g.passkeys == nil {
		return errNoPasskeys
	}
	s, found, err := g.o.Portal.TakeSession(r.Context(), g.cookie(r))
	if err != nil {
		return err
	}
	var session webauthn.SessionData
	if !found || s.State != statePasskey || json.Unmarshal([]byte(s.Data), &session) != nil {
		return errPasskey
	}
	var broken error // of ours, which the library would hide
	who, key, err := g.passkeys.FinishPasskeyLogin(func(_, handle []byte) (webauthn.User, error) {
		u, err := g.passkeyUser(r, string(handle))
		var refusal *portal.Error
		if err != nil && !errors.As(err, &refusal) {
			broken = err
		}
		return u, err
	}, session, r)
	if broken != nil {
		return broken
	}
	if err != nil || key.Authenticator.CloneWarning {
		g.failed(r, "step", "passkey", "err", err)
		return errPasskey
	}
	b, err := json.Marshal(key)
	if err != nil {
		return err
	}
	if err := g.o.Portal.UsePasskey(r.Context(), base64.RawURLEncoding.EncodeToString(key.ID), string(b)); err != nil {
		return err
	}
	u := who.(passkeyUser).User
	g.o.Log.Info("signed in", "address", g.Address(r), "user", u.Email)
	return g.Begin(w, r, u)
}
