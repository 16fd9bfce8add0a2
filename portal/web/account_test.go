package web_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/credential"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/api"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
	"github.com/meterseal/meterseal/portal/web"
)

// A front is the pages and the API behind their gate, on a real listener.
type front struct {
	*portaltest.Vendor
	url   string
	pages *web.Server
	log   *logText
}

// logText is what was logged.
type logText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// password is that of every user of these tests.
const password = "three unlike words"

// newFront serves the pages of a vendor whose administrator is ana.
func newFront(t *testing.T, more ...func(*gate.Options)) *front {
	t.Helper()
	return frontOf(t, portaltest.New(t, ""), more...)
}

// frontOf serves the pages of a vendor.
func frontOf(t *testing.T, v *portaltest.Vendor, more ...func(*gate.Options)) *front {
	t.Helper()
	f := &front{Vendor: v, log: &logText{}}
	log := slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o := gate.Options{Portal: v.Portal, Now: v.Clock.Now, Log: log, PasswordCost: gate.CheapPasswordCost}
	for _, m := range more {
		m(&o)
	}
	g, err := gate.New(o)
	v.Must(err)
	programs, err := api.New(api.Options{Portal: v.Portal, Now: v.Clock.Now, Log: log, Version: "1.0.0"})
	v.Must(err)
	s, err := web.New(web.Options{Portal: v.Portal, Gate: g, Now: v.Clock.Now, Log: log, Version: "1.0.0", API: programs.Document()})
	v.Must(err)
	f.pages = s
	mux := http.NewServeMux()
	mux.Handle("/api/", programs.Handler())
	mux.Handle("/openapi.json", programs.Handler())
	mux.Handle("/", s.Handler())
	server := httptest.NewServer(g.Wrap(mux))
	t.Cleanup(server.Close)
	f.url = server.URL
	phc, err := g.HashPassword(t.Context(), password, "ana@vendor.example")
	v.Must(err)
	_, err = v.AddFirstUser(t.Context(), portal.User{Email: "ana@vendor.example", Name: "Ana"}, phc, "setup")
	v.Must(err)
	return f
}

// A client sends requests as a browser, or with headers of its own.
type client struct {
	f *front
	http.Client
	header http.Header
}

func (f *front) browser() *client {
	jar, err := cookiejar.New(nil)
	f.Must(err)
	return &client{f, http.Client{Jar: jar}, http.Header{"Origin": {f.url}}}
}

// program sends requests with a token.
func (f *front) program(token string) *client {
	return &client{f, http.Client{}, http.Header{"Authorization": {"Bearer " + token}}}
}

// send returns status, path after redirects and body. A form makes it a POST.
func (c *client) send(path string, form ...string) (int, string, string) {
	c.f.T.Helper()
	r, err := http.NewRequest("GET", c.f.url+path, nil)
	if form != nil {
		q := url.Values{}
		for i := 0; i < len(form); i += 2 {
			q.Add(form[i], form[i+1])
		}
		r, err = http.NewRequest("POST", c.f.url+path, strings.NewReader(q.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	c.f.Must(err)
	for name, v := range c.header {
		r.Header[name] = v
	}
	a, err := c.Do(r)
	c.f.Must(err)
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	c.f.Must(err)
	return a.StatusCode, a.Request.URL.Path, string(b)
}

// wants sends a request that has to be answered so, by a page with a text in it.
func (c *client) wants(status int, text, path string, form ...string) string {
	c.f.T.Helper()
	got, at, body := c.send(path, form...)
	if got != status || !strings.Contains(body, text) {
		c.f.T.Errorf("%s %v = %d at %s, want %d with %q:\n%s", path, form, got, at, status, text, shown(body))
	}
	return body
}

var shownPart = regexp.MustCompile(`(?s)<main.*</main>`)

func shown(body string) string {
	if m := shownPart.FindString(body); m != "" {
		return m
	}
	return body
}

func (c *client) signIn(email string) *client {
	c.f.T.Helper()
	if _, at, body := c.send("/sign-in", "email", email, "password", password); at == "/sign-in" {
		c.f.T.Fatalf("sign-in of %s: %s", email, shown(body))
	}
	return c
}

// between cuts what stands between two texts.
func between(t testing.TB, body, from, to string) string {
	t.Helper()
	_, rest, ok := strings.Cut(body, from)
	if !ok {
		t.Fatalf("%q is not in %s", from, shown(body))
	}
	text, _, _ := strings.Cut(rest, to)
	return text
}

// linkOf is the one-time link that a page shows, without the host.
func (f *front) linkOf(body string) string {
	return strings.TrimPrefix(strings.ReplaceAll(between(f.T, body, "<code>http://", "</code>"), "&amp;", "&"), strings.TrimPrefix(f.url, "http://"))
}

// join invites a user and lets him choose the password.
func (f *front) join(admin *client, email string, role portal.Role, customer string) *client {
	f.T.Helper()
	link := f.linkOf(admin.wants(200, "works once", "/users", "email", email, "role", string(role), "customer", customer))
	c := f.browser()
	c.wants(200, email, link)
	c.send("/welcome", "token", strings.TrimPrefix(link, "/welcome?token="), "password", password, "again", password)
	if _, at, body := c.send("/account"); at != "/account" {
		f.T.Fatalf("%s is not signed in after the one-time link: %s", email, shown(body))
	}
	return c
}

// What was typed when a session ends is not lost, but for secrets.
func TestFormsOutliveTheSession(t *testing.T) {
	f := newFront(t)
	ana := f.browser().signIn("ana@vendor.example")
	f.Clock.Add(3 * time.Hour)
	s := ana.wants(401, "Send it again", "/customers/new", "name", `Long "typed" <GmbH>`, "id", "long")
	if !strings.Contains(s, `<form method="post" action="/customers/new">`) || !strings.Contains(s, `name="name" value="Long &#34;typed&#34; &lt;GmbH&gt;"`) {
		t.Errorf("the page has lost what was typed:\n%s", shown(s))
	}
	if _, err := f.Customer(t.Context(), "long"); portaltest.Code(err) != portal.CodeNotFound {
		t.Fatalf("Customer(long) = %v, want none made by nobody", err)
	}
	s = ana.wants(401, "once more", "/account/password", "old", password, "password", "odd words number nine", "again", "odd words number nine")
	if strings.Contains(s, password) || strings.Contains(s, "number nine") {
		t.Errorf("the page shows a password:\n%s", shown(s))
	}
	ana.signIn("ana@vendor.example")
	ana.wants(200, "Long &#34;typed&#34;", "/customers/new", "name", `Long "typed" <GmbH>`, "id", "long")
}

// An administrator invites, roles bound what is seen, staff give customers
// logins, who is disabled is out at once.
func TestInvitations(t *testing.T) {
	f := newFront(t)
	ana := f.browser().signIn("ana@vendor.example")
	sam := f.join(ana, "sam@vendor.example", portal.RoleStaff, "")
	sam.wants(403, "may not open", "/users")
	link := f.linkOf(sam.wants(200, "works once", "/customers/acme/logins", "email", "kim@acme.example", "name", "Kim"))
	kim := f.browser()
	kim.wants(200, "Kim", link)
	token := strings.TrimPrefix(link, "/welcome?token=")
	kim.wants(400, "too short", "/welcome", "token", token, "password", "short", "again", "short")
	kim.wants(400, "not the same", "/welcome", "token", token, "password", password, "again", password+"x")
	kim.wants(400, "contains the address", "/welcome", "token", token, "password", "hello sam and kim12", "again", "hello sam and kim12")
	kim.send("/welcome", "token", token, "password", password, "again", password)
	kim.wants(200, "kim@acme.example", "/account")
	kim.wants(403, "may not open", "/customers")
	f.browser().wants(403, "was used", link)

	// Staff reach customers' users alone.
	u, err := f.User(t.Context(), "ana@vendor.example")
	f.Must(err)
	sam.wants(404, "no such login", "/customers/acme/logins/"+u.ID, "do", "disable")
	k, err := f.User(t.Context(), "kim@acme.example")
	f.Must(err)
	sam.wants(200, "is disabled", "/customers/acme/logins/"+k.ID, "do", "disable")
	kim.wants(200, "Sign in", "/account")
	kim.wants(401, "do not belong together", "/sign-in", "email", "kim@acme.example", "password", password)
	ana.wants(200, "may sign in again", "/users/"+k.ID+"/do", "do", "enable")
	kim.signIn("kim@acme.example")
	ana.wants(409, "last administrator", "/users/"+u.ID+"/do", "do", "disable")
	ana.wants(200, "kim@acme.example,Kim,customer,acme", "/users?format=csv")
}

// A password alone is not enough where there is a second factor; a code works once.
func TestSecondFactor(t *testing.T) {
	f := newFront(t)
	ana := f.browser().signIn("ana@vendor.example")
	other := f.browser().signIn("ana@vendor.example")
	secret := between(t, ana.wants(200, "QR code", "/account/totp"), "Secret <code>", "</code>")
	step := func() int64 { return f.Clock.Now().Unix() / 30 }
	ana.wants(400, "not the present one", "/account/totp", "secret", secret, "code", "000000", "password", password)
	ana.wants(403, "password is not right", "/account/totp", "secret", secret, "code", credential.TOTP(secret, step()), "password", "x")
	body := ana.wants(200, "not shown again", "/account/totp", "secret", secret, "code", credential.TOTP(secret, step()), "password", password)
	recovery := between(t, body, `<ul class="codes"><li><code>`, "</code>")

	c := f.browser()
	if _, at, _ := c.send("/sign-in", "email", "ana@vendor.example", "password", password); at != "/sign-in/code" {
		t.Fatalf("sign-in with a second factor leads to %s", at)
	}
	c.wants(200, "Sign in", "/account") // halfway is nobody
	c.wants(401, "was used", "/sign-in/code", "code", credential.TOTP(secret, step()))
	f.Clock.Add(time.Minute)
	c.wants(401, "not the present one", "/sign-in/code", "code", "123")
	c.send("/sign-in/code", "code", credential.TOTP(secret, step()))
	c.wants(200, "Recovery codes left: 10", "/account")

	c = f.browser()
	c.send("/sign-in", "email", "ana@vendor.example", "password", password)
	c.send("/sign-in/code", "code", " "+strings.ToUpper(recovery))
	c.wants(200, "Recovery codes left: 9", "/account")
	c.wants(200, "have ended", "/account/password", "old", password, "password", "other unlike words", "again", "other unlike words")
	other.wants(200, "Sign in", "/account")
	c.wants(403, "is not right", "/account/totp/remove", "password", password)
	c.wants(200, "not asked for any more", "/account/totp/remove", "password", "other unlike words")
}

// Where the vendor asks for a second factor, staff without one get no further than
// setting it up; customers are not asked.
func TestSecondFactorRequired(t *testing.T) {
	f := newFront(t, func(o *gate.Options) { o.SecondFactor = true })
	ana := f.browser().signIn("ana@vendor.example")
	if _, at, _ := ana.send("/customers"); at != "/account/totp" {
		t.Errorf("GET /customers without a second factor leads to %s, want /account/totp", at)
	}
	ana.wants(403, "second factor", "/customers/new", "id", "x", "name", "X")
	secret := between(t, ana.wants(200, "QR code", "/account/totp"), "Secret <code>", "</code>")
	ana.wants(200, "not shown again", "/account/totp", "secret", secret, "code", credential.TOTP(secret, f.Clock.Now().Unix()/30), "password", password)
	ana.wants(200, "Acme", "/customers")
	kim := f.join(ana, "kim@acme.example", portal.RoleCustomer, "acme")
	if _, at, _ := kim.send("/my"); at != "/my" {
		t.Errorf("GET /my of a customer leads to %s", at)
	}
}

// Sessions end when they are idle, after a day, by hand; signing in begins a new one.
func TestSessions(t *testing.T) {
	f := newFront(t)
	ana := f.browser().signIn("ana@vendor.example")
	u, err := url.Parse(f.url)
	f.Must(err)
	first := ana.Jar.Cookies(u)[0].Value
	ana.send("/sign-out", "x", "")
	ana.signIn("ana@vendor.example")
	if second := ana.Jar.Cookies(u)[0].Value; second == first {
		t.Error("the cookie is the same after another sign-in")
	}
	f.Clock.Add(119 * time.Minute)
	ana.wants(200, "this one", "/account")
	f.Clock.Add(121 * time.Minute)
	ana.wants(200, "Sign in", "/account")
	ana.signIn("ana@vendor.example")
	for range 23 {
		f.Clock.Add(time.Hour)
		ana.wants(200, "this one", "/account")
	}
	f.Clock.Add(time.Hour)
	ana.wants(200, "Sign in", "/account")

	ana.signIn("ana@vendor.example")
	f.Clock.Add(time.Second)
	other := f.browser().signIn("ana@vendor.example")
	ana.wants(200, "has ended", "/account/sessions/end", "x", "")
	other.wants(200, "Sign in", "/account")
	ana.wants(200, "this one", "/account")
}

// A token does what its scopes say, ends when they say, and never reaches the
// account it belongs to.
func TestTokens(t *testing.T) {
	f := newFront(t)
	ana := f.browser().signIn("ana@vendor.example")
	ana.wants(400, "scope is", "/account/tokens", "name", "x", "scope", "own")
	ana.wants(400, "one line", "/account/tokens", "name", "")
	make := func(form ...string) string {
		return between(t, ana.wants(200, "shown once", "/account/tokens", form...), "<code>"+portal.TokenPrefix, "</code>")
	}
	reader := f.program(portal.TokenPrefix + make("name", "reader", "scope", "read", "expires", f.Clock.Now().AddDate(0, 0, 2).Format(time.DateOnly)))
	all := f.program(portal.TokenPrefix + make("name", "all"))
	reader.wants(200, "Acme", "/customers")
	reader.wants(403, "may not open", "/customers/new")
	reader.wants(403, "may not open", "/users")
	all.wants(200, "ana@vendor.example", "/users")
	all.wants(403, "may not open", "/account")
	all.wants(403, "may not open", "/account/tokens", "name", "more")
	f.program("ms_guessed").wants(401, "unknown", "/")
	id := between(t, ana.wants(200, "reader", "/account/tokens"), `action="/account/tokens/`, "/revoke")
	ana.wants(200, "was revoked", "/account/tokens/"+id+"/revoke", "x", "")
	all.wants(401, "unknown", "/")
	f.Clock.Add(48 * time.Hour)
	reader.wants(401, "unknown", "/")
}

// Who is not let in learns nothing: the same words for a wrong password and an
// unknown address, and then the same wait.
func TestNoEnumeration(t *testing.T) {
	f := newFront(t)
	address := regexp.MustCompile(`value="[^"]*@vendor.example"`)
	for i := range 8 {
		c := f.browser()
		s1, _, known := c.send("/sign-in", "email", "ana@vendor.example", "password", "wrong horse battery")
		s2, _, unknown := c.send("/sign-in", "email", "eve@vendor.example", "password", "wrong horse battery")
		if known, unknown = address.ReplaceAllString(shown(known), ""), address.ReplaceAllString(shown(unknown), ""); s1 != s2 || known != unknown {
			t.Errorf("attempt %d: %d and %d, %s and %s, want the same", i, s1, s2, known, unknown)
		}
		if want := map[bool]int{true: 401, false: 429}[i < 5]; s1 != want {
			t.Errorf("attempt %d = %d, want %d", i, s1, want)
		}
	}
	// The right password waits too, and then it is right.
	f.browser().wants(429, "too many attempts", "/sign-in", "email", "ana@vendor.example", "password", password)
	f.Clock.Add(time.Minute)
	f.browser().signIn("ana@vendor.example")
	for _, secret := range []string{password, "wrong horse battery", "eve@vendor.example"} {
		if strings.Contains(f.log.String(), secret) {
			t.Errorf("the log shows %q: %s", secret, f.log)
		}
	}
}

// The way back after a sign-in stays on this portal.
func TestNext(t *testing.T) {
	f := newFront(t)
	for next, want := range map[string]string{"/customers?q=a": "/customers?q=a", "//evil.example/": "/", "https://evil.example": "/", `/\evil.example`: "/", "/sign-in?next=/": "/", "": "/"} {
		c := f.browser()
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		r, err := http.NewRequest("POST", f.url+"/sign-in", strings.NewReader(url.Values{"email": {"ana@vendor.example"}, "password": {password}, "next": {next}}.Encode()))
		f.Must(err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", f.url)
		a, err := c.Do(r)
		f.Must(err)
		a.Body.Close()
		if got := a.Header.Get("Location"); got != want {
			t.Errorf("sign-in with next %q leads to %q, want %q", next, got, want)
		}
	}
}
