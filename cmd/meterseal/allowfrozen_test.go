//go:build unix

package main

import (
	"syscall"
	"testing"

	"github.com/meterseal/meterseal/meter"
)

// P-07, L-16: a daemon that stands still is no reason to wait twice. What was
// consumed meanwhile comes on two ways, late as a request and by the spool, and
// counts once.
func TestConsumeFrozen(t *testing.T) {
	l := newLimitedSite(t, "hard", "100:none:none")
	m := l.app(t, "n1")
	answers(t, m, "an answer from what is published", 1, func(d meter.Decision) bool { return d.Local && !unreachable(d) })
	freeze := func(signal syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(l.proc.PID(), signal); err != nil {
			t.Fatal(err)
		}
	}
	freeze(syscall.SIGSTOP)
	defer syscall.Kill(l.proc.PID(), syscall.SIGCONT)
	c, err := m.Consume(t.Context(), pages, 3, meter.ID("x"), meter.User("ana"))
	if err != nil || !c.Allowed || c.Result != "spooled" || !unreachable(c.Decision) {
		t.Errorf("Consume = %+v, %v, want spooled by the last answer", c, err)
	}
	if d := mayI(t, m, 98); d.Allowed || d.Code != meter.CodeUnreachable { // 97 are left
		t.Errorf("Allow(98) = %+v, want no: the last answer does not reach", d)
	}
	freeze(syscall.SIGCONT)
	if err := m.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	answers(t, m, "the daemon to answer again", 98, func(d meter.Decision) bool { return !d.Local && d.Code == "limit_reached" })
	if c, err := m.Consume(t.Context(), pages, 3, meter.ID("x"), meter.User("ana")); err != nil || c.Result != "duplicate" {
		t.Errorf("Consume again = %+v, %v, want duplicate", c, err)
	}
	if got := l.total(pages); got != 3 {
		t.Errorf("counted = %d, want 3", got)
	}
	l.stop()
	mustProgram(t, "ledger", "check", "--data", l.dir)
}
