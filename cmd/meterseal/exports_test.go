package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/internal/exporter"
	"github.com/meterseal/meterseal/internal/mailer/mailertest"
)

// exportingSite is a site with exports, on a machine whose clock the test sets.
type exportingSite struct {
	*testSite
	folder  string // of configuration, outbox and clock
	now     time.Time
	running time.Duration
	runs    map[uint64]exporter.Run // of the first export, by number, as last seen
}

// newExportingSite configures exports beside a meter; OUTBOX is where files go.
func newExportingSite(t *testing.T, config string) *exportingSite {
	t.Helper()
	s := &exportingSite{folder: t.TempDir(), now: time.Date(2026, 11, 27, 8, 0, 30, 0, time.UTC), runs: map[uint64]exporter.Run{}}
	t.Setenv("METERSEAL_TEST_CLOCK", filepath.Join(s.folder, "clock"))
	for _, dir := range []string{"outbox", "inbox"} {
		if err := os.Mkdir(filepath.Join(s.folder, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(s.folder, "meterseal.yaml")
	if err := os.WriteFile(file, []byte("meters: [{id: documents.processed, aggregation: count}]\n"+config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.testSite = newTestSite(t, "--config", file, "--store-max-size", "1GiB", "--log-level", "debug")
	s.pass(0)
	s.start()
	return s
}

// pass lets time pass.
func (s *exportingSite) pass(d time.Duration) {
	s.t.Helper()
	s.now, s.running = s.now.Add(d), s.running+d
	file := filepath.Join(s.folder, "clock")
	err := os.WriteFile(file+".new", fmt.Appendf(nil, "%s %d\n", s.now.Format(time.RFC3339), int64(s.running/time.Second)), 0o600)
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// fill sends n events of many users.
func (s *exportingSite) fill(n int) {
	s.t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"id\":\"e%d\",\"meter\":\"documents.processed\",\"node\":\"n1\",\"user\":\"user %x\"}\n", i, i*i*7919)
	}
	file := filepath.Join(s.folder, "events.jsonl")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	mustProgram(s.t, "replay", "--server", s.nats, "--format", "jsonl", file)
}

// exports asks the daemon.
func (s *exportingSite) exports() (o exporter.Overview) {
	s.t.Helper()
	resp, err := http.Get(s.http + "/v1/exports")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&o); err != nil {
		s.t.Fatal(err)
	}
	for _, r := range o.Exports[0].Runs {
		s.runs[r.Number] = r
	}
	return o
}

// settled waits until the first export has done all that is due, and returns it.
func (s *exportingSite) settled() (j exporter.JobStatus) {
	s.t.Helper()
	crashtest.Eventually(s.t, "exports to be done", func() (bool, string) {
		j = s.exports().Exports[0]
		return j.State == exporter.Waiting && j.Next.After(s.now), fmt.Sprintf("%+v at %v", j, s.now)
	})
	return j
}

// entries are all names in the outbox, hidden ones too.
func (s *exportingSite) entries() string {
	list, err := os.ReadDir(filepath.Join(s.folder, "outbox"))
	if err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprint(list)
}

// whole checks that the outbox has whole reports and nothing else, but for half of
// one under its hidden name, and returns their names.
func (s *exportingSite) whole() (names []string) {
	s.t.Helper()
	list, err := os.ReadDir(filepath.Join(s.folder, "outbox"))
	if err != nil {
		s.t.Fatal(err)
	}
	key := strings.TrimSpace(mustProgram(s.t, "keys", "show", "--data", s.dir))
	for _, e := range list {
		if strings.HasPrefix(e.Name(), ".") && strings.HasSuffix(e.Name(), ".part") {
			continue
		}
		f, err := os.Open(filepath.Join(s.folder, "outbox", e.Name()))
		if err != nil {
			s.t.Fatal(err)
		}
		if _, err := export.VerifyReport(f, export.VerifyOptions{SiteKeys: []string{key}}); err != nil {
			s.t.Errorf("%s: %v, want a report that verifies", e.Name(), err)
		}
		f.Close()
		names = append(names, e.Name())
	}
	return names
}

// A scheduled export is killed at a random moment, five times for each seed. No
// half file ever has a name, every period is done, and each once.
func TestKill9DuringExport(t *testing.T) {
	crashtest.Seeds(t, 2, func(t *testing.T, _ uint64, rng *rand.Rand) {
		s := newExportingSite(t, "exports: [{name: minutely, schedule: '* * * * *', folder: outbox, level: detailed, wrap: {zstd: true}, command: [sh, -c, 'echo $METERSEAL_FILE >>../handed', sh]}]\n")
		first := s.now
		s.fill(3_000)
		s.pass(30 * time.Minute) // so that they are in reports, and writing one takes its time
		s.settled()
		for range 5 {
			before := s.entries()
			s.pass(time.Duration(15+rng.IntN(3)) * time.Minute) // a window closes, so there is something new
			s.proc.LineWith("export begins")
			// What is drawn is the moment: anywhere in the export, which takes up to a
			// tenth of a second, or while it writes its file.
			if late := time.Duration(rng.IntN(80_000)) * time.Microsecond; rng.IntN(2) == 0 {
				<-time.After(late)
			} else {
				crashtest.Eventually(t, "a file to be begun", func() (bool, string) { return s.entries() != before, before })
			}
			s.proc.Kill()
			s.whole()
			s.proc = s.proc.Restart()
			s.ready()
			s.settled()
		}
		handed, err := os.ReadFile(filepath.Join(s.folder, "handed"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range s.whole() {
			if strings.HasPrefix(name, ".") {
				t.Errorf("the outbox still has %s", name)
			}
		}
		done := map[time.Time]int{}
		for _, r := range s.runs {
			if r.Result != exporter.Exported && r.Result != exporter.NothingNew {
				t.Errorf("run %d ended as %s %s %s, want it done", r.Number, r.Result, r.Code, r.Message)
			}
			if r.Result == exporter.Exported && !strings.Contains(string(handed), r.File) {
				t.Errorf("the command never got %s", r.File)
			}
			for _, p := range r.Periods {
				done[p]++
			}
		}
		for at := first.Truncate(time.Minute).Add(time.Minute); !at.After(s.now); at = at.Add(time.Minute) {
			if done[at] != 1 {
				t.Errorf("period %v was done %d times, want once", at, done[at])
			}
			delete(done, at)
		}
		if len(done) > 0 {
			t.Errorf("periods %v were done, which never came", done)
		}
		s.stop()
	})
}

// After a stop over several periods one run stands for all of them, and says so.
func TestExportCatchesUp(t *testing.T) {
	s := newExportingSite(t, "exports: [{name: daily, schedule: daily, zone: Europe/Berlin, folder: outbox}]\n")
	if j := s.settled(); j.Last != nil || j.Next.Format(time.RFC3339) != "2026-11-27T23:30:00Z" {
		t.Errorf("last run %v, next %v, want none and tomorrow 00:30 in Berlin", j.Last, j.Next)
	}
	s.stop()
	s.pass(5 * 24 * time.Hour)
	s.proc = s.proc.Restart()
	s.ready()
	j := s.settled()
	if len(j.Runs) != 1 || j.Last.PeriodsAll != 5 || len(j.Last.Periods) != 5 || j.Last.Periods[0].Format(time.RFC3339) != "2026-11-27T23:30:00Z" {
		t.Errorf("runs = %+v, want one for five nights", j.Runs)
	}
	if names := s.whole(); len(names) != 1 || names[0] != j.Last.File {
		t.Errorf("outbox has %v, want %s", names, j.Last.File)
	}
	// A whole folder of years: counted, and the newest listed.
	s.stop()
	s.pass(300 * 24 * time.Hour)
	s.proc = s.proc.Restart()
	s.ready()
	if j := s.settled(); j.Last.PeriodsAll != 300 || len(j.Last.Periods) != 100 || s.now.Sub(j.Last.Periods[99]) > 24*time.Hour {
		t.Errorf("last run has %d periods, lists %d up to %v; want 300, 100, yesterday", j.Last.PeriodsAll, len(j.Last.Periods), j.Last.Periods)
	}
}

// Each report is mailed by a relay, once, also if the relay refuses it first; O-30:
// status says meanwhile that it failed, and what is done about it.
func TestExportByMail(t *testing.T) {
	office := &mailertest.Office{}
	office.Refuse(1)
	s := newExportingSite(t, fmt.Sprintf("site: {name: Plant 2}\nexports: [{name: mail, schedule: '0 9 * * *', folder: outbox, wrap: {zstd: true}, mail: {relay: '%s', from: meter@plant.example, to: [a@plant.example, b@plant.example]}}]\n", office.Serve(t, nil)))
	code, out, _ := program(t, "export", "run", "mail", "--http", s.http)
	if code != cli.ExitError || !strings.Contains(out, ".usage.zst") {
		t.Errorf("export run = %d, %s, want exit code 1 and the file", code, out)
	}
	s.settled()
	letters := office.Letters()
	if len(letters) != 1 {
		t.Fatalf("%d mails, want 1", len(letters))
	}
	run := s.exports().Exports[0].Last
	if l := letters[0]; l.Attachment != run.File || !strings.Contains(l.Header.Get("Subject"), "Plant 2") || !strings.Contains(l.Body, run.SHA256) || len(l.To) != 2 {
		t.Errorf("mail to %v: %q, attached %q; want the file %s to two", l.To, l.Body, l.Attachment, run.File)
	}
	onDisk, err := os.ReadFile(filepath.Join(s.folder, "outbox", run.File))
	if err != nil || string(onDisk) != string(letters[0].File) {
		t.Errorf("the attached file is not the one in the folder: %v", err)
	}
	if run.Attempts != 2 || run.Number != 1 {
		t.Errorf("run %d with %d attempts, want run 1 with 2", run.Number, run.Attempts)
	}
	// Nothing is new: nothing is written, nobody is mailed.
	if out := mustProgram(t, "export", "run", "mail", "--http", s.http); !strings.Contains(out, "nothing new") {
		t.Errorf("export run = %s, want nothing new", out)
	}
	if n := len(office.Letters()); n != 1 {
		t.Errorf("%d mails, want still 1", n)
	}
}

// A folder that does not take the file is named, with what to do, in run, list,
// status and metrics (O-13); when it does again the run is done by itself.
func TestExportFolderUnusable(t *testing.T) {
	s := newExportingSite(t, "exports: [{name: away, schedule: '0 9 * * *', folder: medium}]\n")
	s.pass(time.Hour)
	crashtest.Eventually(t, "the export to fail", func() (bool, string) {
		j := s.exports().Exports[0]
		return j.State == exporter.Failing, j.State
	})
	j := s.exports().Exports[0]
	if j.Last.Code != exporter.CodeFolder || !strings.Contains(j.Last.Message, "no such file or directory") || !j.Next.Before(s.now) {
		t.Errorf("last run %+v, next %v, want %s and a period that is due", j.Last, j.Next, exporter.CodeFolder)
	}
	for _, args := range [][]string{{"export", "list"}, {"status"}} {
		_, out, _ := program(t, append(args, "--http", s.http)...)
		if !strings.Contains(out, exporter.CodeFolder) || !strings.Contains(out, "failing") {
			t.Errorf("%v = %s, want failing with %s", args, out, exporter.CodeFolder)
		}
	}
	if code, _, _ := program(t, "export", "list", "--http", s.http); code != cli.ExitWarning {
		t.Errorf("export list ends with %d, want %d", code, cli.ExitWarning)
	}
	if m := s.metric(`meterseal_export_runs_total{export="away",result="failed"}`); m == "" || m == "0" {
		t.Errorf("metric of failed attempts = %q, want more than 0", m)
	}
	if err := os.Mkdir(filepath.Join(s.folder, "medium"), 0o700); err != nil {
		t.Fatal(err)
	}
	if j := s.settled(); j.Last.Result != exporter.Exported || j.Last.Attempts < 2 || j.Last.PeriodsAll != 1 {
		t.Errorf("last run %+v, want it exported at a later attempt", j.Last)
	}
	if m := s.metric(`meterseal_export_runs_total{export="away",result="exported"}`); m != "1" {
		t.Errorf("metric of exports = %q, want 1", m)
	}
	for _, name := range []string{"last", "next"} {
		if s.metric("meterseal_export_"+name+`_timestamp_seconds{export="away"}`) == "" {
			t.Errorf("no metric meterseal_export_%s_timestamp_seconds", name)
		}
	}
}

// metric returns the value of a line of /metrics.
func (s *testSite) metric(name string) string {
	s.t.Helper()
	resp, err := http.Get(s.http + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			return value
		}
	}
	return ""
}

// Nothing is read back from a one-way folder: with nothing new the same file is
// written again, with its digest, after both were carried away.
func TestExportOneWay(t *testing.T) {
	s := newExportingSite(t, "exports: [{name: diode, schedule: '0 9 * * *', folder: outbox, one_way: true, mode: '0640'}]\n")
	outbox := filepath.Join(s.folder, "outbox")
	take := func() (name string, content []byte) {
		t.Helper()
		mustProgram(t, "export", "run", "diode", "--http", s.http)
		name = s.exports().Exports[0].Last.File
		sum, err := os.ReadFile(filepath.Join(outbox, name+".sha256"))
		if err != nil {
			t.Fatal(err)
		}
		content, err = os.ReadFile(filepath.Join(outbox, name))
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%s  %s\n", s.exports().Exports[0].Last.SHA256, name); string(sum) != want {
			t.Errorf("%s.sha256 = %q, want %q", name, sum, want)
		}
		if info, err := os.Stat(filepath.Join(outbox, name)); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("mode of %s = %v, %v, want 0640", name, info.Mode(), err)
		}
		if err := errors.Join(os.Remove(filepath.Join(outbox, name)), os.Remove(filepath.Join(outbox, name+".sha256"))); err != nil {
			t.Fatal(err)
		}
		return name, content
	}
	name, content := take()
	again, same := take()
	if again != name || !slices.Equal(content, same) {
		t.Errorf("the second transfer is %s of %d bytes, want %s of %d again", again, len(same), name, len(content))
	}
}
