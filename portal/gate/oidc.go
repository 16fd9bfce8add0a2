package gate

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/meterseal/meterseal/portal"
)

// OIDC names a provider that may vouch for users: who has a verified address there that
// a user has here is signed in as him. Roles are never taken from there.
type OIDC struct {
	Issuer, ClientID, ClientSecret string
}

// stateOIDC is the step of who was sent to the provider.
const stateOIDC = "oidc"

// oidcTime bounds what the provider may take.
const oidcTime = 15 * time.Second

// OIDCCallback is the path that the provider sends people back to.
const OIDCCallback = "/sign-in/oidc/callback"

// provider finds out what the issuer says about itself, once.
type provider struct {
	mu       sync.Mutex
	found    *oidc.Provider // guarded by mu
	verifier *oidc.IDTokenVerifier
	config   oauth2.Config
}

// HasOIDC tells whether a provider can vouch for users.
func (g *Gate) HasOIDC() bool { return g.o.OIDC != nil && g.public != nil }

// discover asks the issuer where things are. What it said once holds for the process.
func (g *Gate) discover(ctx context.Context) (*provider, error) {
	if !g.HasOIDC() {
		return nil, &portal.Error{Code: portal.CodeNotFound, Status: http.StatusNotFound, Message: "no provider is set up that vouches for users", Hint: "sign in with a password"}
	}
	p := &g.provider
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found == nil {
		found, err := oidc.NewProvider(ctx, g.o.OIDC.Issuer)
		if err != nil {
			g.o.Log.Error("provider not reached", "issuer", g.o.OIDC.Issuer, "err", err)
			return nil, errProvider
		}
		p.found, p.verifier = found, found.Verifier(&oidc.Config{ClientID: g.o.OIDC.ClientID, Now: g.o.Now})
		p.config = oauth2.Config{ClientID: g.o.OIDC.ClientID, ClientSecret: g.o.OIDC.ClientSecret, Endpoint: found.Endpoint(),
			RedirectURL: g.public.Scheme + "://" + g.public.Host + OIDCCallback, Scopes: []string{oidc.ScopeOpenID, "email"}}
	}
	return p, nil
}

var (
	errProvider = &portal.Error{Code: portal.CodeState, Status: http.StatusBadGateway, FixBy: "vendor", Message: "the provider does not answer as it should", Hint: "try again, or sign in with a password"}
	errOIDC     = &portal.Error{Code: portal.CodeSignIn, Status: http.StatusUnauthorized, Message: "the provider vouches for nobody who is a user here", Hint: "ask an administrator of this portal for a login with the address that the provider has verified"}
)

// A handover is what has to come back from the provider unchanged.
type handover struct{ State, Nonce, Verifier, Next string }

// BeginOIDC returns the address of the provider to send the browser to. next is where
// he wants to be afterwards.
func (g *Gate) BeginOIDC(w http.ResponseWriter, r *http.Request, next string) (string, error) {
	ctx, cancel := oidcContext(r)
	defer cancel()
	p, err := g.discover(ctx)
	if err != nil {
		return "", err
	}
	h := handover{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Next: next}
	b, err := json.Marshal(h)
	if err != nil {
		return "", err
	}
	return p.config.AuthCodeURL(h.State, oidc.Nonce(h.Nonce), oauth2.S256ChallengeOption(h.Verifier)), g.step(w, r, "", stateOIDC, string(b))
}

func oidcContext(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(r.Context(), oidcTime)
	return oidc.ClientContext(ctx, &http.Client{Timeout: oidcTime}), cancel
}

// FinishOIDC signs in whom the provider vouches for, and returns where he wanted to be.
func (g *Gate) FinishOIDC(w http.ResponseWriter, r *http.Request) (next string, err error) {
	ctx, cancel := oidcContext(r)
	defer cancel()
	p, err := g.discover(ctx)
	if err != nil {
		return "", err
	}
	s, found, err := g.o.Portal.TakeSession(r.Context(), g.cookie(r))
	if err != nil {
		return "", err
	}
	var h handover
	q := r.URL.Query()
	if !found || s.State != stateOIDC || json.Unmarshal([]byte(s.Data), &h) != nil || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(h.State)) != 1 {
		return "", errOIDC
	}
	email, err := p.vouch(ctx, q.Get("code"), h)
	if err != nil {
		g.o.Log.Warn("provider refused", "address", g.Address(r), "err", err)
		return "", errOIDC
	}
	u, _, err := g.o.Portal.PasswordHash(r.Context(), email)
	if err != nil {
		return "", err
	}
	if u.ID == "" || email == "" {
		g.failed(r)
		return "", errOIDC
	}
	g.o.Log.Info("signed in", "address", g.Address(r), "user", u.Email)
	return h.Next, g.Begin(w, r, u)
}

// vouch returns the address that the provider has verified.
func (p *provider) vouch(ctx context.Context, code string, h handover) (string, error) {
	t, err := p.config.Exchange(ctx, code, oauth2.VerifierOption(h.Verifier))
	if err != nil {
		return "", fmt.Errorf("exchange: %w", err)
	}
	raw, _ := t.Extra("id_token").(string)
	id, err := p.verifier.Verify(ctx, raw)
	if err != nil {
		return "", fmt.Errorf("id token: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(h.Nonce)) != 1 {
		return "", fmt.Errorf("id token: of another sign-in")
	}
	var claims struct {
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
	}
	if err := id.Claims(&claims); err != nil {
		return "", fmt.Errorf("id token: %w", err)
	}
	if !claims.Verified {
		return "", fmt.Errorf("id token: the address is not verified")
	}
	return strings.ToLower(claims.Email), nil
}
