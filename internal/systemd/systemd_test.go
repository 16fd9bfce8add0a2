package systemd_test

import (
	"log/slog"
	"testing"

	"github.com/meterseal/meterseal/internal/systemd"
	"github.com/meterseal/meterseal/internal/systemd/systemdtest"
)

// A job that gets on is given more time, with what it says of itself; what it says
// more often than every few seconds is not sent.
func TestJob(t *testing.T) {
	told := systemdtest.Listen(t)
	log := slog.New(slog.DiscardHandler)
	j := systemd.Job{Log: log}
	for i := range 1000 {
		j.Step("folding group %d", i+1)
	}
	systemd.Ready(log)
	systemd.Stopping(log)
	for _, want := range []string{"EXTEND_TIMEOUT_USEC=60000000\nSTATUS=folding group 1", "READY=1", "STOPPING=1"} {
		if got := told(); got != want {
			t.Errorf("systemd was told %q, want %q", got, want)
		}
	}
}
