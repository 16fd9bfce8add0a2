package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/exporter"
)

const exportExamples = "../../examples/exports"

// The crontab and the unit of examples/exports run the command as it is: their
// command lines are played against a daemon, with a folder that is here.
func TestExportExamplesRun(t *testing.T) {
	s := newTestSite(t)
	s.start()
	s.send("a")
	for _, name := range []string{"crontab", "meterseal-export.service"} {
		b, err := os.ReadFile(filepath.Join(exportExamples, name))
		if err != nil {
			t.Fatal(err)
		}
		_, line, ok := strings.Cut(string(b), "/usr/bin/meterseal ")
		if !ok {
			t.Fatalf("%s runs no meterseal", name)
		}
		line, _, _ = strings.Cut(line, "\n")
		outbox := t.TempDir() + "/"
		args := append(strings.Fields(strings.Replace(line, "/srv/outbox/", outbox, 1)), "--http", s.http)
		for range 2 { // the second time nothing is new: the same file
			if code, out, said := program(t, args...); code != cli.ExitOK || out+said != "" {
				t.Errorf("%s: meterseal %s = %d, %q%q, want 0 and nothing said", name, line, code, out, said)
			}
		}
		if list, err := filepath.Glob(outbox + "*.usage"); err != nil || len(list) != 1 {
			t.Errorf("%s: the folder has %v, %v, want one report", name, list, err)
		}
	}
}

// Both come when the schedule "monthly" does; systemd reads the units, where it is
// here.
func TestExportExamplesAreRead(t *testing.T) {
	monthly, err := exporter.ParseSchedule("monthly", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(exportExamples, "crontab"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	cron, err := exporter.ParseSchedule(strings.Join(strings.Fields(lines[len(lines)-1])[:5], " "), time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	for at, n := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), 0; n < 24; n++ {
		if at = monthly.Next(at); !cron.Next(at.Add(-time.Second)).Equal(at) {
			t.Errorf("the crontab does not come at %v", at)
		}
	}
	timer, err := os.ReadFile(filepath.Join(exportExamples, "meterseal-export.timer"))
	if err != nil {
		t.Fatal(err)
	}
	_, calendar, _ := strings.Cut(string(timer), "OnCalendar=")
	calendar, _, _ = strings.Cut(calendar, "\n")
	if calendar != "*-*-01 00:30:00" || !strings.Contains(string(timer), "\nPersistent=true\n") {
		t.Errorf("the timer comes at %q, want *-*-01 00:30:00, and what was missed caught up", calendar)
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd is not here: its units are compared as text only")
	}
	if out, err := exec.Command("systemd-analyze", "calendar", calendar).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze calendar: %v\n%s", err, out)
	}
	root := t.TempDir() // with a program where the unit has it
	for _, dir := range []string{"usr/bin", "etc/systemd/system"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "usr/bin/meterseal"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"meterseal-export.service", "meterseal-export.timer"} {
		b, err := os.ReadFile(filepath.Join(exportExamples, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(root, "etc/systemd/system", name), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// The root has no other units, which it says; of ours it names the line.
	for _, unit := range []string{"meterseal-export.service", "meterseal-export.timer"} {
		out, _ := exec.Command("systemd-analyze", "verify", "--root="+root, unit).CombinedOutput()
		if wrong := regexp.MustCompile(`meterseal-export\.\w+:\d+: .*`).FindAllString(string(out), -1); wrong != nil {
			t.Errorf("systemd-analyze verify: %q", wrong)
		}
	}
}
