package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/meterseal/meterseal/internal/cli"
)

// Where there is no terminal, progress is a line after the first second, so that
// nobody wonders, and then one each 10 s.
const (
	progressFirst = time.Second
	progressEvery = 10 * time.Second
)

// progress shows how far a long job is: one line redrawn on a terminal, a line
// now and then elsewhere, nothing with --quiet.
type progress struct {
	bar   *progressbar.ProgressBar
	w     io.Writer
	what  string
	unit  string // of what is counted: events, records
	total int64
	done  int64
	start time.Time
	next  time.Time
}

func (a *app) progress(what, unit string, total int64) *progress {
	now := time.Now()
	p := &progress{w: a.Err, what: what, unit: unit, total: total, start: now, next: now.Add(progressFirst)}
	if a.Quiet {
		p.w = io.Discard
		return p
	}
	if f, ok := a.Err.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		p.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(a.Err), progressbar.OptionSetDescription(what),
			progressbar.OptionSetWidth(20), progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString(unit),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(),
			progressbar.OptionUseANSICodes(false), progressbar.OptionSetElapsedTime(false))
	}
	return p
}

// set says that done of total is done. One goroutine may call it.
func (p *progress) set(done int64) {
	p.done = done
	if p.bar != nil {
		_ = p.bar.Set64(done)
		return
	}
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(progressEvery)
	rate := float64(done) / now.Sub(p.start).Seconds()
	eta := "unknown"
	if rate > 0 && p.total > 0 {
		eta = (time.Duration(float64(p.total-done)/rate) * time.Second).String()
	}
	fmt.Fprintf(p.w, "%s  %d %%  %s %s  %s %[4]s/s  ETA %[6]s\n", p.what, 100*done/max(p.total, 1), cli.Grouped(done), p.unit, cli.Grouped(int64(rate)), eta)
}

func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
