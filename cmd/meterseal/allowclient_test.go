package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/meter"
)

// app is an application with the Go package.
func (l *licensedSite) app(t *testing.T, node string) *meter.Meter {
	t.Helper()
	m, err := meter.Open(t.Context(), meter.Options{URL: l.nats, Node: node, Dir: filepath.Join(l.folder, node), BatchDelay: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeApp(t, m) })
	return m
}

// closeApp ends an application whose daemon may be gone.
func closeApp(t *testing.T, m *meter.Meter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		t.Error(err)
	}
}

func mayI(t *testing.T, m *meter.Meter, n int64, attrs ...meter.Attr) meter.Decision {
	t.Helper()
	d, err := m.Allow(t.Context(), pages, n, attrs...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// answers waits for an answer.
func answers(t *testing.T, m *meter.Meter, what string, n int64, is func(meter.Decision) bool) meter.Decision {
	t.Helper()
	var d meter.Decision
	crashtest.Eventually(t, what, func() (bool, string) {
		d = mayI(t, m, n)
		return is(d), fmt.Sprintf("%+v", d)
	})
	return d
}

func unreachable(d meter.Decision) bool { return slices.Contains(d.Warnings, meter.CodeUnreachable) }

// again starts the daemon where it listened before, so that applications find it.
func (l *licensedSite) again() {
	l.t.Helper()
	l.args = append(l.args, "--nats", strings.TrimPrefix(l.nats, "nats://"))
	l.start()
}

// P-07, X-06, attack row 3: without a daemon an application lives on its last
// answer for the outage of the license, also after a restart of its own; then it
// is no under hard enforcement. What is used counts all the same, and once.
func TestX06Outage(t *testing.T) {
	for _, enforcement := range []string{"hard", "soft"} {
		t.Run(enforcement, func(t *testing.T) {
			l := newLimitedSite(t, enforcement, "100:none:none", "--outage", "4s")
			m := l.app(t, "n1")
			answers(t, m, "an answer from what is published", 1, func(d meter.Decision) bool { return d.Local && d.Allowed && !unreachable(d) })
			l.proc.Kill()
			d := answers(t, m, "the loss to be noticed", 1, unreachable)
			if !d.Allowed || d.Enforcement != enforcement {
				t.Errorf("without a daemon: %+v, want yes", d)
			}
			c, err := m.Consume(t.Context(), pages, 3, meter.User("ana"))
			if err != nil || !c.Allowed || c.Result != "spooled" {
				t.Errorf("Consume = %+v, %v, want yes and spooled", c, err)
			}
			if c, err := m.Consume(t.Context(), pages, 101); err != nil || c.Allowed != (enforcement == "soft") {
				t.Errorf("Consume beyond what was left = %+v, %v, want yes only under soft", c, err)
			}
			if r, err := m.Reserve(t.Context(), pages, 1, time.Minute); !errors.Is(err, meter.ErrUnreachable) || r.Allowed {
				t.Errorf("Reserve = %+v, %v, want unreachable", r, err)
			}
			closeApp(t, m)
			m = l.app(t, "n1")
			if d := mayI(t, m, 1); !d.Allowed || !unreachable(d) {
				t.Errorf("after a restart of the application: %+v, want yes by the last answer", d)
			}
			if enforcement == "hard" {
				d = answers(t, m, "the end of the outage", 1, func(d meter.Decision) bool { return !d.Allowed })
				if d.Code != meter.CodeUnreachable {
					t.Errorf("after the outage: %+v, want meter_unreachable", d)
				}
			}
			if err := m.Record(pages, 5); err != nil { // it happened
				t.Error(err)
			}
			l.again()
			answers(t, m, "the daemon to answer again", 1, func(d meter.Decision) bool { return d.Allowed && !unreachable(d) })
			if err := m.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := int64(8)
			if enforcement == "soft" {
				want += 101
			}
			if got := l.total(pages); got != want {
				t.Errorf("counted = %d, want %d", got, want)
			}
			l.stop()
		})
	}
}

// who never had an answer cannot know that the license is not hard.
func TestX06NeverAnswered(t *testing.T) {
	l := newLicensedSite(t)
	l.nats = "nats://127.0.0.1:1"
	m := l.app(t, "n1")
	if d := mayI(t, m, 1); d.Allowed || d.Code != meter.CodeUnreachable {
		t.Errorf("Allow = %+v, want no, meter_unreachable", d)
	}
	if err := m.Record(pages, 1); err != nil {
		t.Errorf("Record = %v, want that it is kept", err)
	}
}

// O-20, L-16, Y-14: an answer costs no round trip while it is far from the
// border, and near it the daemon decides.
func TestAllowPublished(t *testing.T) {
	l := newLimitedSite(t, "hard", "100:none:monthly", "--feature", "pdf")
	m := l.app(t, "n1")
	// Every answer that is given takes from the share of this node, 100 ÷ 2.
	d := answers(t, m, "an answer from what is published", 20, func(d meter.Decision) bool { return d.Local })
	if !d.Allowed || d.Remaining == nil || *d.Remaining != 100 || *d.OverageRemaining != 0 || d.ResetsAt == nil || d.State != "active" || d.ValidUntil.Before(time.Now()) {
		t.Errorf("published = %+v, want yes and 100 left", d)
	}
	if d := mayI(t, m, 60); d.Local || !d.Allowed {
		t.Errorf("Allow(60) of 100 = %+v, want yes by the daemon", d)
	}
	if d := mayI(t, m, 101); d.Local || d.Allowed || d.Code != "limit_reached" {
		t.Errorf("Allow(101) of 100 = %+v, want no by the daemon", d)
	}
	if d := mayI(t, m, 1, meter.Feature("pdf")); !d.Local || !d.Allowed {
		t.Errorf("Allow with a feature = %+v, want yes", d)
	}
	if d := mayI(t, m, 1, meter.Feature("cad")); d.Local || d.Allowed || d.Code != "feature_not_licensed" {
		t.Errorf("Allow with another feature = %+v, want no", d)
	}
	if d, err := m.Allow(t.Context(), "", 0, meter.Feature("pdf")); err != nil || !d.Allowed {
		t.Errorf("Allow of a feature = %+v, %v, want yes", d, err)
	}
	if c, err := m.Consume(t.Context(), pages, 100, meter.ID("all")); err != nil || !c.Allowed || c.Result != "stored" {
		t.Fatalf("Consume = %+v, %v, want stored", c, err)
	}
	if c, err := m.Consume(t.Context(), pages, 100, meter.ID("all")); err != nil || !c.Allowed || c.Result != "duplicate" {
		t.Errorf("Consume again = %+v, %v, want duplicate", c, err)
	}
	var conflict *events.Error
	if c, err := m.Consume(t.Context(), pages, 1, meter.ID("all")); !errors.As(err, &conflict) || conflict.Code != "id_conflict" {
		t.Errorf("Consume of another amount = %+v, %v, want id_conflict", c, err)
	}
	d = answers(t, m, "the border to be published", 1, func(d meter.Decision) bool { return d.Local && !d.Allowed })
	if d.Code != "limit_reached" || d.Alert != 100 {
		t.Errorf("published = %+v, want limit_reached and the alert of 100", d)
	}
	if got := l.total(pages); got != 100 {
		t.Errorf("counted = %d, want 100", got)
	}
	l.stop()
}

// O-10: what was consumed is taken back within the undo interval of its meter, and
// gives room again; asked twice it is once.
func TestO10Undo(t *testing.T) {
	l := newLimitedSite(t, "hard", "10:none:monthly", "--undo", pages+"=2s")
	m := l.app(t, "n1")
	consume := func(n int64) meter.Consumed {
		t.Helper()
		c, err := m.Consume(t.Context(), pages, n)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := consume(6)
	if c := consume(5); c.Allowed || c.Code != "limit_reached" || c.Result != "" {
		t.Fatalf("Consume(5) with 4 left = %+v, want limit_reached", c)
	} else if err := c.Undo(t.Context(), "nothing"); err == nil {
		t.Error("Undo of what was refused succeeded")
	}
	for range 2 {
		if err := first.Undo(t.Context(), "wrong document"); err != nil {
			t.Fatal(err)
		}
	}
	late := consume(10)
	if !late.Allowed {
		t.Fatalf("Consume(10) after the undo = %+v, want yes", late)
	}
	if got := l.total(pages); got != 16 { // the original stays; its correction is a number of its own
		t.Errorf("counted = %d, want 16", got)
	}
	a := l.asker(t)
	got, err := a.request("n1", fmt.Sprintf(`{"meter":%q}`, pages))
	if got.must(t, err, 403, "limit_reached"); *got.Remaining != 0 {
		t.Errorf("remaining = %d, want 0", *got.Remaining)
	}
	crashtest.Eventually(t, "the undo interval to end", func() (bool, string) {
		resp, err := a.nc.Request("usage.n1."+pages, fmt.Appendf(nil, `{"kind":"amend","ref":%q,"quantity":10,"reason":"r","actor":"a"}`, late.ID), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(resp.Data), "undo_interval_over"), string(resp.Data)
	})
	var over *events.Error
	if err := late.Undo(t.Context(), "too late"); !errors.As(err, &over) || over.Code != "undo_interval_over" {
		t.Errorf("Undo = %v, want undo_interval_over", err)
	}
	l.stop()
}
