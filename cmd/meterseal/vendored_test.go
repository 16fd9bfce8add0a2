package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/portal"
)

// vendoredSite is a site with the license of a real vendor. A file is the clock
// of its machine; the vendor's own clock is right.
type vendoredSite struct {
	*testSite
	vendor  *portal.Portal
	now     time.Time     // true time
	running time.Duration // of the site's machine
	wrong   time.Duration // how far its wall clock is off

	used    int      // events that were used, all of them sent
	billed  int64    // by the vendor's answers
	reports []string // that were accepted, in order
	replies []string
}

const documents = "documents.processed"

func newVendoredSite(t *testing.T, args ...string) *vendoredSite {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("METERSEAL_TEST_CLOCK", filepath.Join(dir, "clock"))
	s := &vendoredSite{now: time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)}
	p, err := portal.Init(context.Background(), portal.Options{Dir: filepath.Join(dir, "vendor"), Domain: "meter.example", KeyWorkFactor: 4,
		Now: func() time.Time { return s.now }, Passphrase: func() (string, error) { return "correct horse", nil }}, "2026")
	if err != nil {
		t.Fatal(err)
	}
	s.vendor = p
	t.Cleanup(func() { p.Close() })
	ctx := context.Background()
	if err := p.SetProduct(ctx, portal.Product{ID: "renderd", Name: "Renderer", Meters: []string{documents + " count document 0 no 0s"}}, "ana"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.SetCustomer(ctx, portal.Customer{ID: "acme", Name: "Acme GmbH"}, "ana"); err != nil {
		t.Fatal(err)
	}
	l, err := p.IssueLicense(ctx, portal.LicenseSpec{Customer: "acme", Product: "renderd", SolutionName: "renderd", Policy: "monthly-pay-per-use", Expires: "2027-10-31"})
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "acme.key")
	if err := os.WriteFile(key, []byte(l.Key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.testSite = newTestSite(t, append(args, "--license-key-file", key, "--solution-name", "renderd", "--store-max-size", "1GiB")...)
	s.pass(0)
	s.start()
	return s
}

// pass lets time pass.
func (s *vendoredSite) pass(d time.Duration) {
	s.t.Helper()
	s.now, s.running = s.now.Add(d), s.running+d
	s.setClock()
}

// step sets the wall clock of the machine.
func (s *vendoredSite) step(d time.Duration) {
	s.t.Helper()
	s.wrong += d
	s.setClock()
}

func (s *vendoredSite) setClock() {
	s.t.Helper()
	file := os.Getenv("METERSEAL_TEST_CLOCK")
	err := os.WriteFile(file+".new", fmt.Appendf(nil, "%s %d\n", s.now.Add(s.wrong).UTC().Format(time.RFC3339), int64(s.running/time.Second)), 0o600)
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// use sends n new events and returns them, to be sent again.
func (s *vendoredSite) use(n int) []string {
	s.t.Helper()
	var list []string
	for range n {
		s.used++
		list = append(list, fmt.Sprintf(`{"id":"e%d","meter":%q,"time":%q}`, s.used, documents, s.now.Add(s.wrong).UTC().Format(time.RFC3339)))
	}
	s.sends(list)
	return list
}

// sends sends events, each of which must be stored.
func (s *vendoredSite) sends(list []string) {
	s.t.Helper()
	for _, code := range s.offers(list) {
		if code != "stored" {
			s.t.Fatalf("send: %s", code)
		}
	}
}

// offers sends events and returns the answer to each.
func (s *vendoredSite) offers(list []string) (answers []string) {
	s.t.Helper()
	resp, err := http.Post(s.http+"/v1/events?node=n1", "application/json", strings.NewReader("["+strings.Join(list, ",")+"]"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Results []struct{ Code string } }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusAccepted {
		s.t.Fatalf("send: %s, %v", resp.Status, err)
	}
	for _, r := range answer.Results {
		answers = append(answers, r.Code)
	}
	return answers
}

// export writes a report. One that closed the window is followed by the next
// window.
func (s *vendoredSite) export(args ...string) string {
	s.t.Helper()
	out := filepath.Join(s.t.TempDir(), "site.usage")
	mustProgram(s.t, append([]string{"report", "export", "--http", s.http, "--out", out}, args...)...)
	if slices.Contains(args, "--close-now") {
		s.pass(15 * time.Minute) // what comes then is of a window that is open
	}
	return out
}

// uploads brings a report to the vendor.
func (s *vendoredSite) uploads(report string) *portal.Answer {
	s.t.Helper()
	b, err := os.ReadFile(report)
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := s.vendor.Accept(context.Background(), bytes.NewReader(b), portal.AcceptOptions{Actor: "kim"})
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// accepted uploads a report that has to be answered with a code: ok, explain or
// duplicate. It is an accident, so it is never refused.
func (s *vendoredSite) accepted(code, report string) *portal.Answer {
	s.t.Helper()
	a := s.uploads(report)
	if a.Refusal != nil || a.Code != code {
		s.t.Fatalf("upload = %s, refusal %v, findings %v; want %s", a.Code, a.Refusal, a.Findings, code)
	}
	if !a.Duplicate {
		s.reports = append(s.reports, report)
		for _, t := range a.Totals {
			s.billed += t.Value
		}
	}
	return a
}

// refused uploads a report that has to be refused with a code.
func (s *vendoredSite) refused(code, report string) *portal.Answer {
	s.t.Helper()
	a := s.uploads(report)
	if a.Refusal == nil || a.Code != code {
		s.t.Fatalf("upload = %s, refusal %v; want the refusal %s", a.Code, a.Refusal, code)
	}
	return a
}

// imports carries the reply of an answer in and returns its file.
func (s *vendoredSite) imports(a *portal.Answer) string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), a.ReplyName)
	if err := os.WriteFile(file, a.Reply, 0o600); err != nil {
		s.t.Fatal(err)
	}
	mustProgram(s.t, "import", "--http", s.http, file)
	s.replies = append(s.replies, file)
	return file
}

// round is one report out and one reply in.
func (s *vendoredSite) round(code string, args ...string) *portal.Answer {
	s.t.Helper()
	a := s.accepted(code, s.export(args...))
	s.imports(a)
	return a
}

// quiet is a round of a site whose node was not heard of all the time: nothing
// else is asked about.
func (s *vendoredSite) quiet(args ...string) {
	s.t.Helper()
	s.finds(s.round("explain", args...), "gap")
}

// finds fails unless the answer asks about all of codes, and about nothing else.
func (s *vendoredSite) finds(a *portal.Answer, codes ...string) {
	s.t.Helper()
	want, got := map[string]bool{}, map[string]bool{}
	for _, c := range codes {
		want["explain/"+c] = true
	}
	for _, f := range a.Findings {
		got[f.Code] = true
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Errorf("findings %v, want %v", a.Findings, codes)
	}
}

// usageReport is the classic report of complete days.
func (s *vendoredSite) usageReport() string {
	s.t.Helper()
	resp, err := http.Get(s.http + "/usageReport")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("GET /usageReport = %s, %v", resp.Status, err)
	}
	return string(b)
}

// state is license.state.
func (s *vendoredSite) state() string {
	s.t.Helper()
	_, out, _ := program(s.t, "status", "--http", s.http, "--json")
	var st struct{ License struct{ State string } }
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		s.t.Fatalf("status: %v in %s", err, out)
	}
	return st.License.State
}

// loses removes the data directory but for a copy of its keys, and returns where
// that is.
func (s *vendoredSite) loses() (keys string) {
	s.t.Helper()
	s.proc.Kill()
	keys = filepath.Join(s.t.TempDir(), "keys")
	copyTree(s.t, filepath.Join(s.dir, keysDir), keys)
	if err := os.RemoveAll(s.dir); err != nil {
		s.t.Fatal(err)
	}
	return keys
}
