package exporter_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/internal/exporter"
)

// plant is a site with a real ledger in memory; the daemon is tested in
// cmd/meterseal.
type plant struct {
	t      *testing.T
	ledger *exporttest.Site
	folder string

	mu      sync.Mutex // protects what follows
	now     time.Time
	size    uint64 // of the last close
	covered uint64
	kept    map[string][]byte
	take    func(path string) exporter.Taken
}

func newPlant(t *testing.T) *plant {
	p := &plant{t: t, ledger: exporttest.NewSite(), folder: t.TempDir(), now: time.Date(2026, 11, 27, 8, 0, 30, 0, time.UTC), kept: map[string][]byte{}}
	p.use()
	return p
}

// use closes another window with an event in it.
func (p *plant) use() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger.Window(exporttest.Cell{Node: "n1", Meter: "pages", Events: []exporttest.Event{{Quantity: 1}}})
	p.size = p.ledger.Close()
}

func (p *plant) Report(_ context.Context, level export.Level) (*os.File, *export.Written, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, err := os.CreateTemp(p.t.TempDir(), "report")
	if err != nil {
		return nil, nil, err
	}
	w, err := export.WriteReport(f, p.ledger.Ledger, export.Options{From: p.covered, To: p.size, Level: level})
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	return f, w, err
}

func (p *plant) Covered() uint64  { p.mu.Lock(); defer p.mu.Unlock(); return p.covered }
func (p *plant) LedgerID() string { return export.LedgerID(p.ledger.Ledger.Origin()) }

func (p *plant) Document(name string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kept[name], nil
}

func (p *plant) KeepDocument(name string, content []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept[name] = bytes.Clone(content)
	return nil
}

func (p *plant) Take(_ context.Context, path string) exporter.Taken { return p.take(path) }

func (p *plant) clock() time.Time { p.mu.Lock(); defer p.mu.Unlock(); return p.now }

func (p *plant) pass(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Add(d)
}

// runs starts an exporter with one job until the test or the returned end ends it.
func (p *plant) runs(j exporter.Job, in exporter.Inbox) (x *exporter.Exporter, end func()) {
	p.t.Helper()
	o := exporter.Options{Site: p, Now: p.clock, Inbox: in}
	if j.Name != "" {
		j.Folder, j.Mode, j.Level = p.folder, 0o600, export.Standard
		if j.Schedule == nil {
			j.Schedule = schedule(p.t, "0 * * * *", "UTC")
		}
		o.Jobs = []exporter.Job{j}
	}
	x, err := exporter.New(o)
	if err != nil {
		p.t.Fatal(err)
	}
	x.Start()
	end = sync.OnceFunc(x.Close)
	p.t.Cleanup(end)
	return x, end
}

func (p *plant) run(x *exporter.Exporter) exporter.Run {
	p.t.Helper()
	r, err := x.Run("j")
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

// A command that fails or hangs is a failed delivery: the file stays, and what the
// command said is shown. One that hangs is ended with its children. The next
// attempt gets the same file, and the period is not exported twice.
func TestCommandFailsAndHangs(t *testing.T) {
	p := newPlant(t)
	flag := filepath.Join(t.TempDir(), "ready")
	script := `echo "no carrier $METERSEAL_RECORDS_FROM $METERSEAL_EXPORT"; test -f ` + flag + ` && cp "$1" ` + flag + `.got`
	x, _ := p.runs(exporter.Job{Name: "j", Command: []string{"sh", "-c", script, "sh"}, CommandTime: time.Minute}, exporter.Inbox{})
	r := p.run(x)
	if r.Result != exporter.Failed || r.Code != exporter.CodeCommand || !strings.Contains(r.Message, "no carrier 0 j") || r.File == "" {
		t.Fatalf("run = %+v, want it failed with what the command said, and a file", r)
	}
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	crashtest.Eventually(t, "the command to get the file", func() (bool, string) {
		j := x.Status().Exports[0]
		return j.State == exporter.Waiting && j.Last.Result == exporter.Exported, j.State
	})
	j := x.Status().Exports[0]
	if len(j.Runs) != 1 || j.Last.File != r.File || j.Last.Attempts < 2 {
		t.Errorf("runs = %+v, want the one run with its file", j.Runs)
	}
	if counts := x.Counts(); counts[[2]string{"j", exporter.Exported}] != 1 || counts[[2]string{"j", exporter.Failed}] < 1 {
		t.Errorf("counts = %v, want one exported, and some failed", counts)
	}

	p.use()
	hang, _ := p.runs(exporter.Job{Name: "j", Command: []string{"sh", "-c", "sleep 600 & sleep 600", "sh"}, CommandTime: 50 * time.Millisecond}, exporter.Inbox{})
	if r := p.run(hang); r.Result != exporter.Failed || !strings.Contains(r.Message, "did not end within 50ms") {
		t.Errorf("run = %+v, want a command that did not end", r)
	}
}

// A crash after the file was placed leaves its delivery to the next start.
func TestDeliveryGoesOnAfterACrash(t *testing.T) {
	p := newPlant(t)
	got := filepath.Join(t.TempDir(), "got")
	x, end := p.runs(exporter.Job{Name: "j", Command: []string{"false"}, CommandTime: time.Minute}, exporter.Inbox{})
	r := p.run(x)
	end()
	x, _ = p.runs(exporter.Job{Name: "j", Command: []string{"sh", "-c", `cp "$1" ` + got, "sh"}, CommandTime: time.Minute}, exporter.Inbox{})
	crashtest.Eventually(t, "the delivery", func() (bool, string) {
		j := x.Status().Exports[0]
		return j.Last.Result == exporter.Exported, j.Last.Result
	})
	want, err := os.ReadFile(filepath.Join(p.folder, r.File))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(got); err != nil || !bytes.Equal(b, want) {
		t.Errorf("the command got %d bytes, %v, want the file of %d", len(b), err, len(want))
	}
}

// keep removes what is beyond N only if a receipt covers it, and nothing that is
// not ours; a receipt over everything leaves nothing new.
func TestKeep(t *testing.T) {
	p := newPlant(t)
	x, _ := p.runs(exporter.Job{Name: "j", Keep: 2}, exporter.Inbox{})
	other := filepath.Join(p.folder, p.LedgerID()+"-notes.usage")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	reports := func() int {
		list, err := filepath.Glob(filepath.Join(p.folder, "*_*.usage"))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	for range 4 {
		p.use()
		if r := p.run(x); r.Result != exporter.Exported {
			t.Fatalf("run = %+v", r)
		}
	}
	if n := reports(); n != 4 {
		t.Errorf("%d reports, want all 4: no receipt covers them", n)
	}
	p.mu.Lock()
	p.covered = p.size
	p.mu.Unlock()
	if r := p.run(x); r.Result != exporter.NothingNew || r.File != "" {
		t.Errorf("run = %+v, want nothing new under a receipt", r)
	}
	if n := reports(); n != 2 {
		t.Errorf("%d reports, want the newest 2", n)
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("a file that is not ours: %v, want it untouched", err)
	}
	if _, err := x.Run("k"); !errors.Is(err, exporter.ErrUnknown) {
		t.Errorf("Run(k) = %v, want ErrUnknown", err)
	}
}

// A clock that ran a year ahead and is put right does not silence an export for a
// year; one that goes back by seconds does not repeat it.
func TestClockGoesBack(t *testing.T) {
	p := newPlant(t)
	x, _ := p.runs(exporter.Job{Name: "j"}, exporter.Inbox{})
	reach := func(what string, want time.Time) {
		t.Helper()
		crashtest.Eventually(t, what, func() (bool, string) {
			j := x.Status().Exports[0]
			return j.Next.Equal(want) && j.State == exporter.Waiting, j.Next.String()
		})
	}
	p.pass(365 * 24 * time.Hour)
	reach("the year ahead", time.Date(2027, 11, 27, 9, 0, 0, 0, time.UTC))
	p.pass(-365 * 24 * time.Hour)
	reach("the next hour", time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC))
	p.pass(time.Hour)
	reach("nine o'clock to be done", time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC))
	n := len(x.Status().Exports[0].Runs)
	p.pass(-time.Minute) // 08:59:30 again
	p.pass(time.Minute)
	if r := p.run(x); r.PeriodsAll != 0 || len(x.Status().Exports[0].Runs) != n+1 {
		t.Errorf("run = %+v, want no period of it", r)
	}
}

// What a crash left half written is gone with the next start.
func TestHalfFileIsRemoved(t *testing.T) {
	p := newPlant(t)
	half := filepath.Join(p.folder, "."+p.LedgerID()+"-j.part")
	if err := os.WriteFile(half, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.runs(exporter.Job{Name: "j"}, exporter.Inbox{})
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a file after a start: %v, want none", err)
	}
}

// A file that grows from look to look is never taken half; one that the daemon
// cannot judge now stays; an inbox that is gone is said.
func TestInboxWaits(t *testing.T) {
	p := newPlant(t)
	file := filepath.Join(p.folder, "a.reply")
	var taken []string
	later := true
	p.take = func(path string) exporter.Taken {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		taken = append(taken, string(b))
		return exporter.Taken{Later: later, Code: "busy", Message: "later"}
	}
	x, err := exporter.New(exporter.Options{Site: p, Now: p.clock, Inbox: exporter.Inbox{Folder: p.folder, Every: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for _, content := range []string{"h", "ha", "hal", "half", "whole"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		x.LookInbox()
	}
	if len(taken) != 0 {
		t.Errorf("%q was taken while it grew", taken)
	}
	x.LookInbox()
	if s := x.Status().Inbox[0]; len(taken) != 1 || taken[0] != "whole" || s.Waiting != 1 || len(s.Files) != 0 {
		t.Errorf("taken %q, inbox %+v; want the whole file once, and that it waits", taken, s)
	}
	later = false
	x.LookInbox()
	if s := x.Status().Inbox[0]; len(s.Files) != 1 || s.Files[0].Result != "done" {
		t.Errorf("inbox = %+v, want the file done", s)
	}
	if b, err := os.ReadFile(filepath.Join(p.folder, "done", "a.reply")); string(b) != "whole" {
		t.Errorf("done/a.reply = %q, %v, want the file", b, err)
	}
	if err := os.RemoveAll(p.folder); err != nil {
		t.Fatal(err)
	}
	x.LookInbox()
	if s := x.Status().Inbox[0]; s.Code != exporter.CodeInbox {
		t.Errorf("inbox = %+v, want %s", s, exporter.CodeInbox)
	}
}
