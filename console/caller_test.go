package console_test

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/license"
)

// wantRights has each route with what its sender must have. A new one belongs
// here on purpose.
var wantRights = map[string]access.Right{
	"POST /v1/events":                        access.Events,
	"POST /api/v1/events":                    access.Events,
	"GET /v1/sessions":                       access.Read,
	"POST /v1/sessions/{name}/revert":        access.Admin,
	"GET /v1/usage":                          access.Read,
	"GET /v1/rejected/events/{number}":       access.Read,
	"POST /v1/rejected/replay":               access.Admin,
	"GET /v1/events/tail":                    access.Read,
	"GET /v1/usage/series":                   access.Read,
	"GET /usageReport":                       access.Read,
	"GET /v1/status":                         access.Read,
	"GET /v1/checkpoint":                     access.Read,
	"GET /v1/rejected":                       access.Read,
	"GET /v1/license":                        access.Read,
	"GET /v1/license/history":                access.Read,
	"GET /metrics":                           access.Read,
	"DELETE /v1/allow":                       access.Allow,
	"POST /v1/consume":                       access.Events,
	"GET /v1/allow":                          access.Allow,
	"POST /v1/report":                        access.Report,
	"POST /v1/report/prepare":                access.Report,
	"GET /v1/report/lines":                   access.Report,
	"GET /v1/report/preview":                 access.Read,
	"GET /v1/ledger/timeline":                access.Read,
	"GET /v1/ledger/records":                 access.Read,
	"GET /v1/ledger/records/{record}":        access.Read,
	"GET /v1/reports":                        access.Read,
	"POST /v1/report/verify":                 access.Read,
	"GET /v1/exports":                        access.Read,
	"POST /v1/exports/{name}/run":            access.Report,
	"POST /v1/reply":                         access.Import,
	"POST /v1/activation":                    access.Import,
	"POST /v1/prune":                         access.Admin,
	"POST /v1/keys/rotate":                   access.Admin,
	"POST /v1/deactivate":                    access.Admin,
	"POST /v1/backup":                        access.Admin,
	"GET /v1/seats":                          access.Read,
	"GET /v1/seats/{pool}":                   access.Read,
	"PUT /v1/seats/{pool}/{holder}":          access.Seats,
	"DELETE /v1/seats/{pool}/{holder}":       access.Seats,
	"POST /v1/seats/{pool}/{holder}/release": access.Admin,
	"GET /v1/variables":                      access.Read,
	"PUT /v1/variables/{name}":               access.Events,
	"DELETE /v1/variables/{name}":            access.Events,
	"GET /v1/health":                         access.Read,
	"POST /v1/support":                       access.Admin,
	"GET /healthz":                           access.Public,
	"GET /readyz":                            access.Public,
	"GET /openapi.json":                      access.Public,
	"GET /docs/errors/{code}":                access.Public,
	"GET /v1/nodes":                          access.Read,
	"GET /v1/nodes/{name}":                   access.Read,
	"GET /v1/meters":                         access.Read,
	"POST /v1/meters/test":                   access.Read,
	"GET /v1/config":                         access.Read,
	"POST /v1/nodes":                         access.Admin,
	"POST /v1/nodes/{name}/rotate":           access.Admin,
	"DELETE /v1/nodes/{name}":                access.Admin,
	"GET /v1/tokens":                         access.Admin,
	"GET /v1/operators":                      access.Admin, "POST /v1/operators": access.Admin, "DELETE /v1/operators/{name}": access.Admin,
	"POST /v1/tokens":          access.Admin,
	"DELETE /v1/tokens/{name}": access.Admin,
	"GET /v1/ledger/check":     access.Read, "POST /v1/ledger/check": access.Read,
	"POST /v1/enroll": access.Enroll,
}

// everyRoute is a site that serves all routes there are, and wants a token for
// each that is not public.
func everyRoute(t *testing.T, change ...func(*console.Options)) (*site, *access.Book) {
	t.Helper()
	dir := t.TempDir()
	book, err := access.Open(dir, filepath.Join(dir, "keys"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { book.Close() })
	seats := &lender{}
	s := newSite(t, append([]func(*console.Options){func(o *console.Options) {
		o.Tokens, o.LoopbackToken, o.Seats = book, true, seats
		o.Accounts, o.Variables, o.Exports, o.Reports = noAccounts{}, noVariables{}, noExports{}, noReports{}
		o.Checks = noChecks{}
		o.Config = func() console.Config {
			return console.Config{Settings: []console.ConfigSetting{}, Lists: []console.ConfigItem{}}
		}
		o.Licensing = &licensed{license: &license.License{}, now: func() time.Time { return testStart }}
	}}, change...)...)
	seats.s = s
	return s, book
}

// noAccounts is where the routes of nodes and tokens end here: what they do is
// tested with the daemon.
type noAccounts struct{ console.Accounts }

func (noAccounts) Nodes() ([]console.Node, error)   { return nil, nil }
func (noAccounts) Tokens() ([]console.Token, error) { return nil, nil }
func (noAccounts) AddNode(console.NewNode) (console.NodeCredentials, error) {
	return console.NodeCredentials{}, nil
}
func (noAccounts) RotateNode(string, console.NewCredentials) (console.NodeCredentials, error) {
	return console.NodeCredentials{}, nil
}
func (noAccounts) RevokeNode(string, bool) error { return nil }
func (noAccounts) Enroll(string, string) (console.NodeCredentials, error) {
	return console.NodeCredentials{}, nil
}
func (noAccounts) AddToken(console.NewToken) (console.NewTokenMade, error) {
	return console.NewTokenMade{Token: console.Token{Rights: []access.Right{}}}, nil
}
func (noAccounts) RevokeToken(string) error               { return nil }
func (noAccounts) Operators() ([]console.Operator, error) { return nil, nil }
func (noAccounts) RevokeOperator(string) error            { return nil }
func (noAccounts) AddOperator(console.NewOperator) (console.OperatorLink, error) {
	return console.OperatorLink{Name: "kim"}, nil
}

func token(t *testing.T, b *access.Book, name, node string, rights ...access.Right) string {
	t.Helper()
	secret, err := b.AddToken(access.Token{Name: name, Rights: rights, Node: node}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// with sends a request with a token.
func (s *site) with(secret, method, path, contentType, body string) *answer {
	s.t.Helper()
	s.secret = secret
	defer func() { s.secret = "" }()
	return s.send(s.request(method, path, contentType, body))
}

// O-13, O-21: every route has its right, POST /v1/report one of its own. Without
// a token the answer is 401, with every right but that 403, with that alone it is
// neither.
func TestO21EveryRouteHasItsRight(t *testing.T) {
	s, book := everyRoute(t)
	all := slices.DeleteFunc(slices.Clone(access.Rights), func(r access.Right) bool { return r == access.Enroll })
	only, without := map[access.Right]string{}, map[access.Right]string{}
	for _, r := range all {
		only[r] = token(t, book, "only-"+string(r), "", r)
		without[r] = token(t, book, "without-"+string(r), "", slices.DeleteFunc(slices.Clone(all), func(x access.Right) bool { return x == r })...)
	}
	seen := 0
	for path, item := range s.doc.Paths {
		for method, op := range operations(item) {
			name := method + " " + path
			right, known := wantRights[name]
			if !known {
				t.Errorf("%s is not in the table of rights", name)
				continue
			}
			seen++
			documented := access.Public
			if len(op.Security) > 0 {
				documented = access.Right(op.Security[0]["token"][0])
			}
			if documented != right {
				t.Errorf("%s needs the right %s, want %s", name, documented, right)
			}
			at := strings.NewReplacer("{name}", "s1", "{code}", "busy").Replace(path)
			if right == access.Public {
				if a := s.with("", method, at, "", ""); a.status == http.StatusUnauthorized {
					t.Errorf("%s without a token: 401, want it to be public", name)
				}
				continue
			}
			a := s.with("", method, at, "", "")
			a.refusedAs(http.StatusUnauthorized, "not_authenticated")
			if got := a.header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer") {
				t.Errorf("%s: WWW-Authenticate = %q, want Bearer", name, got)
			}
			s.with("mst_guess", method, at, "", "").refusedAs(http.StatusUnauthorized, "not_authenticated")
			if right == access.Enroll {
				continue
			}
			s.with(without[right], method, at, "", "").refusedAs(http.StatusForbidden, "not_allowed")
			if a := s.with(only[right], method, at, "", ""); strings.Contains(a.body, "not_allowed") || a.status == http.StatusUnauthorized {
				t.Errorf("%s with the right %s: %d %s", name, right, a.status, a.body)
			}
		}
	}
	if seen != len(wantRights) {
		t.Errorf("%d routes, the table of rights has %d", seen, len(wantRights))
	}
	// The report closes windows for who may administer only.
	s.with(only[access.Report], http.MethodPost, "/v1/report?close_now=true", "", "").refusedAs(http.StatusForbidden, "not_allowed")
}

// Attack row 12: a token of a node speaks for it alone; what it sends in another
// name is 403 wrong_node, kept as rejected, and counts nowhere.
func TestTokenOfANode(t *testing.T) {
	var seen []access.Refusal
	s, book := everyRoute(t, func(o *console.Options) {
		o.OnRefusal = func(r access.Refusal) { seen = append(seen, r) }
	})
	app := token(t, book, "app", "n1", access.Events, access.Allow)
	send := func(path, body string) *answer {
		return s.with(app, http.MethodPost, path, "application/json", body)
	}
	send("/v1/events", `{"id":"1","meter":"renders"}`).is(http.StatusAccepted)
	send("/v1/events?node=n1", `{"id":"2","node":"n1","meter":"renders"}`).is(http.StatusAccepted)
	send("/v1/events?node=n2", `{"id":"3","meter":"renders"}`).refusedAs(http.StatusForbidden, "wrong_node")
	send("/v1/events", `{"id":"4","node":"n2","meter":"renders"}`).refusedAs(http.StatusForbidden, "wrong_node")
	batch := send("/v1/events", `[{"id":"5","meter":"renders"},{"id":"6","node":"n2","meter":"renders"}]`).is(http.StatusAccepted)
	if !strings.Contains(batch.body, `"code":"stored"`) || !strings.Contains(batch.body, `"code":"wrong_node"`) {
		t.Errorf("batch = %s, want one stored and one wrong_node", batch.body)
	}
	s.with(app, http.MethodGet, "/v1/allow?meter=renders&node=n2", "", "").refusedAs(http.StatusForbidden, "wrong_node")
	s.secret = token(t, book, "reader", "", access.Read)
	if _, n := s.total("renders"); n != 3 {
		t.Errorf("%d events counted, want 3", n)
	}
	for _, n := range s.store.Status().Nodes {
		if n.Name != "n1" {
			t.Errorf("node %s is in the ledger, want n1 alone", n.Name)
		}
	}
	kept := 0
	for _, r := range s.refused {
		if r.reason == "wrong_node" && r.node == "n1" {
			kept++
		}
	}
	if kept != 3 {
		t.Errorf("kept as rejected: %v, want 3 of wrong_node of n1", s.refused)
	}
	noted := slices.ContainsFunc(seen, func(r access.Refusal) bool {
		return r.Reason == "wrong_node" && r.Node == "n1" && r.Token == "app" && r.Remote == "127.0.0.1"
	})
	if !noted {
		t.Errorf("refusals %+v, want wrong_node of n1", seen)
	}
}

// Who comes from this machine needs no token, unless that is wanted; whoever
// passes requests of others on does.
func TestWhoNeedsAToken(t *testing.T) {
	s, book := everyRoute(t, func(o *console.Options) { o.LoopbackToken = false })
	s.get("/v1/usage").is(http.StatusOK)
	for _, header := range []string{"X-Forwarded-For", "Forwarded", "X-Real-IP"} {
		r := s.request(http.MethodGet, "/v1/usage", "", "")
		r.Header.Set(header, "192.0.2.1")
		s.send(r).refusedAs(http.StatusUnauthorized, "not_authenticated")
	}
	s.with("mst_old", http.MethodGet, "/v1/usage", "", "").refusedAs(http.StatusUnauthorized, "not_authenticated")
	// A token is worth the same under any name of the daemon; nothing else is.
	read := token(t, book, "read", "", access.Read)
	r := s.request(http.MethodGet, "/v1/usage", "", "")
	r.Host = "meter.plant.example"
	s.send(r).refusedAs(http.StatusMisdirectedRequest, "wrong_host")
	r = s.request(http.MethodGet, "/v1/usage", "", "")
	r.Host = "meter.plant.example"
	r.Header.Set("Authorization", "bearer "+read)
	s.send(r).is(http.StatusOK)
}
