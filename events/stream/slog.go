package stream

import (
	"fmt"
	"log/slog"
	"sync/atomic"
)

// serverLog hands the words of nats-server to slog. Its few warnings about
// damage are the only ones it gives, so they are never discarded by level.
type serverLog struct {
	log      *slog.Logger
	warnings atomic.Uint64
}

func (l *serverLog) Noticef(format string, v ...any) {
	l.log.Debug("nats: " + fmt.Sprintf(format, v...))
}
func (l *serverLog) Debugf(format string, v ...any) {}
func (l *serverLog) Tracef(format string, v ...any) {}

func (l *serverLog) Warnf(format string, v ...any) {
	l.warnings.Add(1)
	l.log.Warn("nats: " + fmt.Sprintf(format, v...))
}

func (l *serverLog) Errorf(format string, v ...any) {
	l.warnings.Add(1)
	l.log.Error("nats: " + fmt.Sprintf(format, v...))
}

// Fatalf logs only: a listener that cannot be opened is found before the
// server starts, and every other case ends in a server that is never ready.
func (l *serverLog) Fatalf(format string, v ...any) { l.Errorf(format, v...) }
