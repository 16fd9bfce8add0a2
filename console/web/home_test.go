package web_test

import (
	"errors"
	"html"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/console/web"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// stand is how a license stands, for the real API.
type stand struct {
	console.Licensing
	l     *license.License
	facts license.Facts
	now   time.Time
}

func (s stand) License() console.License {
	l := console.License{Status: s.l.State(s.facts, s.now)}
	if s.l != nil {
		l.ID, l.Serial = "L-417", 3
	}
	if by := l.NextActionBy; by != nil {
		l.NextByLocal = by.In(berlin).Format("2006-01-02 15:04 MST")
	}
	return l
}

func (s stand) Describe() console.LicenseDetail {
	d := console.LicenseDetail{License: s.License()}
	add := func(name string, t *time.Time, then string) {
		if t != nil {
			d.Dates = append(d.Dates, console.LicenseDate{Name: name, UTC: *t, Local: t.In(berlin).Format("2006-01-02 15:04 MST"), Then: then})
		}
	}
	add("activate by", d.ActivateBy, "new nodes get no")
	add("report due", d.ReportBy, "grace of 14d begins")
	add("report grace", d.ReportGraceEnds, "new nodes get no")
	add("end", d.Ends, "grace of 14d begins")
	add("end of grace", d.GraceEnds, "new nodes get no")
	return d
}

var berlin = time.FixedZone("CET", 3600)

func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

// lastSecond is how dates of licenses end.
func lastSecond(s string) time.Time { return day(s).Add(24*time.Hour - time.Second) }

// pageOf is what the pages over a console without a store show.
func pageOf(t *testing.T, o console.Options, path string, cookies ...*http.Cookie) (int, string) {
	t.Helper()
	return pageOver(t, o, path, func(api http.Handler) http.Handler { return api }, cookies...)
}

// pageOver lets the pages ask what through makes of the API.
func pageOver(t *testing.T, o console.Options, path string, through func(http.Handler) http.Handler, cookies ...*http.Cookie) (int, string) {
	t.Helper()
	o.StoreDisabled, o.Version = true, "test"
	o.Pages = func(api http.Handler) http.Handler {
		s, err := web.New(web.Options{API: through(api), Zone: berlin, Now: o.Now})
		if err != nil {
			t.Fatal(err)
		}
		return s.Handler()
	}
	r := httptest.NewRequest("GET", "http://127.0.0.1"+path, nil)
	r.RemoteAddr = "127.0.0.1:4"
	r.Header.Set("Accept", "text/html")
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	console.New(o).ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

var (
	tags   = regexp.MustCompile(`<[^>]*>`)
	spaces = regexp.MustCompile(`\s+`)
	next   = regexp.MustCompile(`(?s)<section class="box next (\w+)".*?</section>`)
	button = regexp.MustCompile(`<a class="button" href="([^"]*)">([^<]*)</a>`)
)

// textOf is what people read of HTML.
func textOf(markup string) string {
	return strings.TrimSpace(spaces.ReplaceAllString(html.UnescapeString(tags.ReplaceAllString(markup, " ")), " "))
}

func aLicense() *license.License {
	grace := ledger.Dur{N: 14, Unit: 'd'}
	return &license.License{ID: "L-417", Serial: 3, SolutionName: "renderd", Type: license.TimeLimited, Enforcement: license.Soft, Start: day("2026-01-01"),
		End: lastSecond("2027-10-31"), Grace: grace, ReportBy: lastSecond("2027-01-31"), ReportGrace: grace, Site: "a.example/x"}
}

// R4.1, O-30: the first thing on the first page is what is to be done, by when, how
// long that is, what happens otherwise, and its button, in every state of a license.
func TestEveryStateAtHome(t *testing.T) {
	active := license.Facts{Activated: true}
	with := func(change func(*license.License)) *license.License {
		l := aLicense()
		change(l)
		return l
	}
	refused := func(code string) license.Facts {
		return license.Facts{Activated: true, Refused: &license.Error{Code: code, Message: "it is", Hint: "import the right license"}}
	}
	for _, c := range []struct {
		name, now              string
		l                      *license.License
		facts                  license.Facts
		state                  license.State
		kind, says, date, left string // date and left: empty if it has none
		then, button, leads    string
		service                error
	}{
		{"evaluating", "2026-11-23", nil, license.Facts{}, license.StateNone, "none", "Set license.key", "", "", "Usage is counted", "Install a license", "/docs/reference/config", nil},
		{"active", "2026-11-23", aLicense(), active, license.StateActive, "good", "Report, and import the reply, by 2027-01-31", "2027-01-31 23:59:59 UTC (2027-02-01 00:59 CET)", "69 days left", "Grace of 14d begins.", "Export a report", "/reports", nil},
		{"nothing to do", "2026-11-23", with(func(l *license.License) { l.End, l.ReportBy, l.Type = time.Time{}, time.Time{}, license.Perpetual }), active, license.StateActive, "good", "Nothing is to be done.", "", "", "", "", "", nil},
		{"due soon", "2027-01-30", aLicense(), active, license.StateActive, "warn", "Report, and import the reply, by 2027-01-31", "2027-01-31 23:59:59 UTC", "47 hours left", "Grace of 14d begins.", "Export a report", "/reports", nil},
		{"renewal", "2027-10-12", with(func(l *license.License) { l.ReportBy = time.Time{}; l.ContractEnd = l.End }), active, license.StateActive, "warn", "The contract ends: ask the vendor to renew it", "2027-10-31 23:59:59 UTC", "19 days left", "Grace of 14d begins.", "Renew: export a report", "/reports", nil},
		{"due", "2027-02-03", aLicense(), active, license.StateReportDue, "warn", "Report, and import the reply, by 2027-02-14", "2027-02-14 23:59:59 UTC", "11 days left", "New nodes get no.", "Export a report", "/reports", nil},
		{"overdue", "2027-02-20", aLicense(), active, license.StateReportOverdue, "bad", "it was due by 2027-02-14", "2027-02-14 23:59:59 UTC", "5 days over", "new ones are told no", "Export a report", "/reports", nil},
		{"grace", "2027-11-05", with(func(l *license.License) { l.ReportBy = time.Time{} }), active, license.StateExpiredGrace, "warn", "by 2027-11-14", "2027-11-14 23:59:59 UTC", "9 days left", "New nodes get no.", "Export a report", "/reports", nil},
		{"expired", "2027-12-05", with(func(l *license.License) { l.ReportBy = time.Time{} }), active, license.StateExpired, "bad", "it was due by 2027-11-14", "2027-11-14 23:59:59 UTC", "20 days over", "new ones are told no", "Export a report", "/reports", nil},
		{"suspended", "2026-11-23", with(func(l *license.License) { l.Suspended = true }), active, license.StateSuspended, "bad", "Ask the vendor why", "", "", "new ones are told no", "Import the reply", "/reports/import", nil},
		{"superseded", "2026-11-23", aLicense(), license.Facts{Activated: true, Superseded: true}, license.StateSuperseded, "bad", "Import the newest reply", "", "", "new ones are told no", "Import the reply", "/reports/import", nil},
		{"not started", "2025-12-22", aLicense(), active, license.StateNotStarted, "warn", "Nothing: the license starts at 2026-01-01", "2026-01-01 00:00:00 UTC", "10 days left", "told no", "Look at the license", "/license", nil},
		{"inactive", "2026-11-23", with(func(l *license.License) { l.ActivateBy = ledger.Dur{N: 30, Unit: 'd'} }), license.Facts{Opened: day("2026-11-20")}, license.StateInactive, "warn", "Export the first report and import the reply", "2026-12-20 00:00:00 UTC", "27 days left", "New nodes get no.", "Export a report", "/reports", nil},
		{"invalid", "2026-11-23", nil, refused("license_invalid"), license.StateInvalid, "bad", "Import the right license.", "", "", "Usage is not taken now", "Install a license", "/reports/import", nil},
		{"other solution", "2026-11-23", nil, refused(license.CodeSolutionName), license.StateMismatch, "bad", "Import the right license.", "", "", "Usage is not taken now", "Install a license", "/reports/import", nil},
		{"rolled back", "2026-11-23", aLicense(), license.Facts{Activated: true, RolledBack: "rolled_back"}, license.StateRolledBack, "bad", `Restore the ledger: see "meterseal restore --help"`, "", "", "Usage is not taken now", "How to restore", "/docs/how-to/backup-and-restore", nil},
		{"deactivated", "2026-11-23", aLicense(), license.Facts{Activated: true, Retired: true}, license.StateDeactivated, "bad", "a new ledger needs a new activation", "", "", "", "", "", nil},
		{"starting", "2026-11-23", aLicense(), active, license.StateActive, "none", "Nothing is to be done: the daemon starts.", "", "", "", "Look again", "/", console.ErrStarting},
		{"unhealthy", "2026-11-23", aLicense(), active, license.StateActive, "bad", "Events are not taken: the disk is full.", "", "", "", "What is wrong", "/health", errors.New("the disk is full")},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := stand{l: c.l, facts: c.facts, now: day(c.now)}
			if got := at.License().State; got != c.state {
				t.Fatalf("State = %s, want %s", got, c.state)
			}
			status, markup := pageOf(t, console.Options{Licensing: at, Now: func() time.Time { return day(c.now) }, Ready: func() error { return c.service }}, "/")
			box := next.FindStringSubmatch(markup)
			if status != http.StatusOK || box == nil {
				t.Fatalf("GET / = %d, %s; want a box with the next step", status, markup)
			}
			text := textOf(box[0])
			if before, _, _ := strings.Cut(markup[strings.Index(markup, "</h1>")+5:], `<section class="box next`); textOf(before) != "" {
				t.Errorf("before the next step the page says %q, want nothing", textOf(before))
			}
			if box[1] != c.kind {
				t.Errorf("kind = %s, want %s: %s", box[1], c.kind, text)
			}
			for _, want := range []string{c.says, c.date, c.left, c.then} {
				if !strings.Contains(text, want) {
					t.Errorf("the next step is %q, want %q in it", text, want)
				}
			}
			if got := strings.Contains(box[0], "<time"); got != (c.date != "") {
				t.Errorf("the next step has a date: %t, want %t: %s", got, c.date != "", text)
			}
			got := button.FindStringSubmatch(box[0])
			if c.button == "" && got != nil || c.button != "" && (got == nil || got[1] != c.leads || got[2] != c.button) {
				t.Errorf("button = %q, want %q that leads to %s", got, c.button, c.leads)
			}
			// Never by colour alone: the state stands there as a word.
			l := at.License()
			if word := l.Status.Words().Word; !strings.Contains(textOf(markup), "License "+word) {
				t.Errorf("the page does not say %q", word)
			}
		})
	}
}

// R4.2: a daemon that holds shows why, and nothing else.
func TestHomeOfARefusedStart(t *testing.T) {
	refused := &console.Problem{Status: 503, Code: "store_damaged", Message: "the store cannot be read", Hint: "restore it from a backup"}
	_, markup := pageOf(t, console.Options{Refused: refused, Licensing: stand{now: day("2026-11-23")}}, "/")
	text := textOf(markup)
	for _, want := range []string{"The daemon refused to start", "The store cannot be read.", "Restore it from a backup.", "store_damaged"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page says %q, want %q in it", text, want)
		}
	}
	for _, not := range []string{"<nav", "<table", "data-live", `id="now"`, `id="state"`} {
		if strings.Contains(markup, not) {
			t.Errorf("the page has %s, want nothing beside the refusal", not)
		}
	}
}

// Where the state cannot be had, the page says so, with a way on.
func TestHomeWithoutState(t *testing.T) {
	status, markup := pageOver(t, console.Options{}, "/", func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"status":503,"code":"store_unavailable","message":"the store does not answer","hint":"see the log of the daemon"}`))
		})
	})
	text := textOf(markup)
	for _, want := range []string{"The state of the daemon cannot be had", "The store does not answer.", "see the log", "Try again", "store_unavailable"} {
		if status != http.StatusServiceUnavailable || !strings.Contains(text, want) {
			t.Errorf("GET / = %d %q, want 503 with %q", status, text, want)
		}
	}
	if strings.Contains(text, "events/s") {
		t.Errorf("the page has numbers that nobody gave it: %s", text)
	}
}

var banner = regexp.MustCompile(`(?s)<section class="box banner (\w+)".*?</section>`)

// O-30: every page says what is due within 30 days; what is not late can be put off
// for a day, what is late or refused cannot.
func TestBanner(t *testing.T) {
	active := license.Facts{Activated: true}
	for _, c := range []struct {
		name, now  string
		l          *license.License
		facts      license.Facts
		kind, says string // empty: there is none
		later      bool
	}{
		{"far off", "2026-11-23", aLicense(), active, "", "", false},
		{"within 30 days", "2027-01-05", aLicense(), active, "warn", "26 days left", true},
		{"in grace", "2027-02-03", aLicense(), active, "warn", "11 days left", true},
		{"overdue", "2027-02-20", aLicense(), active, "bad", "5 days over", false},
		{"rolled back", "2026-11-23", aLicense(), license.Facts{Activated: true, RolledBack: "rolled_back"}, "bad", "Restore the ledger", false},
		{"evaluating", "2026-11-23", nil, license.Facts{}, "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := console.Options{Licensing: stand{l: c.l, facts: c.facts, now: day(c.now)}, Now: func() time.Time { return day(c.now) }}
			_, markup := pageOf(t, o, "/docs/")
			box := banner.FindStringSubmatch(markup)
			if c.kind == "" {
				if box != nil {
					t.Errorf("the page has a banner: %s", textOf(box[0]))
				}
				return
			}
			if box == nil || box[1] != c.kind || !strings.Contains(textOf(box[0]), c.says) {
				t.Fatalf("banner = %q, want %s with %q", box, c.kind, c.says)
			}
			key := regexp.MustCompile(`name="key" value="([^"]*)"`).FindStringSubmatch(box[0])
			if got := key != nil; got != c.later {
				t.Fatalf("it can be put off: %t, want %t", got, c.later)
			}
			if !c.later {
				return
			}
			put := &http.Cookie{Name: "meterseal_not_today", Value: html.UnescapeString(key[1])}
			if _, markup := pageOf(t, o, "/docs/", put); banner.MatchString(markup) {
				t.Error("a banner that was put off is there")
			}
			late := o
			late.Licensing = stand{l: c.l, facts: c.facts, now: day("2027-02-20")}
			late.Now = func() time.Time { return day("2027-02-20") }
			if _, markup := pageOf(t, late, "/docs/", put); !banner.MatchString(markup) {
				t.Error("what was put off is not there when it is late")
			}
		})
	}
}

// sends runs a program that the page shows.
// It tells whether the event was new.
func (s *site) sends(text string, command ...string) bool {
	s.t.Helper()
	if _, err := exec.LookPath(command[0]); err != nil {
		s.t.Logf("not run, %s is not here", command[0])
		return false
	}
	out, err := exec.Command(command[0], append(command[1:], text)...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"seq"`) && !strings.Contains(string(out), "202") {
		s.t.Errorf("%s: %v\n%s\n%s", command[0], err, out, text)
	}
	return !strings.Contains(string(out), "duplicate")
}

// A new site is led through its first steps, and what the page gives to copy sends a
// first event to this daemon.
func TestFirstEventBySnippet(t *testing.T) {
	s := start(t, strings.ReplaceAll(siteConfig, "license: {key_file: acme.key, solution_name: renderd}\n", ""))
	page := s.page("/")
	if !strings.Contains(page, "Waiting for the first event.") || strings.Contains(page, "Usage is counted.</strong>") {
		t.Fatalf("the first page of a new site = %s", textOf(page))
	}
	s.ask("PUT", "/v1/seats/cad/kim%40ws-9?node=office-7", `{"user":"kim"}`, nil) // is heard of, and no event
	if got := s.page("/"); !strings.Contains(got, "Waiting for the first event.") {
		t.Errorf("a seat is taken for the first event: %s", textOf(got))
	}
	texts := regexp.MustCompile(`(?s)<summary>([^<]*)</summary><div class="tell"><pre><code>(.*?)</code>`).FindAllStringSubmatch(page, -1)
	if len(texts) != 6 {
		t.Fatalf("the page has %d snippets, want 6", len(texts))
	}
	stored := 0
	for _, x := range texts {
		isNew := false
		name, text := x[1], html.UnescapeString(x[2])
		if at := s.url; name == "nats" || name == "Go" {
			if at = s.nats; !strings.Contains(text, at) {
				t.Errorf("%s: %s does not name %s", name, text, at)
			}
		} else if !strings.Contains(text, at) {
			t.Errorf("%s: %s does not name %s", name, text, at)
		}
		if !strings.Contains(text, "documents.processed") {
			t.Errorf("%s: %s does not name a meter", name, text)
		}
		switch name {
		case "curl":
			isNew = s.sends(text, "sh", "-ec")
		case "Python":
			isNew = s.sends(text, "python3", "-c")
		case "Node.js":
			isNew = s.sends(text, "node", "--input-type=module", "-e")
		}
		if isNew {
			stored++
		}
	}
	if page = s.page("/"); !strings.Contains(page, "Usage is counted.") || strings.Contains(page, "Waiting for the first event.") {
		t.Errorf("after the first event the page = %s", textOf(page))
	}
	if stored != 1 {
		t.Errorf("%d snippets were stored as new, want 1: all send the same event", stored)
	}
}

// O-30: a banner is put off by its form, in a browser without script, and not beyond
// it.
func TestBannerPutOff(t *testing.T) {
	s := start(t, siteConfig) // the first reply is due within 30 days
	page := s.page("/usage")
	if !banner.MatchString(page) {
		t.Fatalf("GET /usage = %s, want a banner", textOf(page))
	}
	key := regexp.MustCompile(`name="key" value="([^"]*)"`).FindStringSubmatch(page)
	if key == nil {
		t.Fatalf("GET /usage = %s, want a banner that can be put off", textOf(page))
	}
	o := s.operator()
	if got, at := o.form("/not-today", "key", html.UnescapeString(key[1]), "next", "/usage"); at != "/usage" || banner.MatchString(got) {
		t.Errorf("after POST /not-today %s = %s, want /usage without a banner", at, textOf(got))
	}
	if !banner.MatchString(s.page("/usage")) {
		t.Error("another browser has no banner either")
	}
	if _, at := o.form("/not-today", "key", "x", "next", "https://elsewhere.example/"); at != "/" {
		t.Errorf("POST /not-today leads to %s, want /", at)
	}
}
