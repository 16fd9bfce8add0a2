package gate

import (
	"net/http"
	"strings"
	"time"

	"github.com/meterseal/meterseal/portal"
)

// Ends of a session.
const (
	idleTime    = 2 * time.Hour    // without a request
	sessionTime = 24 * time.Hour   // whatever happens
	stepTime    = 10 * time.Minute // of signing in
)

// cookieName is that of the session's cookie. The prefix __Host- keeps others of the
// domain from setting it, and needs TLS.
func (g *Gate) cookieName(r *http.Request) string {
	if g.secure(r) {
		return "__Host-meterseal"
	}
	return "meterseal"
}

func (g *Gate) cookie(r *http.Request) string {
	c, err := r.Cookie(g.cookieName(r))
	if err != nil {
		return ""
	}
	return c.Value
}

func (g *Gate) setCookie(w http.ResponseWriter, r *http.Request, value string) {
	c := &http.Cookie{Name: g.cookieName(r), Value: value, Path: "/", Secure: g.secure(r), HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// identify finds out who sends a request, and lets it through with him.
func (g *Gate) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := g.callerOf(r)
		if err != nil {
			g.o.Log.Error("caller not found out", "err", err)
			refuse(w, r, &portal.Error{Code: "internal/error", Status: http.StatusInternalServerError, FixBy: "vendor", Message: "something went wrong on our side", Hint: "try again; if it stays so, tell the operator of the portal when it was"})
			return
		}
		if c.User == "" && r.Header.Get("Authorization") != "" {
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, r, &portal.Error{Code: portal.CodeNotSignedIn, Status: http.StatusUnauthorized, Message: "the token is unknown, has ended, or was revoked", Hint: "make a new one on the page Account"})
			return
		}
		most := int64(formBytesMax)
		if c.User != "" {
			most = g.o.BodyBytesMax
		}
		if r.ContentLength > most {
			w.Header().Set("Connection", "close")
			refuse(w, r, &portal.Error{Code: "size/too_large", Status: http.StatusRequestEntityTooLarge, FixBy: "site", Message: "what was sent is too large", Hint: "send less at a time"})
			return
		}
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = http.MaxBytesReader(w, r.Body, most)
		}
		if c.Enrol && !strings.HasPrefix(r.URL.Path, "/account") && !strings.HasPrefix(r.URL.Path, "/assets/") && !strings.HasPrefix(r.URL.Path, "/brand") && r.URL.Path != "/sign-out" {
			if r.Method == http.MethodGet && !strings.HasPrefix(r.URL.Path, "/api/") {
				http.Redirect(w, r, "/account/totp", http.StatusSeeOther)
				return
			}
			refuse(w, r, &portal.Error{Code: portal.CodeNotAllowed, Status: http.StatusForbidden, Message: "a second factor has to be set up first", Hint: "open the page Account"})
			return
		}
		next.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), c)))
	})
}

// callerOf finds the caller by token or cookie. A request that changes something
// and does not say from which page it comes is not a browser's: no cookie counts.
func (g *Gate) callerOf(r *http.Request) (Caller, error) {
	if g.o.Portal == nil {
		return Caller{}, nil
	}
	if auth := r.Header.Get("Authorization"); auth != "" {
		scheme, secret, _ := strings.Cut(auth, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return Caller{}, nil
		}
		t, u, found, err := g.o.Portal.TokenOf(r.Context(), strings.TrimSpace(secret))
		if err != nil || !found {
			return Caller{}, err
		}
		c := callerFor(u)
		c.Token = t.ID
		for _, s := range t.Scopes {
			c.Scopes = append(c.Scopes, Right(s))
		}
		return c, nil
	}
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if !reads && r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == "" {
		return Caller{}, nil
	}
	secret := g.cookie(r)
	if secret == "" {
		return Caller{}, nil
	}
	s, found, err := g.o.Portal.Session(r.Context(), secret, idleTime)
	if err != nil || !found || s.State != portal.SessionOpen {
		return Caller{}, err
	}
	u, err := g.o.Portal.User(r.Context(), s.UserID)
	if err != nil || !u.Disabled.IsZero() {
		return Caller{}, err
	}
	c := callerFor(u)
	c.Session, c.Enrol = s.ID, g.o.SecondFactor && u.Role != portal.RoleCustomer && !u.SecondFactor()
	return c, nil
}

func callerFor(u portal.User) Caller {
	return Caller{User: u.ID, Email: u.Email, Name: u.Name, Role: u.Role, Customer: u.Customer}
}

// Begin signs a user in: whatever session the browser had ends, and a new one
// begins.
func (g *Gate) Begin(w http.ResponseWriter, r *http.Request, u portal.User) error {
	return g.start(w, r, portal.Session{UserID: u.ID, State: portal.SessionOpen, Ends: g.o.Now().Add(sessionTime)})
}

// step begins a step of signing in, which remembers data.
func (g *Gate) step(w http.ResponseWriter, r *http.Request, user, state, data string) error {
	return g.start(w, r, portal.Session{UserID: user, State: state, Data: data, Ends: g.o.Now().Add(stepTime)})
}

func (g *Gate) start(w http.ResponseWriter, r *http.Request, s portal.Session) error {
	s.Address, s.Agent = g.Address(r), strings.ToValidUTF8(r.UserAgent(), "?")
	secret, err := g.o.Portal.StartSession(r.Context(), s, g.cookie(r))
	if err != nil {
		return err
	}
	g.setCookie(w, r, secret)
	return nil
}

// stepOf returns the step of signing in that the browser of r is in, which it stays
// in; found is false if it is in none of that state.
func (g *Gate) stepOf(r *http.Request, state string) (s portal.Session, found bool, err error) {
	secret := g.cookie(r)
	if secret == "" {
		return s, false, nil
	}
	s, found, err = g.o.Portal.Session(r.Context(), secret, stepTime)
	return s, found && s.State == state, err
}

// SignOut ends the session of a browser.
func (g *Gate) SignOut(w http.ResponseWriter, r *http.Request) error {
	secret := g.cookie(r)
	g.setCookie(w, r, "")
	if secret == "" {
		return nil
	}
	return g.o.Portal.EndSession(r.Context(), secret)
}
