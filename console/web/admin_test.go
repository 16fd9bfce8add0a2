package web_test

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/console"
)

// A person is somebody with a browser of his own: it keeps cookies, and says from
// where a form is sent.
type person struct {
	t    *testing.T
	url  string
	http http.Client
}

// signedIn opens a one-time link and chooses a password.
func (s *site) signedIn(link, name string) *person {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	p := &person{t: s.t, url: s.url, http: http.Client{Jar: jar}}
	u, err := url.Parse(link)
	if err != nil {
		s.t.Fatal(err)
	}
	status, page := p.posts("/welcome", url.Values{"link": {u.Query().Get("link")}, "name": {name}, "password": {password}, "repeated": {password}})
	if status != http.StatusOK || !strings.Contains(page, "Sign out") {
		s.t.Fatalf("%s used the link %s = %d %s, want a page with Sign out", name, link, status, page)
	}
	return p
}

// posts sends a form and returns the page that he ends up at.
func (p *person) posts(path string, form url.Values) (status int, page string) {
	p.t.Helper()
	return p.sends("POST", path, form)
}

// sees returns a page, which has to be there.
func (p *person) sees(path string) string {
	p.t.Helper()
	status, page := p.sends("GET", path, nil)
	if status != http.StatusOK {
		p.t.Fatalf("GET %s = %d %s, want 200", path, status, page)
	}
	return page
}

func (p *person) sends(method, path string, form url.Values) (status int, page string) {
	p.t.Helper()
	r, err := http.NewRequest(method, p.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if method == "POST" {
		r.Header.Set("Origin", p.url)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := p.http.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// shows fails the test if a page misses one of words.
func shows(t *testing.T, what, page string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(page, w) {
			t.Errorf("%s has no %q", what, w)
		}
	}
}

var secretOnPage = regexp.MustCompile(`(?s)class="secret"[^>]*>(.*?)</(pre|code)>`)

// secretOf returns what a page shows once.
func secretOf(t *testing.T, page string) string {
	t.Helper()
	m := secretOnPage.FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("page shows no secret: %s", page)
	}
	return html.UnescapeString(m[1])
}

// X-14, O-13: a node is added on its page, connects with the credentials that were
// shown, once, is seen there with the numbers of the API, gets new ones, and is
// revoked.
func TestNodePages(t *testing.T) {
	s := start(t, siteConfig)
	ana := s.signedIn(s.link, "ana")
	status, page := ana.posts("/nodes", url.Values{"name": {"no spaces"}})
	if status != http.StatusBadRequest {
		t.Errorf("adding a node of a bad name = %d, want 400", status)
	}
	shows(t, "the form that was refused", page, `value="no spaces"`, "letters, digits", "<code>malformed</code>")

	_, page = ana.posts("/nodes", url.Values{"name": {"render-1"}})
	creds := secretOf(t, page)
	shows(t, "the page with credentials", page, "_INBOX.render-1", `download="render-1.creds"`, "data:application/octet-stream;base64,")
	s.write("render-1.creds", creds)
	c, err := nats.Connect(s.nats, nats.UserCredentials(s.path("render-1.creds")), nats.CustomInboxPrefix("_INBOX.render-1"))
	if err != nil {
		t.Fatalf("connect with the credentials of the page: %v", err)
	}
	defer c.Close()
	js, err := c.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b", "b"} {
		if _, err := js.Publish("usage.render-1.documents.processed", []byte(`{}`), nats.MsgId(id)); err != nil {
			t.Fatalf("publish %s: %v", id, err)
		}
	}
	var n console.Node
	for n.Account == nil || n.Account.Accepted < 2 {
		s.ask("GET", "/v1/nodes/render-1", nil, &n)
	}
	page = ana.sees("/nodes/render-1")
	shows(t, "the page of the node", page, n.Keys[0].Key, fmt.Sprintf("<strong>%d</strong></td><td>stored on disk", n.Account.Accepted), "GET /v1/nodes/render-1", "meterseal node list", "Spool")
	seed := regexp.MustCompile(`SU[A-Z2-7]{50,}`).FindString(creds)
	for _, path := range []string{"/nodes", "/nodes/render-1", "/access"} {
		if page := ana.sees(path); seed == "" || strings.Contains(page, seed) {
			t.Errorf("GET %s has the secret %q of the node", path, seed)
		}
	}
	_, page = ana.posts("/nodes/render-1/rotate", url.Values{"grace": {"3600"}})
	if again := secretOf(t, page); again == creds {
		t.Error("rotating gave the same credentials")
	}
	shows(t, "the page after rotating", ana.sees("/nodes/render-1"), ", replaced")
	closed := make(chan struct{})
	c.SetDisconnectErrHandler(func(*nats.Conn, error) { close(closed) })
	_, page = ana.posts("/nodes/render-1/revoke", nil)
	shows(t, "the page after revoking", page, "The node is revoked", "Add it again")
	<-closed
	if _, page := ana.posts("/nodes/nobody/revoke", nil); !strings.Contains(page, "<code>not_found</code>") {
		t.Errorf("revoking a node that is not there shows %s, want not_found", page)
	}
}

// nodes are found, ordered and paged; the silent ones stand first.
func TestNodeList(t *testing.T) {
	s := start(t, siteConfig)
	for i := range 103 {
		s.ask("POST", "/v1/nodes", fmt.Sprintf(`{"name":"n-%03d"}`, i), nil)
	}
	page := s.page("/nodes?sort=name")
	shows(t, "the first page", page, "103 nodes", ">n-000<", ">n-099<", "cursor=100")
	if strings.Contains(page, ">n-100<") {
		t.Error("the first page has more than 100 nodes")
	}
	shows(t, "the second page", s.page("/nodes?sort=name&cursor=100"), ">n-100<", ">n-102<", "First page")
	shows(t, "a search", s.page("/nodes?q=N-10"), "3 nodes with", ">n-101<")
	shows(t, "a search for nothing", s.page("/nodes?q=zzz"), "No node has", "Show all")
}

// X-14, O-13: pages that show what the API says, and change little.
func TestAdminPages(t *testing.T) {
	s := start(t, siteConfig)
	ana := s.signedIn(s.link, "ana")
	for name, test := range map[string]func(*testing.T, *site, *person){"seats": testSeatPages, "meters": testMeterPages, "health": testHealthPage, "settings": testSettingsPage} {
		t.Run(name, func(t *testing.T) { test(t, s, ana) })
	}
}

// The pages of seats have the numbers of the API, and take a seat away.
func testSeatPages(t *testing.T, s *site, ana *person) {
	shows(t, "an empty pool", s.page("/seats/cad"), "Nobody holds a seat", "0 of 3")
	s.ask("PUT", "/v1/seats/cad/lee%40ws-12?node=office-7", `{"user":"lee","host":"ws-12","ip":"10.1.2.3"}`, nil)
	s.ask("PUT", "/v1/seats/cad/kim%40ws-9?node=office-7", `{"user":"kim","host":"ws-9","borrow":"8h"}`, nil)
	shows(t, "/seats", s.page("/seats"), "2 of 3 seats taken", "meterseal seat list")
	shows(t, "/seats/cad", s.page("/seats/cad"), "<strong>1</strong> borrowed", "lee@ws-12", "10.1.2.3", "office-7", "30 days", "meterseal seat list cad")
	status, page := ana.posts("/seats/cad/release", url.Values{"holder": {"kim@ws-9"}})
	if status != http.StatusBadRequest || !strings.Contains(page, `value="kim@ws-9" selected`) {
		t.Errorf("release without reason = %d %s, want 400 with what was chosen", status, page)
	}
	_, page = ana.posts("/seats/cad/release", url.Values{"holder": {"kim@ws-9"}, "reason": {"the laptop is broken"}})
	shows(t, "the page after it", page, "The seat is free", "1 of 3")
	var p console.PoolStatus
	if s.ask("GET", "/v1/seats/cad", nil, &p); p.Taken != 1 || p.Borrowed != 0 || p.Seats[0].Holder != "lee@ws-12" {
		t.Errorf("pool = %+v, want lee alone", p)
	}
}

// Meters with what the API says of them, and what an event would count.
func testMeterPages(t *testing.T, s *site, ana *person) {
	s.uses("renderer-1", "a1", "12.5")
	shows(t, "/meters", s.page("/meters"), "render.pages", "page.rendered", "1,000.00", "meterseal meter list")
	shows(t, "/meters/render.pages", s.page("/meters/render.pages"), "$.pages", "$.format", "may be voided and amended", "1,000.00")
	before := s.ask("GET", "/v1/meters", nil, nil)
	typed := `[{"id":"t1","node":"n1","meter":"render.pages","quantity":1.25,"dimensions":{"format":"pdf"}},{"id":"t2","node":"n1","meter":"nope"}]`
	_, page := ana.posts("/meters", url.Values{"form": {"application/json"}, "events": {typed}})
	shows(t, "the test", page, "would count", "1.25 page", "format=pdf", "would be refused", "unknown_meter", html.EscapeString(typed))
	_, page = ana.posts("/meters", url.Values{"form": {"application/json"}, "events": {"[{"}})
	shows(t, "a test of nonsense", page, "[{</textarea>")
	if after := s.ask("GET", "/v1/meters", nil, nil); after != before {
		t.Errorf("a test changed the meters: %s, were %s", after, before)
	}
}

// Health with the words of the API, and the bundle read before it leaves.
func testHealthPage(t *testing.T, s *site, ana *person) {
	var h console.Health
	s.ask("GET", "/v1/health", nil, &h)
	page := html.UnescapeString(s.page("/health"))
	for _, c := range h.Checks {
		shows(t, "/health", page, c.Name, c.Hint)
	}
	_, page = ana.posts("/health/support/preview", nil)
	shows(t, "the preview", page, "README.txt", "settings.txt", "data:application/gzip;base64,H4sI")
	status, bundle := ana.posts("/health/support", nil)
	if status != http.StatusOK || !strings.HasPrefix(bundle, "\x1f\x8b") {
		t.Errorf("download of the bundle = %d, %d bytes; want a gzip", status, len(bundle))
	}
}

// Each setting with where it came from; what was changed stands first.
func testSettingsPage(t *testing.T, s *site, _ *person) {
	page := s.page("/settings")
	var c console.Config
	s.ask("GET", "/v1/config", nil, &c)
	for _, x := range c.Settings {
		shows(t, "/settings", page, ">"+x.Key+"<", x.Variable)
	}
	shows(t, "/settings", page, "meterseal.yaml:1:", "acme.key", "meterseal config show")
	if a, b := strings.Index(page, ">windows.length<"), strings.Index(page, "settings that are the default"); a < 0 || a > b {
		t.Errorf("windows.length stands at %d, want it before the defaults at %d", a, b)
	}
}

// operators and tokens are made on the page of access, their secrets are
// shown once, and work; who has not the right admin sees none of it.
func TestAccessPage(t *testing.T) {
	s := start(t, siteConfig)
	ana := s.signedIn(s.link, "ana")
	status, page := ana.posts("/access/operators", url.Values{"operator-name": {"lee"}})
	if status != http.StatusBadRequest || !strings.Contains(page, `value="lee"`) {
		t.Errorf("an operator without rights = %d %s, want 400 and what was typed", status, page)
	}
	_, page = ana.posts("/access/operators", url.Values{"operator-name": {"lee"}, "operator-right": {"read", "report"}})
	link := secretOf(t, page)
	lee := s.signedIn(link, "lee")
	shows(t, "/access of lee", lee.sees("/access"), "signed in as <strong>lee</strong>", "meterseal operator add lee")
	for path, form := range map[string]string{"/access": `action="/access/`, "/nodes": `<form method="post" action="/nodes`, "/health": `action="/health/support`, "/seats/cad": "/release"} {
		if strings.Contains(lee.sees(path), form) {
			t.Errorf("%s shows lee, who has not the right admin, the form %s", path, form)
		}
		if !strings.Contains(ana.sees(path), form) && path != "/seats/cad" {
			t.Errorf("%s does not show ana the form %s", path, form)
		}
	}
	if status, page := lee.posts("/nodes", url.Values{"name": {"x"}}); status != http.StatusForbidden || !strings.Contains(page, "not_allowed") {
		t.Errorf("lee adds a node = %d %s, want 403 not_allowed", status, page)
	}
	_, page = ana.posts("/access/tokens", url.Values{"token-name": {"watcher"}, "token-right": {"read"}, "token-expires": {"86400"}})
	token := secretOf(t, page)
	asks := func() int {
		t.Helper()
		r, err := http.NewRequest("GET", s.url+"/v1/nodes", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := asks(); got != http.StatusOK {
		t.Errorf("request with the token = %d, want 200", got)
	}
	if page := ana.sees("/access"); strings.Contains(page, token) || strings.Contains(page, link) || !strings.Contains(page, "watcher") {
		t.Errorf("GET /access has a secret, or not the token: %s", page)
	}
	ana.posts("/access/tokens/revoke", url.Values{"name": {"watcher"}})
	if got := asks(); got != http.StatusUnauthorized {
		t.Errorf("request with the revoked token = %d, want 401", got)
	}
	_, page = ana.posts("/access/operators/revoke", url.Values{"name": {"lee"}})
	shows(t, "the page after it", page, "The operator is gone")
	if _, page := lee.sends("GET", "/access", nil); strings.Contains(page, "<strong>lee</strong>") {
		t.Error("lee is still signed in")
	}
}
