package crashtest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// Progress is what a script has reached. The script calls [Progress.Begin]
// before it asks the store for step n and [Progress.Acknowledge] when the store
// has promised that step n survives; the check of a [Point] compares what it
// finds with both. Steps count from 1 and are done in order.
type Progress struct{ begun, acknowledged atomic.Uint64 }

// Begin notes that step n may have left traces from now on.
func (p *Progress) Begin(n uint64) { p.begun.Store(n) }

// Acknowledge notes that step n must be found from now on.
func (p *Progress) Acknowledge(n uint64) { p.acknowledged.Store(n) }

// Point is one moment at which power failed.
type Point struct {
	Op              Op
	UnsyncedPercent int   // how much of what was not synced survived, on average
	Disk            *Disk // as it was found afterwards; the check may write to it
	Acknowledged    uint64
	Begun           uint64
}

func (p Point) String() string {
	return fmt.Sprintf("power cut before write %d (%s %s), %d %% of unsynced data kept, steps %d acknowledged and %d begun",
		p.Op.Index, p.Op.Name, p.Op.Path, p.UnsyncedPercent, p.Acknowledged, p.Begun)
}

// CheckStep returns an error unless found, the last step that a store knows
// after a power cut, lies between the last acknowledged and the last begun one.
func (p Point) CheckStep(found uint64) error {
	if found < p.Acknowledged {
		return fmt.Errorf("found step %d, want at least the acknowledged step %d", found, p.Acknowledged)
	}
	if found > p.Begun {
		return fmt.Errorf("found step %d, want at most step %d, the last begun", found, p.Begun)
	}
	return nil
}

// Script is a run over one disk whose every write operation is a crash point.
type Script struct {
	Seed uint64 // of what survives

	// Percents are the shares of unsynced data tried at each point.
	// nil: 0, 50 and 100.
	Percents []int

	// Every is the distance of the points tried: 1 or 0 is all of them.
	// A prime number avoids falling into step with the store.
	Every uint64

	// Prepare, if set, readies the disk before the first point.
	//
	// What it does is not cut: use it for work that the test is not about.
	Prepare func(disk *Disk) error

	// Run opens the store on the disk, does its steps and closes it again.
	Run func(disk *Disk, progress *Progress) error

	// Check opens the store on p.Disk, compares and closes it. It is called on
	// two goroutines at once, while Run goes on.
	Check func(p Point) error
}

// EveryPoint runs s and fails the test for each point whose check fails, up to
// ten. It returns how many points were checked.
//
// Checks run beside the script, which waits for them when it is too far ahead,
// so that memory stays bounded. The disk of the first failure is kept in a
// folder named in the message.
func EveryPoint(t testing.TB, s Script) int {
	t.Helper()
	percents := s.Percents
	if percents == nil {
		percents = []int{0, 50, 100}
	}
	disk := NewDisk(s.Seed)
	if s.Prepare != nil {
		if err := s.Prepare(disk); err != nil {
			t.Fatalf("prepare disk: %v", err)
		}
	}
	var (
		progress = new(Progress)
		points   = make(chan Point, 16)
		checked  atomic.Int64
		failures failures
		workers  sync.WaitGroup
	)
	for range max(2, runtime.GOMAXPROCS(0)/2) {
		workers.Go(func() {
			for p := range points {
				checked.Add(1)
				if err := checkPoint(s.Check, p); err != nil {
					failures.add(t, p, err)
				}
			}
		})
	}
	disk.BeforeWrite(func(op Op) {
		if s.Every > 1 && op.Index%s.Every != 0 {
			return
		}
		for _, percent := range percents {
			// The order matters: a step acknowledged before the clone is on it,
			// a step on the clone was begun before the last line.
			p := Point{Op: op, UnsyncedPercent: percent, Acknowledged: progress.acknowledged.Load()}
			p.Disk = disk.powerCutLocked(percent)
			p.Begun = progress.begun.Load()
			points <- p
		}
	})
	err := runScript(s.Run, disk, progress)
	disk.BeforeWrite(nil)
	close(points)
	workers.Wait()
	if err != nil {
		t.Errorf("run script: %v", err)
	}
	if n := failures.count; n > maxFailures {
		t.Errorf("%d of %d points failed, %d shown", n, checked.Load(), maxFailures)
	}
	if checked.Load() == 0 {
		t.Errorf("the script wrote nothing: no point was checked")
	}
	return int(checked.Load())
}

// runScript and checkPoint turn a panic into an error, because a panic on
// another goroutine would hide at which point it happened.
func runScript(run func(*Disk, *Progress) error, disk *Disk, progress *Progress) (err error) {
	defer recoverTo(&err)
	return run(disk, progress)
}

func checkPoint(check func(Point) error, p Point) (err error) {
	defer recoverTo(&err)
	return check(p)
}

func recoverTo(err *error) {
	if r := recover(); r != nil {
		stack := make([]byte, 8<<10)
		*err = fmt.Errorf("panic: %v\n%s", r, stack[:runtime.Stack(stack, false)])
	}
}

const maxFailures = 10

type failures struct {
	mu    sync.Mutex
	count int
}

func (f *failures) add(t testing.TB, p Point, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	if f.count > maxFailures {
		return
	}
	t.Errorf("%v: %v", p, err)
	// A failure that a test expects of a recorder is not worth keeping.
	if _, wanted := t.(*testing.T); wanted && f.count == 1 {
		t.Logf("the disk as the check left it: %s", keep(p.Disk))
	}
}

// keep copies a disk to a folder that outlives the test and returns its name.
func keep(d *Disk) string {
	dir, err := os.MkdirTemp("", "crashtest-")
	if err != nil {
		return fmt.Sprintf("not kept: %v", err)
	}
	dir = filepath.Join(dir, "disk")
	if err := d.Dump(dir); err != nil {
		return fmt.Sprintf("not kept: %v", err)
	}
	return dir
}
