package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/portal"
)

// threeDays lets a site run for three days with a report each, and uses some
// events that no report has.
func threeDays(t *testing.T) (s *vendoredSite, unreported []string) {
	t.Helper()
	s = newVendoredSite(t)
	for i := range 3 {
		s.use(3 + i)
		s.pass(24 * time.Hour)
		unreported = s.use(1) // in a window that is open at the report
		s.quiet()
	}
	s.pass(time.Hour)
	return s, append(unreported, s.use(4)...)
}

// restoreArgs are the arguments of a restore from everything that was kept.
func (s *vendoredSite) restoreArgs(keys string) []string {
	args := []string{"restore", "--data", s.dir, "--keys", keys}
	for _, r := range s.replies {
		args = append(args, "--reply", r)
	}
	return append(append(args, "--reports"), s.reports...)
}

// O-09, O-26, YD-5: a site whose disk is gone comes back from its reports and
// replies. Before that nothing begins a new history; after it the days that were
// reported are as before, nodes send again what they hold, and the vendor
// accepts the next report with a question and bills each event once.
func TestO09LostSite(t *testing.T) {
	s, held := threeDays(t)
	before := s.usageReport()
	keys := s.loses()
	copyTree(t, keys, filepath.Join(s.dir, keysDir))
	if r := s.tryStart(); r == nil || r.code() != "no_history" || r.exit != cli.ExitHistory || !strings.Contains(r.text, "restore") {
		t.Fatalf("start without a ledger: %+v, want no_history and the way out", r)
	}
	remove(t, s.dir, keysDir)
	s.pass(time.Hour)
	_, _, said := program(t, s.restoreArgs(keys)...)
	if !strings.Contains(said, "restored ") || !strings.Contains(said, "import") || !strings.Contains(said, "quarantined") {
		t.Fatalf("restore says\n%s", said)
	}
	mustProgram(t, "ledger", "check", "--data", s.dir)
	s.start()
	if got := s.usageReport(); got != before {
		t.Errorf("GET /usageReport after\n%s\nwant as before\n%s", got, before)
	}
	mustProgram(t, "import", "--http", s.http, s.replies[len(s.replies)-1])
	if got := s.state(); got != "active" {
		t.Errorf("license.state = %s after the import, want active", got)
	}
	s.sends(held) // the nodes have no acknowledgement of "counted" for them
	s.use(2)
	s.pass(time.Hour)
	a := s.round("explain", "--close-now")
	s.finds(a, "restore", "gap")
	if s.billed != int64(s.used) {
		t.Errorf("billed %d, want %d: each event once", s.billed, s.used)
	}
	if got := s.total(documents); got != int64(s.used) {
		t.Errorf("total = %d, want %d", got, s.used)
	}
	// It is an ordinary site again.
	s.pass(24 * time.Hour)
	s.use(1)
	s.quiet("--close-now")
	if s.billed != int64(s.used) {
		t.Errorf("billed %d, want %d", s.billed, s.used)
	}
	s.stop()
	mustProgram(t, "ledger", "check", "--data", s.dir)
}

// What was reported and is sent again after a restore is quarantined: it may be
// counted already.
func TestO09ReportedEventsSentAgain(t *testing.T) {
	s := newVendoredSite(t)
	reported := s.use(3)
	s.pass(24 * time.Hour)
	s.quiet()
	keys := s.loses()
	mustProgram(t, s.restoreArgs(keys)...)
	s.start()
	if got := s.offers(reported); !slices.Equal(got, []string{"quarantined", "quarantined", "quarantined"}) {
		t.Errorf("events sent again: %v, want them quarantined", got)
	}
	s.use(2)
	s.pass(time.Hour)
	report := s.export("--close-now")
	text, err := os.ReadFile(report)
	if err != nil || !bytes.Contains(text, []byte(" quarantined before-restore 3\n")) {
		t.Errorf("the report does not say that 3 events are quarantined: %v", err)
	}
	s.accepted("explain", report)
	if s.billed != 5 {
		t.Errorf("billed %d, want 5", s.billed)
	}
}

// What is not whole restores nothing, each with its code, and leaves no folder.
func TestO09RestoreRefuses(t *testing.T) {
	s, _ := threeDays(t)
	s.pass(24 * time.Hour)
	s.use(1)
	newer := filepath.Join(t.TempDir(), "newer.reply")
	a := s.accepted("explain", s.export())
	if err := os.WriteFile(newer, a.Reply, 0o600); err != nil {
		t.Fatal(err)
	}
	other := newTestSite(t)
	other.start()
	other.send("x")
	foreign := filepath.Join(t.TempDir(), "foreign.usage")
	mustProgram(t, "report", "export", "--http", other.http, "--close-now", "--out", foreign)
	keys := s.loses()
	edited := filepath.Join(t.TempDir(), "edited.usage")
	b, err := os.ReadFile(s.reports[1])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte("\nusage ")) + len("\nusage n1 documents.processed count ")
	b[at+9] ^= 1
	if err := os.WriteFile(edited, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r := s.reports
	for _, c := range []struct {
		name, code string
		exit       int
		args       []string
	}{
		{"no keys", "site_key_missing", cli.ExitHistory, append([]string{"--reports"}, r...)},
		{"a report is missing", "history/base_missing", cli.ExitDocument, []string{"--keys", keys, "--reports", r[0], r[2]}},
		{"the first is missing", "history/base_missing", cli.ExitDocument, []string{"--keys", keys, "--reports", r[1], r[2]}},
		{"the last is missing", "ledger_behind_pin", cli.ExitHistory, []string{"--keys", keys, "--reply", newer, "--reports", r[0], r[1], r[2]}},
		{"an edited one", "proof/root_mismatch", cli.ExitDocument, []string{"--keys", keys, "--reports", r[0], edited, r[2]}},
		{"another site's", "ledger/wrong_ledger", cli.ExitDocument, []string{"--keys", keys, "--reports", foreign}},
		{"no report", "config_invalid", cli.ExitUsage, []string{"--keys", keys, "--reports", t.TempDir()}},
		{"a cause of two words", "config_invalid", cli.ExitUsage, []string{"--cause", "disk lost", "--keys", keys, "--reports", r[0]}},
	} {
		code, _, stderr := program(t, append([]string{"restore", "--data", s.dir}, c.args...)...)
		if code != c.exit || !strings.Contains(strings.Join(strings.Fields(stderr), " "), "["+c.code+"]") {
			t.Errorf("%s: exit code %d, %s; want %d, %s", c.name, code, stderr, c.exit, c.code)
		}
		if exists(s.dir) {
			t.Fatalf("%s: it left %v", c.name, listing(t, s.dir))
		}
	}
	// In any order, and one twice.
	args := []string{"restore", "--data", s.dir, "--keys", keys, "--reply", newer, "--reports", r[3], r[0]}
	mustProgram(t, append(args, r[2], r[1], r[0])...)
	if code, _, stderr := program(t, s.restoreArgs(keys)...); code != cli.ExitHistory || !strings.Contains(stderr, "[store_in_use]") {
		t.Errorf("restore into a ledger: exit code %d, %s; want store_in_use", code, stderr)
	}
}

// A restore that is killed leaves what no daemon starts from, or all of it.
func TestO09KilledRestore(t *testing.T) {
	s, _ := threeDays(t)
	keys := s.loses()
	runs, whole := 12, 0
	if testing.Short() {
		runs = 4
	}
	for i := range runs {
		p := crashtest.Start(t, crashtest.Command{Path: meterseal(t), Args: s.restoreArgs(keys)})
		wait := time.Duration(rand.Int64N(int64(time.Second) / 4))
		crashtest.Eventually(t, "a moment of the restore", func() (bool, string) {
			wait -= 10 * time.Millisecond
			return wait <= 0 || !p.Running(), fmt.Sprint(wait)
		})
		p.Kill()
		copyKeysBack(t, keys, filepath.Join(s.dir, keysDir))
		r := s.tryStart()
		switch {
		case r == nil:
			whole++
			if got := s.total(documents); got != s.billed {
				t.Fatalf("run %d: total = %d, want %d", i, got, s.billed)
			}
			s.stop()
			mustProgram(t, "ledger", "check", "--data", s.dir)
		case r.code() != "no_history":
			t.Fatalf("run %d: refused with %s, want no_history or the whole ledger", i, r.text)
		}
		if err := os.RemoveAll(s.dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d were through", whole, runs)
}

// copyKeysBack puts the keys where a killed restore did not come to it.
func copyKeysBack(t *testing.T, from, to string) {
	t.Helper()
	if !hasSiteKey(to) {
		copyTree(t, from, to)
	}
}

// O-25, faults 7: a backup that is older than the last accepted report is no
// way back. The site is told so at the import, and restores from its reports.
func TestO25OlderBackup(t *testing.T) {
	s := newVendoredSite(t)
	s.use(3)
	s.pass(24 * time.Hour)
	s.quiet()
	backup := filepath.Join(t.TempDir(), "site.backup")
	mustProgram(t, "backup", "--http", s.http, "--with-keys", "--recipient", backupRecipient, "--data", s.dir, "--out", backup)
	for range 10 { // more records than the older ledger comes to by itself
		s.use(2)
		s.pass(15 * time.Minute)
	}
	s.pass(24 * time.Hour)
	s.quiet()
	keys := s.loses()
	mustProgram(t, "restore", "--from", backup, "--identity-file", backupIdentity(t), "--data", s.dir)
	s.start()
	code, _, stderr := program(t, "import", "--http", s.http, s.replies[1])
	if code != cli.ExitHistory || !strings.Contains(stderr, "ledger_behind_pin") || !strings.Contains(stderr, "restore") {
		t.Errorf("import into the older ledger: exit code %d, %s; want ledger_behind_pin and the way out", code, stderr)
	}
	s.proc.Kill()
	if err := os.Rename(s.dir, s.dir+".old"); err != nil {
		t.Fatal(err)
	}
	mustProgram(t, s.restoreArgs(keys)...)
	s.start()
	mustProgram(t, "import", "--http", s.http, s.replies[1])
	s.use(2)
	s.pass(time.Hour)
	s.finds(s.round("explain", "--close-now"), "restore", "gap")
	if s.billed != int64(s.used) {
		t.Errorf("billed %d, want %d", s.billed, s.used)
	}
}

// A site that has lost its key too begins a new ledger that names the lost one.
// The vendor decides, and then the old one is superseded.
func TestO09LostKey(t *testing.T) {
	s, _ := threeDays(t)
	lost := s.key
	s.loses()
	if code, _, stderr := program(t, append([]string{"restore", "--data", s.dir, "--reports"}, s.reports...)...); code != cli.ExitHistory || !strings.Contains(stderr, "--supersede") {
		t.Errorf("restore without keys: exit code %d, %s; want site_key_missing and the way out", code, stderr)
	}
	mustProgram(t, "restore", "--supersede", "--data", s.dir, "--reply", s.replies[2])
	s.start()
	if s.key == lost {
		t.Fatalf("the new ledger is %s, want another one", s.key)
	}
	s.use(2)
	a := s.accepted("ok", s.export("--close-now"))
	if a.LicenseStatus != portal.LicensePending {
		t.Fatalf("license status %s, want pending: the vendor decides", a.LicenseStatus)
	}
	now, err := s.vendor.ApproveLedger(t.Context(), a.Origin, "ana")
	if err != nil {
		t.Fatal(err)
	}
	s.imports(now)
	if got := s.state(); got != "active" {
		t.Errorf("license.state = %s, want active", got)
	}
	l, err := s.vendor.Ledger(t.Context(), a.Origin)
	if err != nil || l.Supersedes != lost {
		t.Errorf("the new ledger supersedes %q, %v; want %s", l.Supersedes, err, lost)
	}
	if exists(filepath.Join(s.dir, keysDir, supersedesFile)) {
		t.Error("what the ledger supersedes is still there for the next one")
	}
	if code, _, _ := program(t, "restore", "--supersede", "--data", s.dir, "--reply", s.replies[2]); code != cli.ExitHistory {
		t.Errorf("supersede beside a ledger: exit code %d, want %d", code, cli.ExitHistory)
	}
}
