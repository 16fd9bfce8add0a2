package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/crashtest"
)

// askedCheck is GET or POST /v1/ledger/check.
func (s *testSite) askedCheck(method string) (c console.LedgerCheck) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.http+"/v1/ledger/check", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		s.t.Fatalf("%s /v1/ledger/check: %v in %s", method, err, b)
	}
	return c
}

// P-30: the ledger is checked while the daemon runs and events keep coming in, with
// the same answer as when it is stopped; and one that was changed is found.
func TestCheckWhileRunning(t *testing.T) {
	s := newTestSite(t)
	s.start()
	if got := s.askedCheck("GET"); got.State != console.CheckNone {
		t.Errorf("before any check: %+v, want none", got)
	}
	d := newDoor(t)
	d.leadTo(t, s.nats)
	l := startLoad(t, d.url(), 2)
	for range 3 {
		if got := s.askedCheck("POST"); got.State != console.CheckRunning || got.Started == nil {
			t.Fatalf("a check that was started: %+v, want it running", got)
		}
		crashtest.Eventually(t, "the check", func() (bool, string) {
			c := s.askedCheck("GET")
			return c.State == console.CheckOK, c.State + " " + c.Message
		})
	}
	out := mustProgram(t, "ledger", "check", "--http", s.http, "--json")
	l.end(t)
	var running, stopped console.CheckedParts
	if err := json.Unmarshal([]byte(out), &running); err != nil || running.Records == 0 || running.OpenEvents == 0 {
		t.Errorf("ledger check --http = %s, %v; want records and open events", out, err)
	}
	code, _, stderr := program(t, "ledger", "check", "--data", s.dir)
	if code != cli.ExitStore || !strings.Contains(strings.Join(strings.Fields(stderr), " "), "ledger check --http URL; or stop it [store_in_use]") {
		t.Errorf("ledger check beside the daemon: exit code %d, %s; want store_in_use and to ask the daemon", code, stderr)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, backupPrefix+"*")); len(left) > 0 {
		t.Errorf("the checks left %v", left)
	}
	out = mustProgram(t, "ledger", "check", "--http", s.http, "--json")
	if err := json.Unmarshal([]byte(out), &running); err != nil {
		t.Fatal(err)
	}
	s.stop()
	if err := json.Unmarshal([]byte(mustProgram(t, "ledger", "check", "--data", s.dir, "--json")), &stopped); err != nil {
		t.Fatal(err)
	}
	if running.Root != stopped.Root || running.OpenEvents != stopped.OpenEvents || running.Events != stopped.Events || !slices.Equal(running.Findings, stopped.Findings) {
		t.Errorf("while it ran: %+v, stopped: %+v; want the same", running, stopped)
	}
}

// A check of a daemon whose stream was changed under it says so, with the way out.
func TestCheckFindsDamageWhileRunning(t *testing.T) {
	s := newTestSite(t)
	s.start()
	for range 20 {
		s.send("")
	}
	s.stop()
	blocks, err := filepath.Glob(filepath.Join(s.dir, "stream", "jetstream", "*", "streams", "*", "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatalf("the stream has the blocks %v, %v", blocks, err)
	}
	b, err := os.ReadFile(blocks[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/3] ^= 0x40
	if err := os.WriteFile(blocks[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := s.tryStart(); r != nil { // the start itself found it, which is as good
		if r.exit != cli.ExitHistory {
			t.Errorf("start over a damaged stream: %s, want exit code %d", r.text, cli.ExitHistory)
		}
		return
	}
	code, _, stderr := program(t, "ledger", "check", "--http", s.http)
	if code != cli.ExitHistory || !strings.Contains(stderr, "[") {
		t.Errorf("ledger check --http over a damaged stream: exit code %d, %s; want %d with its code", code, stderr, cli.ExitHistory)
	}
	if got := s.askedCheck("GET"); got.State != console.CheckDamaged || got.Hint == "" {
		t.Errorf("the check = %+v, want damaged with the way out", got)
	}
}
