package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/internal/nodetest"
)

// YD-4: a node is told that its events are counted when they are on disk, with a
// checkpoint that follows from the one before; and then kill -9 takes none of
// them. What it says that it holds is a record of the next report, and the close
// states it (O-33).
func TestYD4NodeIsToldWhatIsCounted(t *testing.T) {
	s := newTestSite(t)
	s.start()
	n := nodetest.New(t, "n1", documents, 1)
	n.Connect(s.nats)
	for range 3 {
		n.Use(5)
		n.AwaitCounted()
	}
	s.proc.Kill()
	s.restarts()
	n.Connect(s.nats)
	if a := n.Batch(10, 5); a.Duplicates != 5 {
		t.Errorf("counted events sent again after kill -9: %+v, want 5 duplicates", a)
	}
	n.Use(2)
	n.AwaitCounted()
	said := n.Checkpoint
	if _, told := n.Says(); told == nil || told.Seq != 17 || told.Accepted != 22 {
		t.Errorf("asked: %+v, want that 17 of 22 accepted are counted", told)
	}
	text := s.exported()
	if want := fmt.Sprintf(" n1 1 17 22 %d %s -\n", said.Size, said.Root); !strings.Contains(text, want) {
		t.Errorf("the report lacks a seen record with %q:\n%s", want, text)
	}
	if !strings.Contains(text, " 1 17 22\nclose total") {
		t.Errorf("the close does not state what n1 has seen:\n%s", text)
	}
	s.stop()
	mustProgram(t, "ledger", "check", "--data", s.dir)
}

// exported writes a report, which must verify as ok, and returns its text.
func (s *testSite) exported() string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "site.usage")
	mustProgram(s.t, "report", "export", "--http", s.http, "--close-now", "--out", file)
	text, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// restarts starts a daemon again that was killed or stopped.
func (s *testSite) restarts() {
	s.t.Helper()
	s.proc = s.proc.Restart()
	s.ready()
}

// listed waits until node list shows what n holds, and that counted of its events
// are, within 80 columns.
func (s *testSite) listed(n *nodetest.Node, counted uint64) {
	s.t.Helper()
	crashtest.Eventually(s.t, "node list to show what the node holds", func() (bool, string) {
		n.Says()
		var list console.NodeList
		out := mustProgram(s.t, "node", "list", "--http", s.http, "--json")
		if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Nodes) != 1 {
			return false, out
		}
		got := list.Nodes[0]
		return got.SeenSize == n.Checkpoint.Size && got.SeenSize > 0 && got.CountedSeq == counted, out
	})
	out := mustProgram(s.t, "node", "list", "--http", s.http)
	for line := range strings.Lines(out) {
		if len(strings.TrimRight(line, "\n")) > 80 {
			s.t.Errorf("node list has a line of %d columns:\n%s", len(line), out)
		}
	}
	if !strings.Contains(out, "SEEN") || !strings.Contains(out, "COUNTED") {
		s.t.Errorf("node list lacks SEEN and COUNTED:\n%s", out)
	}
	s.t.Log("\n" + out)
}

// O-28: the daemon is put back to an older copy of its whole directory while a
// node kept a newer checkpoint. The node says so, and the site takes no events
// until it is restored; a restart does not forget it. What the node has that is
// not counted it sends again, and nothing counts twice.
func TestO28BehindNode(t *testing.T) {
	s := newTestSite(t)
	s.start()
	n := nodetest.New(t, "n1", documents, 1)
	n.Connect(s.nats)
	n.Use(5)
	n.AwaitCounted()
	s.listed(n, 5)
	s.stop()
	older := filepath.Join(t.TempDir(), "older")
	copyTree(t, s.dir, older)
	s.restarts()
	n.Connect(s.nats)
	n.Use(5)
	s.exported() // its records are what the node sees
	n.Use(1)
	n.AwaitCounted()
	s.proc.Kill()
	remove(t, s.dir, ".")
	copyTree(t, older, s.dir)
	s.restarts()

	held := n.State
	n.Connect(s.nats)
	if answer, _ := n.Says(); !strings.Contains(answer, "rolled_back") {
		t.Fatalf("a node with a newer checkpoint is answered %s, want rolled_back", answer)
	}
	s.isBehind(n)
	s.proc.Kill()
	s.restarts()
	n.Connect(s.nats)
	s.isBehind(n)

	// Nobody has the newer directory: the operator goes on from this one.
	s.stop()
	mustProgram(t, "restore", "--in-place", "--data", s.dir, "--cause", "disk-reverted")
	s.restarts()
	n.Connect(s.nats)
	if _, told := n.Says(); told == nil || told.Seq != 5 {
		t.Fatalf("after the restore: %+v, want that 5 are counted", told)
	}
	if n.Checkpoint.Size >= held.Checkpoint.Size || n.Adopted == 0 {
		t.Errorf("%v holds size %d, want that it took the restored ledger", n, held.Checkpoint.Size)
	}
	if a := n.Batch(3, 8); a.Error != nil || a.Duplicates != 2 { // what its disk still has
		t.Errorf("sent again from 3 to 10: %+v, want 2 duplicates", a)
	}
	n.AwaitCounted()
	text := s.exported()
	want := fmt.Sprintf("%d %s\n", held.Checkpoint.Size, held.Checkpoint.Root)
	if !strings.Contains(text, "\nrestore ") || !strings.Contains(text, want) || !strings.Contains(text, " 11 ") {
		t.Errorf("the report lacks a restore record with %q, or 11 events:\n%s", want, text)
	}
	s.judged(text, cli.ExitOK, "explain")

	// Another node that holds what was lost is no alarm; one that saw this ledger
	// after the restore is.
	other := nodetest.New(t, "n1", documents, 1)
	other.State = held
	other.Connect(s.nats)
	if _, told := other.Says(); told == nil || other.Adopted == 0 {
		t.Errorf("a node that holds what was lost: %+v, want that it takes the restored ledger", told)
	}
	s.stop()
	newer := filepath.Join(t.TempDir(), "newer")
	copyTree(t, s.dir, newer)
	s.restarts()
	n.Connect(s.nats)
	n.Use(1)
	s.exported()
	n.Use(1)
	n.AwaitCounted()
	s.proc.Kill()
	remove(t, s.dir, ".")
	copyTree(t, newer, s.dir)
	s.restarts()
	n.Connect(s.nats)
	if answer, _ := n.Says(); !strings.Contains(answer, "rolled_back") {
		t.Errorf("put back after the restore: %s, want rolled_back", answer)
	}
}

// isBehind fails the test unless the site says that it went back, and takes no
// events.
func (s *testSite) isBehind(n *nodetest.Node) {
	s.t.Helper()
	if a := n.Batch(n.Next, 1); a.Error == nil || !strings.HasPrefix(a.Error.Description, "rolled_back") {
		s.t.Errorf("batch: %+v, want rolled_back", a)
	}
	code, out, _ := program(s.t, "status", "--http", s.http, "--json")
	var st struct {
		License struct{ State, Code string }
		Behind  *struct {
			Node string
			Size uint64
		}
	}
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		s.t.Fatal(err)
	}
	if code != cli.ExitHistory || st.License.State != "rolled_back" || st.License.Code != "behind_node" || st.Behind == nil || st.Behind.Size != n.Checkpoint.Size {
		s.t.Errorf("status: exit %d, %+v, want 7, rolled_back, behind_node and the size %d", code, st, n.Checkpoint.Size)
	}
}

// judged verifies a report.
func (s *testSite) judged(text string, exit int, verdict string) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "site.usage")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	key := strings.TrimSpace(mustProgram(s.t, "keys", "show", "--data", s.dir))
	code, out, stderr := program(s.t, "report", "verify", "--site-key", key, file)
	if code != exit || !strings.Contains(out, verdict) {
		s.t.Errorf("report verify: exit %d, want %d and %s:\n%s%s", code, exit, verdict, out, stderr)
	}
}

// A node cannot put a site into that state: only what the site itself has signed
// counts, of this ledger.
func TestO28NobodyElseCanSaySo(t *testing.T) {
	s := newTestSite(t)
	s.start()
	other := newTestSite(t)
	other.start()
	n, m := nodetest.New(t, "n1", documents, 1), nodetest.New(t, "n1", documents, 1)
	n.Connect(s.nats)
	m.Connect(other.nats)
	for _, n := range []*nodetest.Node{n, m} {
		n.Use(1)
		n.AwaitCounted()
	}
	size, root := fmt.Sprintf("\n%d\n", n.Checkpoint.Size), n.Checkpoint.Root.String()
	for name, note := range map[string]string{
		"of another site":  string(m.Note),
		"a larger size":    strings.Replace(string(n.Note), size, "\n1000000\n", 1),
		"another root":     strings.Replace(string(n.Note), root, "A"+root[1:], 1),
		"another's origin": strings.ReplaceAll(string(m.Note), other.key, s.key),
		"no note":          "hello",
	} {
		answer, _ := n.SaysThat(map[string]any{"epoch": 1, "seq": 1, "checkpoint": note})
		if !strings.Contains(answer, `"code":400`) {
			t.Errorf("%s: answer %s, want 400", name, answer)
		}
	}
	if answer, _ := n.SaysThat(map[string]any{"epoch": uint64(1) << 63, "seq": 1, "checkpoint": string(n.Note)}); !strings.Contains(answer, `"code":400`) {
		t.Errorf("an epoch that no record can name: answer %s, want 400", answer)
	}
	// A number is a node's word: it is told what is counted, and nothing else follows.
	if _, told := n.SaysThat(map[string]any{"epoch": 1, "seq": 1 << 40, "checkpoint": string(n.Note)}); told == nil || told.Seq != 1 {
		t.Errorf("a number that was never told: %+v, want that 1 is counted", told)
	}
	n.Use(1)
	n.AwaitCounted()
}

// A node goes on while the site key is being replaced: what both keys have signed
// counts, and so does what only the old one has.
func TestNodeAcrossRotation(t *testing.T) {
	s := newTestSite(t)
	s.start()
	n := nodetest.New(t, "n1", documents, 1)
	n.Connect(s.nats)
	n.Use(1)
	n.AwaitCounted()
	older := n.Note
	mustProgram(t, "keys", "rotate", "--http", s.http)
	n.Use(1)
	n.AwaitCounted()
	for _, note := range [][]byte{older, n.Note} {
		if answer, told := n.SaysThat(map[string]any{"epoch": 1, "seq": 1, "checkpoint": string(note)}); told == nil {
			t.Errorf("a checkpoint around the rotation is answered %s", answer)
		}
	}
}

// A node that says nothing is told at once what it asks for, and an idle one that
// was heard of is told again.
func TestNodeAsks(t *testing.T) {
	s := newTestSite(t)
	s.start()
	n := nodetest.New(t, "n1", documents, 1)
	n.Connect(s.nats)
	n.Use(3)
	n.AwaitCounted()
	fresh := nodetest.New(t, "n1", documents, 1)
	fresh.Connect(s.nats)
	if _, told := fresh.SaysThat(nil); told == nil || told.Seq != 3 || told.From != 0 || len(told.Proof) != 0 {
		t.Errorf("a node without a checkpoint: %+v, want 3 and no proof", told)
	}
	stranger := nodetest.New(t, "n2", documents, 1)
	stranger.Connect(s.nats)
	if _, told := stranger.SaysThat(nil); told == nil || told.Epoch != 0 || told.Seq != 0 {
		t.Errorf("a node without events: %+v, want epoch 0 and number 0", told)
	}
	started := time.Now()
	for n.Hear(); time.Since(started) < tellEvery; {
		n.Hear() // fails the test if it takes too long
	}
	if s.proc.Running() {
		crashtest.Eventually(t, "status shows the node", func() (bool, string) {
			_, out, _ := program(t, "status", "--http", s.http, "--json")
			return strings.Contains(out, `"counted_seq": 3`), out
		})
	}
}
