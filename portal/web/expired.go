package web

import (
	"maps"
	"net/http"
	"slices"

	"github.com/meterseal/meterseal/portal"
)

// typed is a field of a form that was filled in.
type typed struct{ Name, Value string }

// secretFields are never put into a page again.
var secretFields = []string{"password", "again", "old", "code", "token"}

// expired answers a form that comes when its session is over: what was typed stands
// on the page, to be sent again after signing in.
func (s *Server) expired(w http.ResponseWriter, r *http.Request) {
	p := page{Title: "You are not signed in", Problem: &portal.Error{Code: portal.CodeNotSignedIn, Status: http.StatusUnauthorized,
		Message: "nobody is signed in: the session has ended", Hint: "sign in, then do it once more"}}
	var fields []typed
	form, err := readForm(w, r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	secret := false
	for _, name := range slices.Sorted(maps.Keys(form)) {
		secret = secret || slices.Contains(secretFields, name)
		for _, v := range form[name] {
			fields = append(fields, typed{name, v})
		}
	}
	if secret {
		fields = nil
	}
	if fields != nil {
		p.Problem.Hint = "sign in in another tab, come back to this one, and send it again"
	}
	p.Data = map[string]any{"To": r.URL.RequestURI(), "Fields": fields}
	if err := s.show(w, r, "expired", p); err != nil {
		s.fail(w, r, err)
	}
}
