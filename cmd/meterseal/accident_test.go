package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/crashtest"
)

// O-26: an accident ends in ok or explain, with the evidence in the report, and
// each event is billed once. The site is a process, the vendor a real portal.

// billsAll fails unless the vendor billed each event once.
func (s *vendoredSite) billsAll() {
	s.t.Helper()
	if s.billed != int64(s.used) {
		s.t.Errorf("billed %d, want %d: each event once", s.billed, s.used)
	}
}

// restarts lets the daemon come back after a kill.
func (s *vendoredSite) restarts() {
	s.t.Helper()
	s.proc = s.proc.Restart()
	s.ready()
}

// seesSteps waits until the daemon has seen that many steps of its clock.
func (s *vendoredSite) seesSteps(n int) {
	s.t.Helper()
	crashtest.Eventually(s.t, "the daemon to look at its clock", func() (bool, string) {
		seen := strings.Count(s.proc.Output(), `"clock stepped"`)
		return seen >= n, fmt.Sprint(seen)
	})
}

// A daemon that is killed at any moment between reports, with events on their
// way: they are sent again, and nothing is asked about.
func TestO26Crash(t *testing.T) {
	s := newVendoredSite(t)
	rounds, kills := 4, 4
	if testing.Short() {
		rounds, kills = 2, 2
	}
	for range rounds {
		for range kills {
			var list []string
			for range 20 {
				s.used++
				list = append(list, fmt.Sprintf(`{"id":"e%d","meter":%q}`, s.used, documents))
			}
			started, ended := make(chan struct{}), make(chan struct{})
			url := s.http + "/v1/events?node=n1"
			go func() {
				defer close(ended)
				for i, e := range list {
					if i == 3 {
						close(started)
					}
					if resp, err := http.Post(url, "application/json", strings.NewReader(e)); err == nil {
						resp.Body.Close()
					}
				}
			}()
			<-started
			for range rand.IntN(200) { // some moment of the rest
				_ = s.proc.Running()
			}
			s.proc.Kill()
			<-ended
			s.restarts()
			for i, code := range s.offers(list) {
				if code != "stored" && code != "duplicate" {
					t.Fatalf("event %d sent again: %s", i, code)
				}
			}
		}
		s.round("ok", "--close-now")
	}
	s.billsAll()
	s.stop()
	mustProgram(t, "ledger", "check", "--data", s.dir)
}

// A power cut that takes the newest writes of the projections: the stream has
// them, and gives the same ledger again.
func TestO26LostProjections(t *testing.T) {
	s := newVendoredSite(t)
	s.use(3)
	s.round("ok", "--close-now")
	s.stop()
	earlier := filepath.Join(t.TempDir(), "projections")
	copyTree(t, filepath.Join(s.dir, projectionsDir), earlier)
	s.restarts()
	s.use(4)
	size := s.export("--close-now") // signed, and seen by somebody
	s.proc.Kill()
	remove(t, s.dir, projectionsDir)
	copyTree(t, earlier, filepath.Join(s.dir, projectionsDir))
	s.restarts()
	again := s.export()
	a, err := os.ReadFile(size)
	b, err2 := os.ReadFile(again)
	if err != nil || err2 != nil || !bytes.HasPrefix(b[bytes.Index(b, []byte("\n= ")):], a[bytes.Index(a, []byte("\n= ")):bytes.LastIndex(a, []byte("\nend "))]) {
		t.Errorf("the ledger folded again gives other records (%v, %v):\n%s\nwas\n%s", err, err2, b, a)
	}
	s.imports(s.accepted("ok", again))
	s.billsAll()
}

// A disk that is lost, and a backup newer than the last report.
func TestO26RestoreFromBackup(t *testing.T) {
	s := newVendoredSite(t)
	s.use(3)
	s.round("ok", "--close-now")
	s.use(2)
	backup := filepath.Join(t.TempDir(), "site.backup")
	mustProgram(t, "backup", "--http", s.http, "--with-keys", "--recipient", backupRecipient, "--data", s.dir, "--out", backup)
	after := s.use(2)
	s.loses()
	s.pass(time.Minute)
	mustProgram(t, "restore", "--from", backup, "--identity-file", backupIdentity(t), "--data", s.dir)
	s.start()
	s.sends(after)
	s.finds(s.round("explain", "--close-now"), "restore")
	s.billsAll()
}

// A virtual machine is reverted to a snapshot that is older than the last report,
// and restored by procedure.
func TestO26RevertedMachine(t *testing.T) {
	s := newVendoredSite(t)
	s.use(3)
	s.round("ok", "--close-now")
	s.stop()
	snapshot := filepath.Join(t.TempDir(), "data")
	copyTree(t, s.dir, snapshot)
	s.restarts()
	for range 10 {
		s.use(1)
		s.pass(15 * time.Minute)
	}
	s.round("ok", "--close-now")
	keys := s.loses()
	copyTree(t, snapshot, s.dir)
	s.start()
	if code, _, stderr := program(t, "import", "--http", s.http, s.replies[1]); code != cli.ExitHistory || !strings.Contains(stderr, "ledger_behind_pin") {
		t.Errorf("import into the reverted ledger: exit code %d, %s; want ledger_behind_pin", code, stderr)
	}
	s.proc.Kill()
	if err := os.Rename(s.dir, s.dir+".reverted"); err != nil {
		t.Fatal(err)
	}
	mustProgram(t, append([]string{"restore", "--cause", "vm-reverted"}, s.restoreArgs(keys)[1:]...)...)
	s.start()
	mustProgram(t, "import", "--http", s.http, s.replies[1])
	s.use(1)
	s.finds(s.round("explain", "--close-now"), "restore", "gap") // and a window in which nothing ran
	s.billsAll()
}

// The wall clock steps, either way: recorded, asked about from a day on, and no
// event is lost, billed twice or refused.
func TestO26ClockSteps(t *testing.T) {
	for _, c := range []struct {
		step time.Duration
		code string
		asks []string
	}{
		{10 * time.Minute, "ok", nil},
		{-10 * time.Minute, "ok", nil},
		{365 * 24 * time.Hour, "explain", []string{"clock_step"}},
		{-365 * 24 * time.Hour, "explain", []string{"clock_step"}},
	} {
		t.Run(c.step.String(), func(t *testing.T) {
			s := newVendoredSite(t)
			s.use(1)
			s.step(c.step)
			s.seesSteps(1)
			s.offers([]string{fmt.Sprintf(`{"id":"during","meter":%q}`, documents)})
			s.used++
			s.step(-c.step)
			s.seesSteps(2)
			s.use(1)
			s.finds(s.round(c.code, "--close-now"), c.asks...)
			s.billsAll()
			if got := s.state(); got != "active" {
				t.Errorf("license.state = %s, want active", got)
			}
		})
	}
}

// A reply that never arrives, and reports that begin where the site believes
// that the vendor is: only what is new counts.
func TestO26LostReply(t *testing.T) {
	s := newVendoredSite(t)
	s.use(3)
	s.round("ok", "--close-now")
	s.use(2)
	lost := s.accepted("ok", s.export("--close-now"))
	s.use(2)
	a := s.accepted("ok", s.export("--close-now")) // from the receipt that the site has
	if a.Base != lost.Size || len(a.Totals) != 1 || a.Totals[0].Value != 2 {
		t.Errorf("new are records %d to %d, %+v; want those from %d on, of 2 events", a.Base, a.Size, a.Totals, lost.Size)
	}
	s.use(1)
	a = s.accepted("explain", s.export("--close-now", "--from", fmt.Sprint(lost.Size)))
	s.finds(a, "receipt_missing") // the vendor gave one there, and the ledger does not know it
	s.imports(a)
	s.use(1)
	s.round("ok", "--close-now")
	s.billsAll()
}

// A report that is uploaded twice, and once more when it is old.
func TestO26UploadedTwice(t *testing.T) {
	s := newVendoredSite(t)
	s.use(3)
	report := s.export("--close-now")
	first := s.accepted("ok", report)
	again := s.accepted("duplicate", report)
	if !bytes.Equal(first.Reply, again.Reply) {
		t.Error("the second upload got another reply, want the same")
	}
	s.imports(first)
	s.imports(again)
	s.use(2)
	s.round("ok", "--close-now")
	s.accepted("duplicate", report)
	s.billsAll()
}

// A courier brings two reports in the wrong order, a month late.
func TestO26LateCourier(t *testing.T) {
	s := newVendoredSite(t)
	s.use(3)
	s.round("ok", "--close-now")
	s.use(2)
	earlier := s.export("--close-now")
	s.use(2)
	later := s.export("--close-now", "--from", fmt.Sprint(sizeOf(t, earlier)))
	s.pass(30 * 24 * time.Hour)
	if a := s.refused("history/base_missing", later); a.Verdict != "" {
		t.Errorf("a report that comes early has the verdict %s, want none: it says nothing about the site", a.Verdict)
	}
	s.accepted("ok", earlier)
	a := s.accepted("explain", later)
	s.finds(a, "receipt_missing")
	s.imports(a)
	s.billsAll()
	s.use(1)
	s.finds(s.round("explain", "--close-now"), "gap") // a month in which nobody was heard of
	s.billsAll()
}

// sizeOf returns the size at which a report ends.
func sizeOf(t *testing.T, report string) (size uint64) {
	t.Helper()
	b, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(b[bytes.LastIndex(b, []byte("\nend "))+1:]), "end %d ", &size); err != nil {
		t.Fatal(err)
	}
	return size
}

// Faults 7: the other way round. An old disk that goes on without the procedure
// is found, at the import and by the vendor, with the first record that differs.
func TestO26RollbackWithoutProcedure(t *testing.T) {
	s := newVendoredSite(t)
	s.use(3)
	s.round("ok", "--close-now")
	s.stop()
	old := filepath.Join(t.TempDir(), "data")
	copyTree(t, s.dir, old)
	s.restarts()
	for range 10 {
		s.use(1)
		s.pass(15 * time.Minute)
	}
	second := s.round("ok", "--close-now")
	billed := s.billed
	s.proc.Kill()
	remove(t, filepath.Dir(s.dir), filepath.Base(s.dir))
	copyTree(t, old, s.dir)
	s.start()
	first := sizeOf(t, s.reports[0])
	if code, _, stderr := program(t, "import", "--http", s.http, s.replies[1]); code != cli.ExitHistory || !strings.Contains(stderr, "ledger_behind_pin") {
		t.Errorf("import into the older ledger: exit code %d, %s; want ledger_behind_pin", code, stderr)
	}
	short := s.export("--close-now")
	if size := sizeOf(t, short); size >= second.Size {
		t.Fatalf("the older ledger has %d records, the accepted one %d: want fewer", size, second.Size)
	}
	s.refused("history/rolled_back", short)
	for range 20 {
		s.use(1)
		s.pass(15 * time.Minute)
	}
	a := s.refused("history/differs", s.export("--close-now"))
	if at, ok := a.Refusal.Details["first_index"].(uint64); !ok || at < first || at >= second.Size {
		t.Errorf("first differing record %v, want one from %d to %d", a.Refusal.Details["first_index"], first, second.Size)
	}
	if cause := fmt.Sprint(a.Refusal.Details["cause"]); !strings.Contains(cause, "older disk") {
		t.Errorf("likely cause %q, want the older disk", cause)
	}
	if code, _, stderr := program(t, "import", "--http", s.http, s.replies[1]); code != cli.ExitHistory || !strings.Contains(stderr, "ledger_off_pin") {
		t.Errorf("import into the ledger that went on: exit code %d, %s; want ledger_off_pin", code, stderr)
	}
	if s.billed != billed {
		t.Errorf("billed %d after refused reports, want %d", s.billed, billed)
	}
}

// Faults 8: a copied site is found when both halves report. Nothing of the second
// counts, and both signed checkpoints are kept as evidence.
func TestO26ClonedSite(t *testing.T) {
	s := newVendoredSite(t)
	s.use(3)
	s.round("ok", "--close-now")
	s.stop()
	clone := filepath.Join(t.TempDir(), "data")
	copyTree(t, s.dir, clone)
	s.restarts()
	s.use(2)
	half := s.round("ok", "--close-now")
	s.stop()
	s.now, s.running = s.now.Add(-15*time.Minute), s.running-15*time.Minute
	other := &vendoredSite{testSite: &testSite{t: t, dir: clone, args: s.args}, vendor: s.vendor, now: s.now, running: s.running, used: s.used}
	other.pass(0) // at the same time as the site
	other.start()
	other.use(2)
	report := other.export("--close-now")
	if size := sizeOf(t, report); size != half.Size {
		t.Fatalf("the clone has %d records, the site %d: want as many", size, half.Size)
	}
	other.refused("history/fork", report)
	evidence, err := filepath.Glob(filepath.Join(filepath.Dir(os.Getenv("METERSEAL_TEST_CLOCK")), "vendor", "evidence", "*.txt"))
	if err != nil || len(evidence) != 1 {
		t.Fatalf("evidence %v, %v; want one file", evidence, err)
	}
	text, err := os.ReadFile(evidence[0])
	if origin := s.key; err != nil || bytes.Count(text, []byte("\n"+half.Origin+"\n")) < 2 {
		t.Errorf("evidence about %s does not hold two checkpoints: %v\n%s", origin, err, text)
	}
	crashtest.Eventually(t, "the clone to end", func() (bool, string) { other.proc.Kill(); return !other.proc.Running(), "" })
	s.billsAll()
}
