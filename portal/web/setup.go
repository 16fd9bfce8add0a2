package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"sync"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// A SetupForm is what the first page asks.
type SetupForm struct {
	Vendor                string // name of the vendor; empty: that of the keys
	Domain                string // that the keys are named after; empty: there are keys
	Email, Name, Password string // of the administrator
}

// SetupOptions are those of NewSetup. Gate, Token and Make are required.
type SetupOptions struct {
	Gate *gate.Gate
	// Token is shown to whoever started the portal, and to nobody else.
	Token string
	// Domain is that of the vendor's keys; empty: they have to be made.
	Domain string
	// Make makes keys, database and administrator. What it refuses is asked again.
	Make    func(context.Context, SetupForm) (*gate.Gate, portal.User, error)
	Log     *slog.Logger
	Version string
}

// NewSetup returns the page of the first run, which serves until somebody has used it:
// then Make has returned a user, who is signed in. Requests come through a gate's
// Wrap.
func NewSetup(o SetupOptions) (http.Handler, error) {
	s, err := newServer(Options{Gate: o.Gate, Log: o.Log, Version: o.Version})
	if err != nil {
		return nil, err
	}
	u := &setup{Server: s, o: o}
	mux := http.NewServeMux()
	for path, serve := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /setup": u.page, "POST /setup": u.make, "GET /assets/{file...}": s.asset, "GET /brand.css": u.style, "/": u.waiting,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if err := serve(w, r); err != nil {
				s.fail(w, r, err)
			}
		})
	}
	return mux, nil
}

type setup struct {
	*Server
	o    SetupOptions
	mu   sync.Mutex // one at a time
	used bool       // guarded by mu
}

var (
	errNotSetUp = &portal.Error{Code: portal.CodeState, Status: http.StatusServiceUnavailable, Message: "the portal is not set up yet",
		Hint: "open the address that begins with /setup and that \"meterseal-vendor serve\" printed where it was started"}
	errSetUp = &portal.Error{Code: portal.CodeLink, Status: http.StatusForbidden, Message: "this is not the address that was printed, or it was used",
		Hint: "copy the address that \"meterseal-vendor serve\" printed last; it works once, and ends with the process"}
)

func (u *setup) waiting(http.ResponseWriter, *http.Request) error { return errNotSetUp }

// allowed compares tokens in constant time, whatever their length.
func (u *setup) allowed(token string) bool {
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(u.o.Token))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

func (u *setup) page(w http.ResponseWriter, r *http.Request) error {
	token := r.URL.Query().Get("token")
	if !u.allowed(token) {
		return errSetUp
	}
	return u.show(w, r, "setup", u.view(token))
}

func (u *setup) view(token string) page {
	return page{Title: "Set up the portal", Data: map[string]any{"Token": token, "Domain": u.o.Domain}, Command: "init --domain DOMAIN"}
}

func (u *setup) make(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	token := form.Get("token")
	if !u.allowed(token) || u.used {
		return errSetUp
	}
	f := SetupForm{Vendor: form.Get("vendor"), Domain: form.Get("domain"), Email: form.Get("email"), Name: form.Get("name"), Password: form.Get("password")}
	same := f.Password == form.Get("again")
	form.Del("password")
	form.Del("again")
	if !same {
		return u.again(w, r, "setup", u.view(token), form, notTheSame)
	}
	g, user, err := u.o.Make(r.Context(), f)
	if err != nil {
		return u.again(w, r, "setup", u.view(token), form, err)
	}
	u.used = true
	if err := g.Begin(w, r, user); err != nil {
		return err
	}
	return done(w, r, "/", doneSetUp)
}

var doneSetUp = notice("set-up", "The portal is set up, and you are its administrator. Back up the folder and its passphrase.")

// style answers for the vendor's colours, which nobody has chosen yet.
func (u *setup) style(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	return nil
}
