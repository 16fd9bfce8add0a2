package stream

import (
	"fmt"
	"log/slog"
	"sync/atomic"
)

// serverLog hands the words of nats-server to slog. Its few warnings about
// damage are the only ones it gives, so they are never discarded by level. What
// it says about clients is no warning of that kind: see Refusal.
type serverLog struct {
	log      *slog.Logger
	door     *doorman
	warnings atomic.Uint64
}

func (l *serverLog) Noticef(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	l.client(line)
	l.log.Debug("nats: " + line)
}

func (l *serverLog) Debugf(format string, v ...any) {}
func (l *serverLog) Tracef(format string, v ...any) {}

func (l *serverLog) Warnf(format string, v ...any) {
	if line := fmt.Sprintf(format, v...); !l.client(line) {
		l.warnings.Add(1)
		l.log.Warn("nats: " + line)
	}
}

func (l *serverLog) Errorf(format string, v ...any) {
	if line := fmt.Sprintf(format, v...); !l.client(line) {
		l.warnings.Add(1)
		l.log.Error("nats: " + line)
	}
}

// client tells of a refusal, if the line is one.
func (l *serverLog) client(line string) bool {
	r, ok := l.door.clientLine(line)
	if ok && r.Reason != "" {
		l.door.refused(r)
	}
	return ok
}

// Fatalf logs only: a listener that cannot be opened is found before the
// server starts, and every other case ends in a server that is never ready.
func (l *serverLog) Fatalf(format string, v ...any) { l.Errorf(format, v...) }
