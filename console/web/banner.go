package web

import (
	"net/http"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/license"
)

const (
	laterPath   = "/not-today"
	laterCookie = "meterseal_not_today"
	// bannerAhead is how long before a date pages say so (O-30).
	bannerAhead = 30 * 24 * time.Hour
)

// bannerOf is what every page says above its content, but the first page, which has
// it as its own; nil: nothing is due.
func bannerOf(r *http.Request, s *console.Status) *banner {
	if s == nil || r.URL.Path == "/" {
		return nil
	}
	b := &banner{nextStep: nextOf(s, nil)}
	b.Key = string(s.License.State) + "/" + string(s.License.NextActionKind)
	if b.By != nil {
		b.Key += "/" + b.By.UTC().Format("20060102T150405Z")
	}
	// A wait asks nothing of anybody, and an evaluation has no date.
	ahead := b.By != nil && b.By.Sub(s.Time) <= bannerAhead && s.License.NextActionKind != license.ActionWait
	switch {
	case s.ServiceStatus == "starting", b.Kind != "bad" && !ahead:
		return nil
	case b.Kind == "good":
		b.Kind = "warn"
	}
	// What is late, or refused, stays in sight.
	b.Later = b.Kind != "bad" && !b.Left.Over
	if c, err := r.Cookie(laterCookie); err == nil && b.Later && c.Value == b.Key {
		return nil
	}
	return b
}

// banner is the next step on every page.
type banner struct {
	nextStep
	Later bool   // it can be put off for a day
	Key   string // what is put off: another state or date shows it again
}

// later puts the banner off for a day, in this browser.
func (s *Server) later(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{Name: laterCookie, Value: form.Get("key"), Path: "/", MaxAge: 24 * 60 * 60, Secure: r.TLS != nil, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, localPath(form.Get("next")), http.StatusSeeOther)
	return nil
}
