package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
)

// variables asks the daemon for the device variables.
func (s *testSite) variables() map[string]string {
	s.t.Helper()
	var list struct{ Variables map[string]string }
	s.calls("GET", "/v1/variables", "", http.StatusOK, &list)
	return list.Variables
}

// calls sends a request and reads the answer into out, unless that is nil.
func (s *testSite) calls(method, path, body string, status int, out any) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, s.http+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		s.t.Fatalf("%s %s = %s, %v: %s; want %d", method, path, resp.Status, err, got, status)
	}
	if out != nil {
		if err := json.Unmarshal(got, out); err != nil {
			s.t.Fatal(err)
		}
	}
}

// sees fails unless the vendor has these variables of its only ledger.
func (s *vendoredSite) sees(when string, want map[string]string) {
	s.t.Helper()
	all, err := s.vendor.Ledgers(context.Background(), "")
	if err != nil || len(all) != 1 {
		s.t.Fatalf("Ledgers = %v, %v, want one", all, err)
	}
	if got := all[0].Variables; !maps.Equal(got, want) {
		s.t.Errorf("%s: the vendor has variables %v, want %v", when, got, want)
	}
}

// recordOf returns the only line of a report that begins with kind.
func recordOf(t *testing.T, report, kind string) string {
	t.Helper()
	b, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, kind+" ") {
			return strings.TrimSuffix(line, "\n")
		}
	}
	t.Fatalf("%s has no record %s", report, kind)
	return ""
}

// L-02, L-09, L-10: the first report and the last carry the device variables that
// site and applications have set; the vendor shows them, and the last report
// counts once however often it comes. They outlive a kill.
func TestL02L09L10Variables(t *testing.T) {
	ctx := context.Background()
	s := newVendoredSite(t, "--variable", "plant=Halle 7", "--variable", "tier=a")
	first := map[string]string{"plant": "Halle 7", "tier": "a"}
	report := s.export("--close-now")
	if got := recordOf(t, report, "boot"); !strings.Contains(got, " var.plant=Halle%207 var.tier=a vm=") {
		t.Errorf("boot = %q, want both variables in it", got)
	}
	if shown := mustProgram(t, "report", "show", "--format", "lines", report); !strings.Contains(shown, `plant "Halle 7"`) {
		t.Errorf("report show --format lines = %s, want the variable plant in words", shown)
	}
	s.imports(s.accepted("ok", report))
	s.sees("after the activation", first)

	m := opens(t, s.nats, "n1")
	for _, v := range [][2]string{{"gpu", "4"}, {"gpu", "8"}, {"disk", "nvme"}, {"gone", "1"}, {"gone", ""}} {
		if err := m.SetVariable(ctx, v[0], v[1]); err != nil {
			t.Fatalf("SetVariable(%s, %q) = %v", v[0], v[1], err)
		}
	}
	s.calls("PUT", "/v1/variables/rack", `{"value":"r 12"}`, http.StatusNoContent, nil)
	s.calls("PUT", "/v1/variables/rack?node=n2", `{"value":"r 13"}`, http.StatusNoContent, nil)
	s.calls("DELETE", "/v1/variables/rack?node=n2", "", http.StatusNoContent, nil)
	want := map[string]string{"plant": "Halle 7", "tier": "a", "rack": "r 12", "n1.gpu": "8", "n1.disk": "nvme"}
	if got := s.testSite.variables(); !maps.Equal(got, want) {
		t.Errorf("GET /v1/variables = %v, want %v", got, want)
	}
	s.proc.Kill()
	s.start()
	var status struct{ Variables map[string]string }
	s.calls("GET", "/v1/status", "", http.StatusOK, &status)
	if !maps.Equal(status.Variables, want) {
		t.Errorf("variables in GET /v1/status after a kill = %v, want %v", status.Variables, want)
	}
	s.imports(s.accepted("ok", s.export("--close-now")))
	s.sees("after the next start", want)

	s.use(3)
	last := filepath.Join(t.TempDir(), "last.usage")
	mustProgram(t, "deactivate", "--http", s.http, "--yes", "--out", last, "--variable", "tier=b", "--variable", "hours=31")
	if got := recordOf(t, last, "retire"); !strings.HasSuffix(got, " var.hours=31 var.n1.disk=nvme var.n1.gpu=8 var.plant=Halle%207 var.rack=r%2012 var.tier=b") {
		t.Errorf("retire = %q, want all variables in it", got)
	}
	a := s.uploads(last)
	want["tier"], want["hours"] = "b", "31"
	s.sees("after the deactivation", want)
	again := s.uploads(last)
	if !again.Duplicate || a.Duplicate {
		t.Errorf("the last report twice = duplicate %v, %v, want false, true", a.Duplicate, again.Duplicate)
	}
	s.sees("after the same again", want)
	rows, err := s.vendor.Statement(ctx, s.now.AddDate(0, -1, 0), s.now.AddDate(0, 1, 0), portal.StatementFilter{Meter: documents})
	if err != nil || len(rows) != 1 || rows[0].Quantity != 3 {
		t.Errorf("Statement = %+v, %v, want the 3 events of the last report once", rows, err)
	}
	err = opens(t, s.nats, "n1").SetVariable(ctx, "gpu", "9")
	var refused *events.Error
	if !errors.As(err, &refused) || refused.Code != events.CodeRetired {
		t.Errorf("SetVariable after the deactivation = %v, want %s", err, events.CodeRetired)
	}
}

// L-02: what has no room in a record is refused with the bound, and what is there
// stays; whoever starts with less room for applications starts all the same.
func TestL02VariableBounds(t *testing.T) {
	ctx := context.Background()
	s := newTestSite(t, "--variable", "plant=p")
	s.start()
	m := opens(t, s.nats, "n1")
	refused := func(name, value, want string) {
		t.Helper()
		err := m.SetVariable(ctx, name, value)
		var e *events.Error
		if !errors.As(err, &e) || e.Code != events.CodeMalformed || !strings.Contains(e.Message, want) || e.Hint == "" {
			t.Errorf("SetVariable(%.20q, %d bytes) = %v, want malformed with %q and a hint", name, len(value), err, want)
		}
	}
	refused("", "x", "is not the name of a variable")
	refused("a b", "x", "is not the name of a variable")
	refused(strings.Repeat("x", ledger.VariableNameBytesMax-2), "x", "1 to 60")
	refused("big", strings.Repeat("x", ledger.ValueBytesMax+1), "1 to 1024")
	refused("wide", strings.Repeat("ü", 512), "at most 1536") // 3,072 bytes as they stand in a line
	for i := 1; i < ledger.VariablesMax; i++ {
		if err := m.SetVariable(ctx, fmt.Sprintf("v%02d", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	refused("more", "x", "at most 32")
	if err := m.SetVariable(ctx, "v01", "y"); err != nil {
		t.Errorf("SetVariable of one that is there = %v, want none", err)
	}
	s.calls("PUT", "/v1/variables/plant", `{"value":"q"}`, http.StatusBadRequest, nil) // configured
	s.calls("PUT", "/v1/variables/rack", `{"value":""}`, http.StatusBadRequest, nil)
	s.stop()
	s.args = append(s.args, "--variable", "zone=z")
	s.start()
	got := s.variables()
	if len(got) != ledger.VariablesMax || got["zone"] != "z" || got["n1.v01"] != "y" || got["n1.v31"] != "" {
		t.Errorf("variables = %v, want those of the configuration and 30 of n1", got)
	}
	s.stop()
}
