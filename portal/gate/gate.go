package gate

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/meterseal/meterseal/internal/credential"
	"github.com/meterseal/meterseal/portal"
)

// Options of New.
type Options struct {
	// Portal has the users; nil: there is none yet, and everybody is nobody.
	Portal *portal.Portal
	// PublicURL is the address under which people open the portal, such as
	// https://portal.vendor.example; empty: that of the request, which no passkey
	// and no OIDC works with.
	PublicURL string
	// Hosts are further names that requests may be for, besides that of PublicURL,
	// localhost and addresses. Others are refused: a page elsewhere could have its
	// own name point here (DNS rebinding).
	Hosts []string
	// TrustedProxies are those whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// SecondFactor asks everybody but customers for one: who has none sets one up
	// before anything else.
	SecondFactor bool
	// BodyBytesMax bounds what somebody who is signed in may send at once, an upload;
	// 0: 1 GiB and a bit. Others may send 1 MiB.
	BodyBytesMax int64
	// RequestsPerSecond bounds those of one address, after a burst of twenty times as
	// many; 0: 50.
	RequestsPerSecond float64
	// PasswordCost is what hashing takes; zero: that of package credential: 64 MiB, 3 passes.
	PasswordCost PasswordCost
	// OIDC is a provider that may vouch for users; nil: none.
	OIDC *OIDC
	// OnFailure is told of each sign-in that is refused; nil: nobody is.
	OnFailure func()
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Log takes a line per sign-in and refusal; nil: none.
	Log *slog.Logger
}

// PasswordCost is what hashing a password takes.
type PasswordCost = credential.Cost

// CheapPasswordCost is for tests: it protects nothing.
var CheapPasswordCost = PasswordCost{MemoryKiB: 64, Passes: 1, Threads: 1}

// A Gate stands before the portal's pages and its API.
type Gate struct {
	o      Options
	public *url.URL // nil: none
	hosts  map[string]bool
	hasher *credential.Hasher
	flood  flood
	// passkeys is nil where browsers have none.
	passkeys *webauthn.WebAuthn
	provider provider
}

// New returns a gate.
func New(o Options) (*Gate, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OnFailure == nil {
		o.OnFailure = func() {}
	}
	if o.BodyBytesMax == 0 {
		o.BodyBytesMax = 1<<30 + formBytesMax
	}
	if o.RequestsPerSecond == 0 {
		o.RequestsPerSecond = 50
	}
	g := &Gate{o: o, hosts: map[string]bool{"localhost": true}, flood: flood{rate: o.RequestsPerSecond, burst: 20 * o.RequestsPerSecond}}
	for _, h := range o.Hosts {
		g.hosts[h] = true
	}
	if o.PublicURL != "" {
		u, err := url.Parse(o.PublicURL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" && u.Path != "/" {
			return nil, fmt.Errorf("gate: public URL is %q, want one such as https://portal.vendor.example", o.PublicURL)
		}
		g.public = u
		g.hosts[u.Hostname()] = true
	}
	var err error
	if g.passkeys, err = g.passkeysOf(); err != nil {
		return nil, fmt.Errorf("gate: %w", err)
	}
	g.hasher, err = credential.NewHasher(o.PasswordCost)
	return g, err
}

// contentPolicy says what a page may load: this portal's own files and nothing else.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// Wrap puts the gate before next.
func (g *Gate) Wrap(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, &portal.Error{Code: portal.CodeCrossOrigin, Status: http.StatusForbidden, Message: "the request comes from a page of another site", Hint: "send it from the portal's own page"})
	}))
	inner := cross.Handler(g.identify(next))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.headers(w.Header(), r)
		if !g.hostAllowed(r.Host) {
			refuse(w, r, &portal.Error{Code: portal.CodeHost, Status: http.StatusMisdirectedRequest, Message: "the portal is not served under this name", Hint: "use its own address, or add the name with --public-url"})
			return
		}
		if wait := g.flood.wait(g.Address(r), time.Now()); wait > 0 {
			refuse(w, r, flooded(wait))
			return
		}
		inner.ServeHTTP(paced(w, r))
	})
}

func (g *Gate) headers(h http.Header, r *http.Request) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(self), microphone=(), geolocation=()")
	if g.secure(r) {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// secure tells whether the browser speaks TLS, to us or to a proxy before us.
func (g *Gate) secure(r *http.Request) bool {
	return r.TLS != nil || g.public != nil && g.public.Scheme == "https"
}
