package projections_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/internal/fakelog"
	"github.com/meterseal/meterseal/internal/model"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// Crash schedules: a store on a disk that loses power at any moment, fed from a
// log that misbehaves as JetStream was seen to. Whatever happens, a site that
// starts again counts what the log holds, once each, and still has every
// checkpoint that it handed out; or it refuses to start and says why.
//
// YD-6: a crash during any write leaves a readable store.
func TestCrashSchedules(t *testing.T) {
	seen := map[string]int{}
	crashtest.Seeds(t, 1000, func(t *testing.T, seed uint64, rng *rand.Rand) {
		c := newCrasher(t, seed, rng, seen)
		defer c.stop()
		for range 20 + rng.IntN(60) {
			if !c.step() {
				return // it refused to start, as it had to
			}
		}
		if c.reopen() {
			c.checkAll()
		}
	})
	t.Logf("%v", seen)
	// The schedules are worth something only if all of this happens in them.
	for _, what := range []string{"power cut", "power cut within a write", "counted", "store behind the log", "log rewritten", "receipt",
		"start stream_behind_cursor", "start stream_hole", "start stream_damaged", "start store_unreachable"} {
		if seen["counted"] > 500 && seen[what] == 0 {
			t.Errorf("no schedule had %q", what)
		}
	}
}

// crasher is a site with its disk, its log and the model.
type crasher struct {
	t     *testing.T
	rng   *rand.Rand
	seen  map[string]int // what happened, how often, in all schedules
	gen   *generator
	disk  *crashtest.Disk
	log   *fakelog.Log
	model *model.Site
	site  *world // its key
	store *projections.Store
	opts  projections.Options

	now     time.Time
	term    uint64
	last    stream.Stored   // newest group of the log, as the gateway knows it
	folded  []stream.Stored // what the model has folded, in order
	spoiled bool            // groups before the cursor are damaged: raw events cannot all be read

	told      projections.Synced // newest promise
	announced []ledger.Checkpoint
}

func newCrasher(t *testing.T, seed uint64, rng *rand.Rand, seen map[string]int) *crasher {
	c := &crasher{t: t, rng: rng, seen: seen, gen: newGenerator(rng), disk: crashtest.NewDisk(seed), model: model.New(), now: t0}
	o := fakelog.Options{Seed: seed, Now: func() time.Time { return c.now }, Lazy: rng.IntN(8) == 0, DuplicateWindow: 10}
	if rng.IntN(2) == 0 {
		o.Faults = fakelog.Faults{LoseAck: 0.1, LateAck: 0.1, Refuse: 0.05, Stick: 0.03}
	}
	if rng.IntN(8) == 0 {
		o.MaxAge = 6 * time.Hour
	}
	c.log = fakelog.New(o)
	c.site = &world{t: t}
	var err error
	if c.site.key, c.site.nonce, err = ledger.GenerateSiteKey("eval.invalid", "eval", &fixedRand{byte(seed)}); err != nil {
		t.Fatal(err)
	}
	c.opts = c.site.options()
	c.opts.MemTableBytes = 64 << 10 // flushes happen
	c.restart(c.disk, false)
	return c
}

func (c *crasher) stop() {
	if c.store != nil {
		_ = c.store.Abandon()
	}
}

// step does one thing, and reports whether the site runs.
func (c *crasher) step() bool {
	c.now = c.now.Add(time.Duration(c.rng.ExpFloat64() * float64(4*time.Minute)))
	if c.rng.IntN(40) == 0 {
		c.now = c.now.Add(time.Duration(c.rng.IntN(30)) * time.Hour) // nothing came for a while
	}
	switch n := c.rng.IntN(100); {
	case n < 58:
		c.apply(c.gen.runs(c.now)...)
	case n < 60:
		if k := len(c.announced); k > 0 {
			c.apply(control(receiptLine(c.announced[c.rng.IntN(k)], c.now)))
			c.seen["receipt"]++
		}
	case n < 75:
		c.sync()
	case n < 78:
		c.compare()
	case n < 84:
		if c.rng.IntN(3) == 0 {
			c.log.Sync()
		}
	case n < 87:
		return c.reopen()
	case n < 92:
		return c.powerCut()
	default:
		return c.powerCutWhile(c.cutWork())
	}
	return true
}

// apply makes a group of runs, stores it in the log as the gateway does, and
// folds it.
func (c *crasher) apply(runs ...events.Run) {
	c.t.Helper()
	g := &events.Group{WallNS: c.now.UnixNano(), Term: c.term, Runs: runs}
	if l := c.last.Group; l != nil {
		g.Prev, g.PrevSum, g.First, g.WallNS = c.last.Seq, l.Sum, l.First+uint64(l.Count), max(g.WallNS, l.WallNS)
	}
	data, err := events.AppendGroup(nil, g)
	if err != nil {
		c.t.Fatalf("encode group: %v", err)
	}
	if c.rng.IntN(30) == 0 {
		c.log.RefuseNext([]int{10023, 10047, 10077, 10167}[c.rng.IntN(4)])
	}
	seq, err := c.log.Append(context.Background(), g.Prev, data)
	for tries := 0; errors.Is(err, stream.ErrUnknown); tries++ {
		if tries%4 == 3 {
			c.log.Restart()
		}
		seq, err = c.log.Append(context.Background(), g.Prev, data)
	}
	if errors.Is(err, stream.ErrFull) {
		return // nobody was told that it is stored
	}
	if err != nil {
		c.t.Fatalf("append group after %d: %v", g.Prev, err)
	}
	if g, err = events.DecodeGroup(bytes.Clone(data)); err != nil {
		c.t.Fatalf("decode group %d: %v", seq, err)
	}
	c.last = stream.Stored{Seq: seq, Data: data, Group: g}
	c.fold(c.last)
}

// fold gives a group to the store and, unless it knows it already, to the
// model; both must say the same of every event.
func (c *crasher) fold(s stream.Stored) {
	c.t.Helper()
	answers := expectSeats(c.store, s.Group)
	got, err := c.store.Apply(s.Seq, s.Group, nil)
	if err != nil {
		c.t.Fatalf("apply group %d: %v", s.Seq, err)
	}
	defer compareAnswers(c.t, c.model, answers)
	if k := len(c.folded); k > 0 && c.folded[k-1].Seq >= s.Seq {
		return // a repetition after a crash
	}
	c.folded = append(c.folded, s)
	want := c.model.Fold(s.Group)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		c.t.Fatalf("group %d: events are %v, want %v", s.Seq, got, want)
	}
}

func (c *crasher) sync() {
	c.t.Helper()
	s, err := c.store.Sync(context.Background())
	if err != nil {
		c.t.Fatalf("sync: %v", err)
	}
	c.promised(s)
}

// promised notes what Sync told, and that nothing it told goes back.
func (c *crasher) promised(s projections.Synced) {
	c.t.Helper()
	if s.Cursor.Seq < c.told.Cursor.Seq || s.Size < c.told.Size {
		c.t.Fatalf("sync told of group %d and size %d, after %d and %d", s.Cursor.Seq, s.Size, c.told.Cursor.Seq, c.told.Size)
	}
	c.told = s
	if s.Checkpoint == nil {
		return
	}
	cp, err := ledger.ParseCheckpoint(s.Checkpoint)
	if err != nil || cp.Size != s.Size {
		c.t.Fatalf("sync handed out checkpoint %+v with size %d, %v", cp, s.Size, err)
	}
	if k := len(c.announced); k == 0 || c.announced[k-1] != cp.Checkpoint {
		c.announced = append(c.announced, cp.Checkpoint)
	}
}

// cutWork is what goes on while power fails.
func (c *crasher) cutWork() func() {
	switch c.rng.IntN(3) {
	case 0:
		return func() {
			for range 1 + c.rng.IntN(4) {
				c.apply(c.gen.runs(c.now)...)
			}
			_, _ = c.store.Sync(context.Background())
		}
	case 1:
		return func() { _, _ = c.store.Usage(context.Background(), projections.Query{}) }
	}
	return func() { _, _ = c.store.Sync(context.Background()) }
}

// powerCutWhile lets power fail at some write operation of work. What Sync says
// after that moment was never heard.
func (c *crasher) powerCutWhile(work func()) bool {
	found := c.disk.PowerCutIn(1+uint64(c.rng.IntN(12)), c.rng.IntN(101))
	work()
	if disk := found(); disk != nil {
		c.seen["power cut within a write"]++
		_ = c.store.Abandon()
		c.log.PowerCut(c.rng.IntN(2) == 0)
		return c.restart(disk, true)
	}
	return true
}

func (c *crasher) reopen() bool {
	c.t.Helper()
	if err := c.store.Close(); err != nil {
		c.t.Fatalf("close: %v", err)
	}
	c.log.Restart()
	return c.restart(c.disk, false)
}

func (c *crasher) powerCut() bool {
	c.seen["power cut"]++
	disk := c.disk.PowerCut(c.rng.IntN(101))
	_ = c.store.Abandon()
	c.log.PowerCut(c.rng.IntN(2) == 0)
	return c.restart(disk, true)
}

// restart opens the store on disk, compares the end of the log with it and
// folds what it lacks, as the daemon does. It reports whether the site runs: if
// the log lost or changed something, it must not.
func (c *crasher) restart(disk *crashtest.Disk, crashed bool) bool {
	c.t.Helper()
	c.disk, c.opts.FS = disk, disk.FS()
	c.opts.MustExist = c.told.Size > 0
	var err error
	if c.store, err = projections.Open(c.opts); err != nil {
		c.t.Fatalf("open after a crash (%v): %v", crashed, err)
	}
	cur := c.store.Cursor()
	if cur.Seq < c.told.Cursor.Seq || c.store.Status().Records < c.told.Size {
		c.t.Fatalf("store is at group %d with %d records, it had promised %d and %d", cur.Seq, c.store.Status().Records, c.told.Cursor.Seq, c.told.Size)
	}
	c.checkAnnounced()
	if c.folded != nil && c.rng.IntN(10) == 0 {
		c.damageLog(cur.Seq)
	}
	want := judge(c.log, cur)
	err = c.catchUp(cur)
	if got := startCode(err); got != want {
		c.t.Fatalf("start with cursor %d: %v, want %q: %v", cur.Seq, err, want, c.log.Messages)
	}
	c.term++
	if c.seen["start "+want]++; want == "" && c.last.Seq > cur.Seq {
		c.seen["store behind the log"]++
	}
	for err == nil && c.store.Origin() == "" {
		c.apply(c.site.opening(defaults, crashMeters...)...)
	}
	return err == nil
}

// catchUp is what the daemon does between opening its store and taking events.
func (c *crasher) catchUp(cur projections.Cursor) error {
	last, err := c.log.Last(context.Background())
	if err != nil {
		return err
	}
	var sum ledger.Hash
	if last.Group != nil {
		sum = last.Group.Sum
	}
	if err := c.store.CheckEnd(last.Seq, sum); err != nil {
		return err
	}
	var fresh []stream.Stored
	for s, err := range c.log.Read(context.Background(), cur.Seq) {
		if err == nil && s.Seq == cur.Seq+1 && ledger.Hash(s.Group.PrevSum) != cur.Sum {
			_, err = c.store.Apply(s.Seq, s.Group, nil)
		}
		if err != nil {
			return err
		}
		fresh = append(fresh, s)
	}
	c.rewrite(cur.Seq, fresh)
	for _, s := range fresh {
		c.fold(s)
	}
	c.last = last
	return nil
}

// rewrite tells the model what the log holds after seq, if that is no longer
// what it folded: a log may lose what was only stored, and give out its numbers
// again.
func (c *crasher) rewrite(seq uint64, fresh []stream.Stored) {
	keep := len(c.folded)
	for keep > 0 && c.folded[keep-1].Seq > seq {
		keep--
	}
	same := len(c.folded)-keep <= len(fresh)
	for i := 0; same && keep+i < len(c.folded); i++ {
		same = c.folded[keep+i].Group.Sum == fresh[i].Group.Sum
	}
	if same {
		return
	}
	c.seen["log rewritten"]++
	c.model = model.New()
	for _, s := range c.folded[:keep] {
		c.model.Fold(s.Group)
	}
	c.folded = c.folded[:keep]
}

// damageLog does to the log at rest what JetStream was seen to do, or what
// somebody does to its files.
func (c *crasher) damageLog(cursor uint64) {
	list, last := c.log.Entries()
	if len(list) == 0 {
		return
	}
	seq := list[c.rng.IntN(len(list))].Seq
	switch c.rng.IntN(6) {
	case 0:
		c.log.Skip(seq)
		c.spoiled = c.spoiled || seq <= cursor
	case 1:
		c.log.Flip(seq, c.rng.IntN(4000))
		c.spoiled = c.spoiled || seq <= cursor
	case 2:
		c.log.Cut(seq)
	case 3: // cut, and the numbers given out again
		c.log.Cut(seq)
		prev, err := c.log.Last(context.Background())
		if err != nil {
			return
		}
		for range 1 + c.rng.IntN(int(last-seq)+3) {
			g := &events.Group{Prev: prev.Seq, PrevSum: prev.Group.Sum, First: prev.Group.First + uint64(prev.Group.Count),
				WallNS: max(prev.Group.WallNS, c.now.UnixNano()), Term: prev.Group.Term}
			data, err := events.AppendGroup(nil, g)
			if err != nil {
				c.t.Fatal(err)
			}
			c.log.Publish("", data, true)
			if prev, err = c.log.Last(context.Background()); err != nil {
				c.t.Fatal(err)
			}
		}
	case 4:
		c.log.Publish(fmt.Sprint(c.rng.Uint64()), list[len(list)-1].Data, true) // past the gateway, or again
	case 5:
		c.log.Unready()
	}
}

// judge says with which code a start has to end, from what lies in the log
// itself; "": it has to go well.
func judge(l *fakelog.Log, cur projections.Cursor) string {
	if _, err := l.Last(context.Background()); errors.Is(err, stream.ErrUnreachable) {
		return "store_unreachable"
	}
	list, last := l.Entries()
	at := map[uint64]*events.Group{}
	changed := map[uint64]string{}
	for _, e := range list {
		if e.Damaged {
			continue
		}
		if changed[e.Seq] = changedCode(e.Data); changed[e.Seq] != "" {
			continue
		}
		if g, err := events.DecodeGroup(e.Data); err == nil {
			at[e.Seq] = g
		}
	}
	switch end := at[last]; {
	case last > 0 && end == nil:
		return cmp.Or(changed[last], "stream_damaged") // the end cannot be read
	case last < cur.Seq:
		return "stream_behind_cursor"
	case last == cur.Seq && last > 0 && ledger.Hash(end.Sum) != cur.Sum:
		return "stream_damaged"
	case last == cur.Seq:
		return ""
	case changed[cur.Seq] != "":
		return changed[cur.Seq]
	}
	sum, next := [32]byte(cur.Sum), cur.Next
	for seq := cur.Seq + 1; seq <= last; seq++ {
		switch g := at[seq]; {
		case changed[seq] != "":
			return changed[seq]
		case g == nil, g.Prev != seq-1, g.PrevSum != sum, g.First != next:
			return "stream_hole"
		default:
			sum, next = g.Sum, g.First+uint64(g.Count)
		}
	}
	return ""
}

// changedCode says what a group is whose bytes are not those that were appended;
// "": it is whole.
func changedCode(b []byte) string {
	sum := sha256.Sum256(slices.Concat(b[:88], b[120:]))
	switch {
	case bytes.Equal(sum[:], b[88:120]):
		return ""
	case string(b[:4]) == "MSGB" && (b[4] != 1 || b[5]&^1 != 0):
		return "upgrade_needed" // where another version has its sum nobody knows
	}
	return "stream_damaged"
}

// startCode is the code with which the daemon would stop.
func startCode(err error) string {
	for target, code := range map[error]string{projections.ErrStreamBehind: "stream_behind_cursor", projections.ErrHole: "stream_hole",
		projections.ErrStreamChanged: "stream_damaged"} {
		if errors.Is(err, target) {
			return code
		}
	}
	return stream.Code(err)
}

func (c *crasher) groups(ctx context.Context, after uint64) iter.Seq2[projections.Stored, error] {
	return func(yield func(projections.Stored, error) bool) {
		if list, _ := c.log.Entries(); after == 0 && len(list) > 0 {
			after = list[0].Seq - 1
		}
		for s, err := range c.log.Read(ctx, after) {
			if !yield(projections.Stored{Seq: s.Seq, Group: s.Group}, err) {
				return
			}
		}
	}
}
