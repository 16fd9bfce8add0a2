package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/systemd/systemdtest"
)

// systemd is told when the site takes events, that it wants more time while it
// folds what its projections do not have yet, and when it ends.
func TestServeUnderSystemd(t *testing.T) {
	told := systemdtest.Listen(t)
	expect := func(begin string) {
		t.Helper()
		if got := told(); !strings.HasPrefix(got, begin) {
			t.Errorf("systemd was told %q, want %q", got, begin)
		}
	}
	s := newTestSite(t)
	s.start()
	expect("READY=1")
	s.stop()
	expect("STOPPING=1")
	projections, older := filepath.Join(s.dir, projectionsDir), filepath.Join(t.TempDir(), "older")
	copyTree(t, projections, older)
	s.start()
	expect("READY=1")
	s.send("a")
	s.stop()
	expect("STOPPING=1")
	remove(t, s.dir, projectionsDir)
	if err := os.Rename(older, projections); err != nil {
		t.Fatal(err)
	}
	s.start()
	expect("EXTEND_TIMEOUT_USEC=60000000\nSTATUS=folding group ")
	expect("READY=1")
	if got := s.total(documents); got != 1 {
		t.Errorf("total = %d, want 1", got)
	}
	s.stop()
	expect("STOPPING=1")
}
