package console_test

import (
	"net/http"
	"testing"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
)

// signedIn has one session, of an operator who may read and export.
type signedIn struct{}

func (signedIn) Caller(secret string) (access.Caller, bool) {
	return access.Caller{Operator: "kim", Has: []access.Right{access.Read, access.Import}}, secret == "good"
}

// O-13: a page in a browser of the daemon's machine reads, and changes something for
// an operator with the right alone; a program does as before. Beyond the machine a
// session is worth what the operator may, under the daemon's own names.
func TestO13BrowsersChangeAsOperators(t *testing.T) {
	s, _ := everyRoute(t, func(o *console.Options) { o.LoopbackToken, o.Sessions = false, signedIn{} })
	ask := func(method, path, cookie string, headers ...string) *answer {
		r := s.request(method, path, "application/json", "{}")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		if cookie != "" {
			r.AddCookie(&http.Cookie{Name: "meterseal-site", Value: cookie})
		}
		if host := r.Header.Get("Host"); host != "" {
			r.Host = host
		}
		return s.send(r)
	}
	const same = "same-origin"
	ask("GET", "/v1/status", "", "Sec-Fetch-Site", same).is(200)
	ask("GET", "/v1/tokens", "", "Sec-Fetch-Site", same).refusedAs(401, "not_authenticated")
	ask("GET", "/v1/tokens", "").is(200)
	ask("POST", "/v1/prune", "", "Sec-Fetch-Site", same).refusedAs(401, "not_authenticated")
	ask("POST", "/v1/prune", "", "Origin", s.srv.URL).refusedAs(401, "not_authenticated")
	ask("POST", "/v1/prune", "bad", "Sec-Fetch-Site", same).refusedAs(401, "not_authenticated")
	ask("POST", "/v1/prune", "good", "Sec-Fetch-Site", same).refusedAs(403, "not_allowed")
	ask("POST", "/v1/reply?dry_run=true", "", "Sec-Fetch-Site", same).refusedAs(401, "not_authenticated")
	if got := ask("POST", "/v1/reply?dry_run=true", "good", "Sec-Fetch-Site", same); got.status == 401 || got.status == 403 {
		t.Errorf("an operator with the right import = %d, want neither 401 nor 403", got.status)
	}
	// From elsewhere: nothing without a session, and no session under a strange name.
	ask("GET", "/v1/status", "", "X-Forwarded-For", "192.0.2.1").refusedAs(401, "not_authenticated")
	ask("GET", "/v1/status", "good", "X-Forwarded-For", "192.0.2.1").is(200)
	ask("GET", "/v1/status", "good", "Host", "meter.evil.example").refusedAs(421, "wrong_host")
	// A cookie alone, as a page of another site makes a browser send it, changes
	// nothing; that of another origin is refused before.
	ask("POST", "/v1/reply?dry_run=true", "good", "X-Forwarded-For", "192.0.2.1").refusedAs(401, "not_authenticated")
	ask("POST", "/v1/reply?dry_run=true", "good", "Sec-Fetch-Site", "cross-site").refusedAs(403, "cross_origin")
}
