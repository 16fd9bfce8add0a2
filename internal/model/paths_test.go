package model_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/internal/fakelog"
	"github.com/meterseal/meterseal/projections"
)

// base is what both paths have.
type base struct {
	t    *testing.T
	seen map[string]int
	s    *site
	now  atomic.Int64 // ms
	boot int
}

func (b *base) init(t *testing.T, seed uint64, seen map[string]int) {
	b.t, b.seen = t, seen
	meters, err := events.NewMeters(simMeters)
	if err != nil {
		t.Fatal(err)
	}
	b.now.Store(t0.UnixMilli())
	b.s = &site{keys: newKeys(t, byte(seed)), meters: meters, now: func() time.Time { return time.UnixMilli(b.now.Load()) }}
}

func (b *base) site() *site       { return b.s }
func (b *base) clock(t time.Time) { b.now.Store(t.UnixMilli()) }

func (b *base) control(lines ...string) {
	b.t.Helper()
	for {
		_, err := b.s.gw.Control(context.Background(), lines...)
		if err == nil {
			return
		}
		if !errors.Is(err, stream.ErrFull) {
			b.t.Fatalf("control %q: %v", lines, err)
		}
		b.seen["no room"]++
	}
}

// started is what follows every start but the first.
func (b *base) started() {
	b.t.Helper()
	if err := b.s.start(context.Background()); err != nil {
		b.t.Fatalf("start: %v", err)
	}
	if b.boot++; b.boot > 1 {
		b.control(b.s.opening(projections.DefaultSettings(), b.boot)...)
	}
}

// fakePath is a site over a log that misbehaves, on a disk that loses power.
// What HTTP does stands for the way in.
type fakePath struct {
	base
	rng  *rand.Rand
	disk *crashtest.Disk
	log  *fakelog.Log
	told projections.Synced
}

func newFakePath(t *testing.T, seed uint64, rng *rand.Rand, seen map[string]int) *fakePath {
	p := &fakePath{rng: rng, disk: crashtest.NewDisk(seed)}
	p.init(t, seed, seen)
	p.log = fakelog.New(fakelog.Options{Seed: seed, Faults: fakelog.Faults{LoseAck: 0.004, LateAck: 0.004, Refuse: 0.03}})
	p.s.log = p.log
	p.open()
	p.started()
	return p
}

func (p *fakePath) open() {
	p.t.Helper()
	var err error
	p.s.store, err = projections.Open(projections.Options{Dir: "db", FS: p.disk.FS(), Secrets: p.s.keys.secrets, Sign: p.s.keys.sign(p.t), MemTableBytes: 64 << 10,
		MustExist: p.told.Size > 0})
	if err != nil {
		p.t.Fatalf("open: %v", err)
	}
}

func (p *fakePath) send(node, meter string, data []byte) string {
	p.t.Helper()
	parser := events.Parser{Meters: p.s.meters}
	seq, full := p.s.gw.Seq(), p.s.gw.Stats().Full
	name, evs, err := parser.Parse(events.Input{Node: node, Meter: meter, Data: data}, nil)
	var refused *events.Error
	if errors.As(err, &refused) {
		p.s.gw.Refuse(node, meter, refused, data)
		return p.refused(node, seq, full, refused.Code)
	}
	res, err := p.s.gw.Submit(context.Background(), name, evs)
	if err != nil && !errors.Is(err, stream.ErrFull) {
		p.t.Fatalf("submit: %v", err)
	}
	switch code := res[0].Code(); {
	case code == events.CodeStoreFull:
		p.seen["no room"]++
		return ""
	case res[0].Err != nil && res[0].Seq == 0:
		return p.refused(node, seq, full, code)
	default:
		return code
	}
}

// refused waits until a refusal counts: nobody waits for its group, and if there
// is no room for that, it goes into the next one.
func (p *fakePath) refused(node string, seq, full uint64, code string) string {
	for p.s.gw.Seq() == seq && p.s.gw.Stats().Full == full {
		runtime.Gosched()
	}
	p.control("alive " + node + " " + fmt.Sprint(p.now.Load()))
	return code
}

func (p *fakePath) batch(string, []byte) (batchAnswer, bool) { return batchAnswer{}, false }

func (p *fakePath) beat(node string) bool {
	p.control("alive " + node + " " + fmt.Sprint(p.now.Load()))
	return true
}

func (p *fakePath) restart() bool {
	p.t.Helper()
	kind := p.rng.IntN(4)
	disk := p.disk
	switch kind {
	case 3:
		return p.fenced()
	case 0:
		p.seen["crash"]++
		disk = p.disk.PowerCut(p.rng.IntN(101))
	case 1:
		found := p.disk.PowerCutIn(1+uint64(p.rng.IntN(8)), p.rng.IntN(101))
		if _, err := p.s.store.Sync(context.Background()); err != nil {
			p.t.Fatalf("sync: %v", err)
		}
		if disk = found(); disk == nil {
			return false
		}
		p.seen["crash within a write"]++
	}
	if err := p.s.gw.Close(context.Background()); err != nil {
		p.t.Fatalf("close gateway: %v", err)
	}
	if kind == 2 {
		p.seen["restart"]++
		if err := p.s.store.Close(); err != nil {
			p.t.Fatalf("close: %v", err)
		}
	} else {
		_ = p.s.store.Abandon()
	}
	p.log.Restart()
	p.disk = disk
	p.open()
	p.started()
	return true
}

// fenced lets the log answer that somebody else has appended: the gateway has to
// stop for good, and the next one goes on.
func (p *fakePath) fenced() bool {
	p.t.Helper()
	p.log.RefuseNext(10071)
	for i := range 3 {
		if _, err := p.s.gw.Control(context.Background(), "alive node-1 "+fmt.Sprint(p.now.Load())); err == nil || i == 0 && !errors.Is(err, stream.ErrFenced) {
			p.t.Fatalf("line %d after another gateway has appended: %v, want an error", i, err)
		}
	}
	select {
	case <-p.s.gw.Done():
	default:
		p.t.Fatal("the gateway goes on after another one has appended")
	}
	p.seen["fenced"]++
	if err := p.s.gw.Close(context.Background()); !errors.Is(err, stream.ErrFenced) {
		p.t.Fatalf("close gateway: %v, want %v", err, stream.ErrFenced)
	}
	if err := p.s.store.Close(); err != nil {
		p.t.Fatalf("close: %v", err)
	}
	p.log.Restart()
	p.open()
	p.started()
	return true
}

func (p *fakePath) stop() {
	_ = p.s.gw.Close(context.Background())
	_ = p.s.store.Abandon()
}

// realPath is a site over an embedded NATS server, reached over TCP.
type realPath struct {
	base
	dir  string
	real *stream.Stream
	nc   *nats.Conn
}

func newRealPath(t *testing.T, seed uint64, seen map[string]int) *realPath {
	p := &realPath{dir: t.TempDir()}
	p.init(t, seed, seen)
	p.open()
	return p
}

func (p *realPath) open() {
	p.t.Helper()
	ctx := context.Background()
	var err error
	if p.real, err = stream.Open(ctx, stream.Options{Dir: p.dir + "/stream", Listen: "127.0.0.1:0", MaxBytes: 1 << 28}); err != nil {
		p.t.Fatalf("open stream: %v", err)
	}
	p.s.log = p.real
	p.s.store, err = projections.Open(projections.Options{Dir: p.dir + "/projections", Secrets: p.s.keys.secrets, Sign: p.s.keys.sign(p.t), MemTableBytes: 1 << 20})
	if err != nil {
		p.t.Fatalf("open: %v", err)
	}
	p.started()
	if p.nc, err = p.real.ConnectClient(); err != nil {
		p.t.Fatalf("connect: %v", err)
	}
}

func (p *realPath) ask(subject string, data []byte) (a struct {
	Seq                        uint64
	Duplicate, Quarantined     bool
	Count, Duplicates, Refused int
	Next                       uint64
	Error                      *struct{ Description string }
}) {
	p.t.Helper()
	m, err := p.nc.Request(subject, data, time.Minute)
	if err == nil {
		err = json.Unmarshal(m.Data, &a)
	}
	if err != nil {
		p.t.Fatalf("%s: %v", subject, err)
	}
	return a
}

func (p *realPath) send(node, meter string, data []byte) string {
	p.t.Helper()
	switch a := p.ask("usage."+node+"."+meter, data); {
	case a.Error != nil:
		code, _, _ := strings.Cut(a.Error.Description, ":")
		return code
	case a.Duplicate:
		return "duplicate"
	case a.Quarantined:
		return "quarantined"
	}
	return "stored"
}

func (p *realPath) batch(node string, data []byte) (batchAnswer, bool) {
	p.t.Helper()
	a := p.ask("usage_batch."+node, data)
	if a.Error != nil {
		code, _, _ := strings.Cut(a.Error.Description, ":")
		return batchAnswer{Code: code}, true
	}
	return batchAnswer{Count: a.Count, Duplicates: a.Duplicates, Refused: a.Refused, Next: a.Next}, true
}

// beat sends a heartbeat. The gateway passes few of them on, and knows which; so
// only the events tell the model that a node is alive.
func (p *realPath) beat(node string) bool {
	before := p.s.gw.Seq()
	p.ask("beat."+node, nil)
	return p.s.gw.Seq() > before
}

func (p *realPath) restart() bool {
	p.t.Helper()
	p.seen["restart"]++
	p.stop()
	p.open()
	return true
}

func (p *realPath) stop() {
	p.nc.Close()
	if err := errors.Join(p.s.gw.Close(context.Background()), p.s.store.Close(), p.real.Close()); err != nil {
		p.t.Errorf("stop: %v", err)
	}
}
