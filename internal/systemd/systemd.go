// Package systemd tells systemd how a daemon stands: that it is ready, that it
// ends, that a long job needs more time. Without systemd nobody is told, and
// nothing here fails a daemon.
package systemd

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Ready says that the daemon does what it is there for.
func Ready(log *slog.Logger) { tell(log, daemon.SdNotifyReady) }

// Stopping says that the daemon ends.
func Stopping(log *slog.Logger) { tell(log, daemon.SdNotifyStopping) }

func tell(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd not told", "state", state, "err", err)
	}
}

const (
	extendEvery = 5 * time.Second
	extendBy    = time.Minute
)

// A Job is a long one before the daemon is ready or after it has ended. As long as
// it gets on, systemd waits beyond the limits of the unit; one that hangs runs into
// them.
type Job struct {
	Log  *slog.Logger
	next time.Time
}

// Step says that the job has got on, and how far as text for "systemctl status".
// It costs next to nothing, since systemd is told every few seconds only.
func (j *Job) Step(status string, args ...any) {
	now := time.Now()
	if now.Before(j.next) {
		return
	}
	j.next = now.Add(extendEvery)
	tell(j.Log, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d\nSTATUS=%s", extendBy.Microseconds(), fmt.Sprintf(status, args...)))
}
