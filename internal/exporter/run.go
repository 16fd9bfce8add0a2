package exporter

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/meterseal/meterseal/export"
)

// A failed run is tried again after a second, then after twice as long each time,
// up to ten minutes.
const (
	retryFirst = time.Second
	retryMost  = 10 * time.Minute
)

// setBack is how far the clock may go back before periods that are done count
// again: a day that was exported while the clock ran ahead must come all the same.
const setBack = time.Hour

// runner is a job at work.
type runner struct {
	x *Exporter
	Job
	one sync.Mutex // held by the run that is under way

	mu     sync.Mutex // protects what follows
	state  state
	busy   bool
	retry  time.Time // of a failed run: not before; of the machine's clock
	counts map[string]int64
}

// look runs the job if a period has come, or a failed run may be tried again.
func (r *runner) look() {
	now := r.x.Now()
	r.mu.Lock()
	behind := r.state.Done.Sub(now) > setBack
	if behind {
		r.state.Done = now.UTC()
	}
	failed := r.unfinished()
	next := r.Schedule.Next(r.state.Done)
	due := !next.IsZero() && !next.After(now)
	wait := failed && time.Now().Before(r.retry)
	r.mu.Unlock()
	if behind {
		r.x.Log.Warn("the clock went back: periods of an export come again", "job", r.Name)
	}
	if (due || failed) && !wait {
		r.run(false)
	}
}

// run makes one attempt and keeps what came of it.
func (r *runner) run(manual bool) Run {
	r.one.Lock()
	defer r.one.Unlock()
	if r.x.ctx.Err() != nil {
		return Run{Result: Failed, Code: CodeFailed, Message: "the daemon ends", Hint: "start it again: the period is still due"}
	}
	began := time.Now()
	r.mu.Lock()
	r.busy = true
	run, done := r.begin(r.x.Now().UTC(), manual)
	r.mu.Unlock()
	r.x.Log.Debug("export begins", "job", r.Name, "periods", run.PeriodsAll, "attempt", run.Attempts)

	err := r.attempt(r.x.ctx, &run, done)

	run.Finished = r.x.Now().UTC()
	if run.Result = cmp.Or(run.Result, Exported); err != nil {
		run.Result = Failed
		run.Code, run.Message, run.Hint = r.describe(err)
	}
	r.mu.Lock()
	r.busy = false
	r.counts[run.Result]++
	r.note(run)
	if err == nil {
		r.state.Succeeded = run.Finished
	}
	wait := min(retryFirst<<min(run.Attempts-1, 20), retryMost)
	r.retry = time.Now().Add(wait)
	r.mu.Unlock()
	if e := r.keep(); e != nil { // the next run finds the period still due
		r.x.Log.Error("keep state of export", "job", r.Name, "err", e)
	}
	switch {
	case r.x.ctx.Err() != nil: // the daemon ends; the next one goes on
	case err != nil:
		r.x.Log.Error("export failed", "job", r.Name, "code", run.Code, "err", run.Message, "attempt", run.Attempts, "retry", wait)
	case run.Result == NothingNew:
		r.x.Log.Info("nothing new to export", "job", r.Name, "periods", run.PeriodsAll)
	default:
		r.x.Log.Info("report exported", "job", r.Name, "path", run.File, "size", run.Bytes, "records", run.RecordsTo-run.RecordsFrom,
			"level", r.Level.String(), "periods", run.PeriodsAll, "attempt", run.Attempts, "elapsed", time.Since(began))
	}
	return run
}

// begin returns the run of this attempt: the failed one that is tried again, or a
// new one. Periods up to done are its own.
func (r *runner) begin(now time.Time, manual bool) (run Run, done time.Time) {
	periods, all := r.due(now)
	run = Run{Started: now, Periods: []time.Time{}, Manual: manual}
	if r.unfinished() && (r.state.Runs[0].File == "" || all == 0) {
		run = r.state.Runs[0]
	} else {
		r.state.Number++
		run.Number = r.state.Number
	}
	run.Attempts++
	run.Result, run.Code, run.Message, run.Hint = "", "", "", ""
	if all > 0 && run.File == "" { // those of a run that failed are still due
		run.Periods, run.PeriodsAll = periods, all
	}
	return run, now
}

// unfinished tells whether the last run is to be tried again.
func (r *runner) unfinished() bool {
	return len(r.state.Runs) > 0 && (r.state.Runs[0].Result == Failed || r.state.Runs[0].Result == Delivering)
}

// due returns the newest periods that have come and are not done, and how many
// there are.
func (r *runner) due(now time.Time) (periods []time.Time, all int) {
	for at := r.Schedule.Next(r.state.Done); !at.IsZero() && !at.After(now); at = r.Schedule.Next(at) {
		if periods = append(periods, at.UTC()); len(periods) > periodsListed {
			periods = periods[1:]
		}
		if all++; all == 1_000_000 { // years of minutes: the count is of no more use
			break
		}
	}
	return slices.Clone(periods), all
}

// note puts the run into the state, in the place of the attempt before.
func (r *runner) note(run Run) {
	if len(r.state.Runs) > 0 && r.state.Runs[0].Number == run.Number {
		r.state.Runs = r.state.Runs[1:]
	}
	r.state.Runs = append([]Run{run}, r.state.Runs[:min(len(r.state.Runs), runsKept-1)]...)
}

// attempt takes a run as far as it goes. The order is the proof that no period is
// missed and no half file has a name:
//
//	a. the report is made   a crash leaves nothing; the period is due
//	b. it is placed         a whole file, and the period is due: written again
//	c. the state is kept    the period is done, and what is left to deliver known
//	d. it is delivered      mailed or handed over, perhaps twice
//	e. old files go         some of them
func (r *runner) attempt(ctx context.Context, run *Run, done time.Time) error {
	if run.File == "" || !r.stands(run.File) {
		deliver, err := r.place(ctx, run)
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.state.Done = done
		placed := *run
		placed.Finished, placed.Result = done, cmp.Or(run.Result, Exported)
		if deliver && (r.Mail != nil || len(r.Command) > 0) {
			r.state.Delivery, placed.Result = &delivery{}, Delivering
		}
		if run.File == "" { // a receipt covers what was to be delivered
			r.state.Delivery = nil
		}
		r.note(placed)
		r.mu.Unlock()
		if err := r.keep(); err != nil {
			return err
		}
	}
	if err := r.deliver(ctx, run); err != nil {
		return err
	}
	return r.prune()
}

// stands tells whether a file that is to be delivered is still there.
func (r *runner) stands(name string) bool {
	if r.OneWay {
		return true // nobody looks
	}
	_, err := os.Stat(filepath.Join(r.Folder, name))
	return err == nil
}

// place writes the report into the folder; false: nothing is new.
func (r *runner) place(ctx context.Context, run *Run) (bool, error) {
	f, w, err := r.x.Site.Report(ctx, r.Level)
	if errors.Is(err, export.ErrNothingNew) {
		run.Result = NothingNew
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	// It is read once as a verifier reads it: what does not hold does not leave.
	v, err := export.VerifyReport(f, export.VerifyOptions{TrustFile: true})
	if err == nil {
		_, err = f.Seek(0, 0)
	}
	if err != nil {
		return false, fmt.Errorf("verify before export: %w", err)
	}
	run.RecordsFrom, run.RecordsTo, run.From, run.Until = w.From, w.To, &v.From, &v.Until
	name, text := r.fileName(w, v), hex.EncodeToString(w.SHA256[:])
	if !r.OneWay && r.state.Text == text && r.stands(name) {
		run.Result, run.File = NothingNew, name
		return false, nil
	}
	if run.Bytes, run.SHA256, err = r.write(name, f); err != nil {
		return false, &folderError{r.Folder, err}
	}
	run.File = name
	r.mu.Lock()
	r.state.Text = text
	r.mu.Unlock()
	if r.x.Placed != nil {
		r.x.Placed(r.Name, name, w)
	}
	return true, nil
}

// folderError says that a folder does not take files.
type folderError struct {
	folder string
	err    error
}

func (e *folderError) Error() string {
	cause := e.err
	var path *fs.PathError // of a name that nobody has seen
	if errors.As(e.err, &path) {
		cause = path.Err
	}
	return fmt.Sprintf("cannot write to %s: %v", e.folder, cause)
}

func (e *folderError) Unwrap() error { return e.err }

// describe finds code, message and way out of a run that failed.
func (r *runner) describe(err error) (code, message, hint string) {
	var folder *folderError
	var delivery *deliveryError
	switch {
	case errors.As(err, &folder):
		return CodeFolder, err.Error(), "mount or make the folder, free space on it, or let the user of the daemon write there; it is tried again"
	case errors.As(err, &delivery):
		return delivery.code, err.Error(), delivery.hint
	}
	code, message, hint = r.x.Describe(err)
	return cmp.Or(code, CodeFailed), message, cmp.Or(hint, "it is tried again; see the log of the daemon")
}
