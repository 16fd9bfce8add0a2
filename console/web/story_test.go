package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/browsertest"
	"github.com/meterseal/meterseal/internal/pages"
)

// The configurations of the story, in the order in which its operator writes them.
const (
	emptyConfig = "site: {name: plant north}\nwindows: {length: 1m, lateness: 0s}\n"
	firstConfig = emptyConfig + `license: {key_file: acme.key, solution_name: renderd}
seats:
  - {id: cad, count: 2, lease: 10m}
meters:
  - {id: documents.processed, unit: document, aggregation: count}
`
	secondConfig = firstConfig + "  - {id: pages.scanned, unit: page, scale: 2, aggregation: sum}\n"
)

// story is a tab whose pages are looked at as the story goes on.
type story struct {
	*browsertest.Tab
	*site
	n int
}

// look looks at a page of the story in both themes: axe-core finds nothing serious,
// and it obeys its own policy.
func (s *story) look(name string) {
	s.t.Helper()
	s.n++
	for _, theme := range []string{"dark", "light"} {
		s.Theme(theme).Screenshot(fmt.Sprintf("story-%02d-%s-%s", s.n, name, theme))
	}
	s.Accessible()
}

// The operator's story: an empty site becomes one with a license, usage and seats,
// in a real browser, against real processes of site and vendor. // P-26, Y-11, P-27
func TestOperatorsStory(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: browsers are driven in the run without the race detector")
	}
	b := browsertest.New(t)
	s := start(t, emptyConfig)
	s.license(time.Now().UTC().AddDate(1, 0, 0), 2)
	st := &story{Tab: b.Open(s.url), site: s}
	st.firstStart()
	st.firstEvent()
	st.rejectedAndReplayed()
	st.seatReleased()
	st.reportAndReply()
	st.othersRefused(b)
}

func (s *story) firstStart() {
	s.Go("/").Sees("evaluating", "First steps", "Declare a meter", "Waiting for the first event")
	s.look("empty")
	s.Go(s.link).Sees("Nobody is an operator of this site yet")
	s.look("welcome")
	s.signIn(s.Tab).Sees("You are signed in.")
	s.serve(firstConfig, program(s.t, "meterseal"))
	s.Go("/sign-in").Fill("Name", "ana").Fill("Password", password).Click("Sign in").Sees("ana", "2 meters are declared.", "The license key is in place.", "Waiting for the first event.")
	s.look("waiting")
}

// publish sends an event as a program with a NATS client does, and returns what it
// is told.
func (s *site) publish(meter, body string) (told struct {
	Error *struct {
		Description string `json:"description"`
	} `json:"error"`
}) {
	s.t.Helper()
	nc, err := nats.Connect(s.nats)
	if err != nil {
		s.t.Fatal(err)
	}
	defer nc.Close()
	m, err := nc.Request("usage.renderer-1."+meter, []byte(body), 10*time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal(m.Data, &told); err != nil {
		s.t.Fatalf("the answer to %s is %s: %v", body, m.Data, err)
	}
	return told
}

// firstEvent: the page says by itself that it came, and shows the number that the
// API answers.
func (s *story) firstEvent() {
	if told := s.publish("documents.processed", `{"id":"e1","user":"kim"}`); told.Error != nil {
		s.t.Fatalf("the event was refused: %s", told.Error.Description)
	}
	s.Sees("Usage is counted.")
	if n := browsertest.Eval[int](s.Tab, `document.querySelectorAll("#first .done").length`); n != 4 {
		s.t.Errorf("%d of the first steps are done, want 4: all but the reply", n)
	}
	s.look("first-event")
	s.publish("documents.processed", `{"id":"e2"}`)
	s.publish("documents.processed", `{"id":"e2"}`) // again: it counts once
	s.tableIsAPI("documents.processed", "2")
}

// tableIsAPI compares what home and usage show of a meter with what the API says,
// which has to be want.
func (s *story) tableIsAPI(meter, want string) {
	s.t.Helper()
	var status console.Status
	s.ask("GET", "/v1/status", nil, &status)
	got := "no such meter"
	for _, m := range status.Meters {
		if m.ID == meter {
			got = pages.Quantity(*m.Period, m.Scale)
		}
	}
	if got != want {
		s.t.Errorf("GET /v1/status has %s of %s in this period, want %s", got, meter, want)
	}
	of := func(js string) string {
		return browsertest.Eval[string](s.Tab, fmt.Sprintf(`(() => { const row = [...document.querySelectorAll("#used tbody tr")].find((r) => r.cells[0].innerText.trim().startsWith(%q)); return %s; })()`, meter, js))
	}
	s.Go("/")
	if shown := of(`row ? row.cells[1].innerText.split(" ")[0] : "no row"`); shown != want {
		s.t.Errorf("the overview shows %s of %s, want %s", shown, meter, want)
	}
	s.Go("/usage?range=today&meter=" + meter)
	if shown := browsertest.Eval[string](s.Tab, `(document.querySelector("section.card dd strong") ?? {innerText: "nothing"}).innerText`); shown != want {
		s.t.Errorf("the page of usage shows %s of %s, want %s", shown, meter, want)
	}
}

// rejectedAndReplayed: an event of a meter that nobody declared stands on the page
// with its reason, and counts once after it was.
func (s *story) rejectedAndReplayed() {
	s.look("usage")
	if told := s.publish("pages.scanned", `{"id":"r1","quantity":12.5}`); told.Error == nil || !strings.Contains(told.Error.Description, "pages.scanned") {
		s.t.Errorf("the answer to an event of an unknown meter is %+v, want an error that names it", told.Error)
	}
	if told := s.publish("documents.processed", `{"id":"r2","quantity":"many"}`); told.Error == nil {
		s.t.Error("an event with the quantity many was taken")
	}
	s.Click("Rejected").Sees("unknown_meter", "pages.scanned", "renderer-1")
	s.look("rejected")
	s.Click("1").Sees("What came", "12.5", "What to do")
	s.look("rejected-one")
	s.serve(secondConfig, program(s.t, "meterseal"))
	s.Go("/sign-in?next=/rejected").Fill("Name", "ana").Fill("Password", password).Click("Sign in").Sees("unknown_meter")
	browsertest.Eval[any](s.Tab, `document.querySelector("button[aria-label='Replay all of unknown_meter']").focus()`)
	s.Press(browsertest.KeyEnter).Sees("What became of each", "stored")
	s.look("replayed")
	s.tableIsAPI("pages.scanned", "12.50")
	s.Go("/rejected")
	browsertest.Eval[any](s.Tab, `document.querySelector("button[aria-label='Replay all of unknown_meter']").focus()`)
	s.Press(browsertest.KeyEnter).Sees("There was nothing to replay")
	s.tableIsAPI("pages.scanned", "12.50") // once
}

// takes asks for a seat and returns the HTTP status.
func (s *site) takes(holder string) int {
	s.t.Helper()
	r, err := http.NewRequest("PUT", s.url+"/v1/seats/cad/"+holder+"?node=office-7", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func (s *story) seatReleased() {
	for _, x := range []struct {
		holder string
		want   int
	}{{"lee", http.StatusCreated}, {"kim", http.StatusCreated}, {"ana", http.StatusGone}} {
		if got := s.takes(x.holder); got != x.want {
			s.t.Errorf("PUT /v1/seats/cad/%s = %d, want %d", x.holder, got, x.want)
		}
	}
	s.Go("/").Click("Seats").Click("cad").Sees("2 of 2", "lee", "kim")
	s.look("seats")
	s.Choose("Whose", "lee").Fill("Why", "the machine is broken").Click("Release the seat").Sees("The seat is free", "1 of 2").Lacks("lee")
	if got := s.takes("ana"); got != http.StatusCreated {
		s.t.Errorf("PUT /v1/seats/cad/ana after a release = %d, want 201", got)
	}
}

// reportAndReply: the report is read, downloaded, and carried to the vendor; what
// his reply would change is shown before it does.
func (s *story) reportAndReply() {
	s.Click("Overview").Click("Export a report").Sees("What your vendor will see")
	s.look("reports")
	s.Check("standard").Click("Go on and read it").Sees("Line by line", "Nothing else will leave")
	s.look("read")
	s.Fill("Why", "the first one")
	file := s.Download(s.t.TempDir(), func() { s.Click("Download the report") })
	report, err := os.ReadFile(file)
	if err != nil || !strings.HasSuffix(file, ".usage") || strings.Contains(string(report), "kim") {
		s.t.Errorf("the report is %d bytes in %s, %v; want a .usage file without a user", len(report), filepath.Base(file), err)
	}
	s.vendor("accept", "--out", s.path("replies"), file)
	replies, err := filepath.Glob(s.path("replies/*.reply"))
	if err != nil || len(replies) != 1 {
		s.t.Fatalf("the vendor gives %q, %v; want one reply", replies, err)
	}
	s.Go("/").Click("Import the reply").Attach("A reply, a license or a license key", replies[0]).Click("Look at it").Sees("Nothing has changed yet", "the vendor counted what this ledger has")
	s.look("import")
	serial := func() uint64 {
		var d console.LicenseDetail
		s.ask("GET", "/v1/license", nil, &d)
		return d.Serial
	}
	if n := serial(); n != 0 {
		s.t.Errorf("the license has serial %d after a dry run, want 0", n)
	}
	s.Click("Take it into use").Sees("Licenses and receipts that were taken into use")
	if n := serial(); n == 0 {
		s.t.Error("the license has serial 0 after the import, want that of the reply")
	}
	s.look("license")
	year := time.Now().UTC().AddDate(1, 0, 0).Format(time.DateOnly)
	s.Go("/").Sees("The license holds.", "Report due", "License ends", year).Lacks("First steps")
	s.look("active")
	s.Go("/reports").Sees("the first one", "receipt")
	s.look("exported")
}

// othersRefused: who is not signed in is asked to, and who has no right is told the
// way out.
func (s *story) othersRefused(b *browsertest.Browser) {
	s.Go("/").Click("Sign out").Sees("You are signed out.", "The license holds.")
	s.Go("/reports").Click("Go on and read it").Sees("This needs an operator with the right report")
	s.look("sign-in")
	link := strings.TrimSpace(s.says("operator", "add", "kim", "--rights", "read", "--quiet"))
	kim := b.Open(s.url)
	kim.Go(strings.TrimPrefix(link, s.url)).Fill("New password", password).Fill("The same again", password).Click("Set it and sign in").Sees("kim", "Sign out")
	kim.Go("/reports")
	if browsertest.Eval[bool](kim, `[...document.querySelectorAll("main button")].some((b) => b.innerText.includes("Go on and read it"))`) {
		kim.Click("Go on and read it")
	} else {
		kim.Go("/reports/read")
	}
	kim.Sees("report", "ask who runs this site for it").Accessible().Screenshot("story-refused")
}
