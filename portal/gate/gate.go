package gate

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/meterseal/meterseal/portal"
)

// Options of New.
type Options struct {
	Portal *portal.Portal
	// PublicURL is the address under which people open the portal, such as
	// https://portal.vendor.example; empty: that of the request, which no passkey
	// and no OIDC works with.
	PublicURL string
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Log takes a line per sign-in and refusal; nil: none.
	Log *slog.Logger
}

// A Gate stands before the portal's pages and its API.
type Gate struct{ o Options }

// New returns a gate.
func New(o Options) (*Gate, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Gate{o: o}, nil
}

// policy of what a page may load: this portal's own files and nothing else.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// Wrap puts the gate before next.
func (g *Gate) Wrap(next http.Handler) http.Handler {
	next = http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(self), microphone=(), geolocation=()")
		next.ServeHTTP(w, r)
	})
}
