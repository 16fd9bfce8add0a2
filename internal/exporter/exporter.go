package exporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/meterseal/meterseal/export"
)

// ErrUnknown is returned where no job has the name; [Exporter.Status] lists them.
var ErrUnknown = errors.New("there is no such export")

// A Site is what jobs ask of the daemon. Its methods are called by several
// goroutines at once.
type Site interface {
	// Report closes the ledger and returns the report of everything since the newest
	// receipt: whole, and at its beginning. The caller closes it. Errors:
	// [export.ErrNothingNew] where a receipt covers all there is.
	Report(ctx context.Context, level export.Level) (*os.File, *export.Written, error)
	// Covered is how many records the newest receipt covers.
	Covered() uint64
	// LedgerID begins the names of all files of this ledger.
	LedgerID() string
	// Document returns what was kept under a name, nil if nothing was.
	Document(name string) ([]byte, error)
	// KeepDocument keeps a document; it is on disk when KeepDocument returns.
	KeepDocument(name string, content []byte) error
	// Take takes the document in a file into use, as meterseal import does.
	Take(ctx context.Context, path string) Taken
}

// Options of New. Site is required.
type Options struct {
	Site  Site
	Jobs  []Job
	Inbox Inbox
	// Label names the site in mails; empty: the id of its ledger does.
	Label string
	// Now is the clock of schedules; nil: time.Now.
	Now func() time.Time
	// Describe finds the stable code of an error of Site, and its way out; nil: none.
	Describe func(error) (code, message, hint string)
	// Placed is told of each report that a job has put into its folder, under which
	// name; nil: nobody.
	Placed func(job, name string, w *export.Written)
	// Log takes a line per finished run; nil: none.
	Log *slog.Logger
}

// lookEvery is how often schedules are compared with the clock. A timer up to
// the next period would not notice a clock that is set.
const lookEvery = 200 * time.Millisecond

// An Exporter runs the jobs. Run lets it work.
type Exporter struct {
	Options
	jobs    []*runner
	inbox   *inbox
	running sync.WaitGroup
	stop    context.CancelFunc
	ctx     context.Context // of everything that is under way; ends with Close
}

// New returns an exporter that goes on where the one before it ended: it reads what
// is done, and removes files that a crash left half written.
func New(o Options) (*Exporter, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Describe == nil {
		o.Describe = func(err error) (string, string, string) { return "", err.Error(), "" }
	}
	x := &Exporter{Options: o}
	x.ctx, x.stop = context.WithCancel(context.Background())
	for _, j := range o.Jobs {
		r := &runner{x: x, Job: j, counts: map[string]int64{}}
		if err := r.load(); err != nil {
			return nil, err
		}
		r.removeHalf()
		x.jobs = append(x.jobs, r)
	}
	if o.Inbox.Folder != "" {
		x.inbox = &inbox{x: x, Inbox: o.Inbox, seen: map[string]stamp{}, why: map[string]string{}}
		if err := x.inbox.load(); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// Start runs jobs and inbox, each by itself, until Close.
func (x *Exporter) Start() {
	for _, r := range x.jobs {
		x.running.Go(func() { every(x.ctx, lookEvery, r.look) })
	}
	if x.inbox != nil {
		x.running.Go(func() { every(x.ctx, x.inbox.Every, x.inbox.look) })
	}
}

// every calls look now and then each span.
func every(ctx context.Context, span time.Duration, look func()) {
	tick := time.NewTicker(span)
	defer tick.Stop()
	for {
		look()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Close ends what is under way and waits for it. What was not finished is due at
// the next start.
func (x *Exporter) Close() {
	x.stop()
	x.running.Wait()
	for _, r := range x.jobs { // a run that was asked for by hand
		r.one.Lock() // it has ended
		defer r.one.Unlock()
	}
}

// Run runs a job now and returns what came of it; a run that is under way is
// finished first. It goes on when the caller is gone. Errors: [ErrUnknown].
func (x *Exporter) Run(name string) (Run, error) {
	i := slices.IndexFunc(x.jobs, func(r *runner) bool { return r.Name == name })
	if i < 0 {
		return Run{}, fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	return x.jobs[i].run(true), nil
}

// Status returns the jobs in the order of the configuration, and the inbox.
func (x *Exporter) Status() Overview {
	s := Overview{Exports: []JobStatus{}, Inbox: []InboxStatus{}}
	for _, r := range x.jobs {
		s.Exports = append(s.Exports, r.status(x.Now()))
	}
	if x.inbox != nil {
		s.Inbox = append(s.Inbox, x.inbox.status())
	}
	return s
}

// Counts returns how often each job ended with each result since the start, by
// {job, result}.
func (x *Exporter) Counts() map[[2]string]int64 {
	counts := map[[2]string]int64{}
	for _, r := range x.jobs {
		r.mu.Lock()
		for _, result := range Results {
			counts[[2]string{r.Name, result}] = r.counts[result]
		}
		r.mu.Unlock()
	}
	return counts
}
