package meter

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/events"
)

// Bounds of the sender.
const (
	windowMax  = 8         // batches without an answer
	batchBytes = 512 << 10 // of events in a batch, before compression
	backoffMin = 100 * time.Millisecond
	backoffMax = 15 * time.Second
)

// A sender brings events to the daemon: one goroutine, which alone reads and
// frees the spool. Batches leave in the order of their numbers, several at once;
// whatever goes wrong, it goes back to a number and sends again from there, which
// is safe since the daemon knows what it has by number.
type sender struct {
	m       *Meter
	r       reader
	subject string
	inbox   string
	answers chan answer
	counted chan *nats.Msg // what the daemon says is counted, in its order
	buf     []byte

	witness  *witness
	backward error  // why the ledger of the daemon was last not accepted
	clashes  bool   // the daemon has a newer epoch of this node
	ended    bool   // the daemon was told that this epoch ends
	doubts   []hole // numbers that the daemon took for repeated ones, and were not
	opened   uint64 // number of the first event of this process
	sure     bool   // the daemon took an event of this process: the numbers are its own
	renewed  uint64 // numbers below may be new ones of events that Flush waits for

	flights  []flight // without an answer, in order
	id       uint64   // of the newest
	acked    uint64   // numbers below had a good answer since the last step back
	high     uint64   // numbers below were sent before, by this process
	known    bool     // the daemon knows this epoch: it took a batch of it
	most     int      // events of a batch; fewer while a refused event is looked for
	narrow   uint64   // up to which number that search goes
	told     uint64   // numbers below were reported, if they were refused or damaged
	bad      *Refusal // an event that was refused and is not declared yet
	hole     hole     // numbers to be declared lost before the next batch
	stubborn int      // refusals of one lone event in a row

	watch  reader    // of the first event that waits
	looked time.Time // when that was looked at

	links   uint64 // reconnects seen
	up      bool
	due     time.Time // when what is there has to leave; zero: nothing is there
	pause   time.Time // nothing leaves before
	backoff time.Duration
	spoke   time.Time // when something left last
}

// A flight is a batch, or a declaration, without an answer.
type flight struct {
	id    uint64
	first uint64
	after uint64
	fresh uint64 // numbers from here on were never sent before
	sent  time.Time
	lost  bool // a declaration that these numbers are lost
}

// An answer is what came for a flight.
type answer struct {
	id   uint64
	body reply
}

// reply is a PubAck of a batch, or a refusal.
type reply struct {
	Stream       string `json:"stream"`
	Repeated     uint64 `json:"repeated"` // by their numbers: those at the beginning
	Refused      uint64 `json:"refused"`
	FirstRefused uint64 `json:"first_refused"`
	RefusedCode  string `json:"refused_code"`
	Error        *struct {
		Code        int    `json:"code"`
		Description string `json:"description"`
	} `json:"error"`
	Field string `json:"field"`
}

func newSender(m *Meter, w *witness) (*sender, error) {
	s := &sender{m: m, subject: "usage_batch." + m.o.Node, inbox: m.nc.NewInbox() + ".", answers: make(chan answer, 4*windowMax),
		counted: make(chan *nats.Msg, 256), witness: w, most: m.o.BatchEvents, backoff: backoffMin, spoke: m.now()}
	_, s.opened = m.spool.numbers()
	s.r.s, s.watch.s = m.spool, m.spool
	s.r.seek(0)
	s.acked, s.high = s.r.seq, s.r.seq
	_, err := m.nc.Subscribe(s.inbox+"*", func(msg *nats.Msg) {
		id, err := strconv.ParseUint(strings.TrimPrefix(msg.Subject, s.inbox), 10, 64)
		a := answer{id: id}
		if err != nil || (len(msg.Data) > 0 && json.Unmarshal(msg.Data, &a.body) != nil) {
			return // none of ours; what has no answer is sent again
		}
		select {
		case s.answers <- a:
		case <-m.ended:
		}
	})
	// On one channel, as they come: an older ledger that overtook a newer one would
	// look as if it had gone back.
	for _, subject := range [...]string{"counted." + m.o.Node, s.inbox + seenReply} {
		if err == nil {
			_, err = m.nc.ChanSubscribe(subject, s.counted)
		}
	}
	return s, err
}

// seenReply is where answers to what the node says it holds come, under the inbox.
const seenReply = "seen.counted"

// run sends until Close.
func (s *sender) run() {
	defer close(s.m.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wake := s.step()
		timer.Reset(time.Until(wake))
		select {
		case <-s.m.leave:
			s.goodbye()
			return
		case <-s.m.hurry:
			s.due = time.Now()
		case <-s.m.spool.wake:
		case <-s.m.link:
		case a := <-s.answers:
			s.answered(a)
		case msg := <-s.counted:
			s.heardCounted(msg.Data)
		case <-timer.C:
		}
	}
}

// step does what can be done now and returns when to look again.
func (s *sender) step() (wake time.Time) {
	now := time.Now()
	s.watchLink()
	if len(s.flights) > 0 && now.Sub(s.flights[0].sent) > s.m.o.answerWait {
		s.m.log.Warn("batches have no answer and are sent again", "node", s.m.o.Node, "seq", s.flights[0].first)
		s.back(s.acked)
		s.rest(now)
	}
	if s.due.IsZero() && !s.m.spool.wait(s.r.seq) {
		s.due = now.Add(s.m.o.BatchDelay)
	}
	wake = now.Add(s.m.o.beatEvery)
	if !s.due.IsZero() {
		wake = s.due
		if !now.Before(s.due) {
			wake = s.send(now)
		}
	}
	if s.up && now.Sub(s.spoke) >= s.m.o.beatEvery {
		s.spoke = now
		_ = s.m.nc.Publish("beat."+s.m.o.Node, nil) // one that is lost is made good by the next
	}
	s.watchAge(now)
	s.say(now)
	if t := s.witness.told.Add(seenMin); s.up && s.witness.due && t.Before(wake) {
		wake = t
	}
	if len(s.flights) > 0 {
		if t := s.flights[0].sent.Add(s.m.o.answerWait); t.Before(wake) {
			wake = t
		}
	}
	return wake
}

// send makes durable what is there and hands out as much of it as may be on its
// way at once.
func (s *sender) send(now time.Time) (wake time.Time) {
	limit, err := s.m.spool.sync()
	if err != nil {
		s.m.log.Error("the spool cannot be synced: what is in it is sent, new events are refused", "path", s.m.o.Dir, "err", err)
	}
	if !s.up {
		return now.Add(s.m.o.BatchDelay)
	}
	if now.Before(s.pause) {
		return s.pause
	}
	if s.clashes || len(s.doubts) > 0 {
		return now.Add(seenMin) // the daemon says where it is
	}
	for len(s.flights) < s.window() {
		if s.r.seq >= limit && s.hole.After == 0 {
			s.due = time.Time{} // the next event begins a new delay
			return now
		}
		if !s.sendNext(limit, now) {
			break
		}
	}
	return now.Add(s.m.o.beatEvery) // an answer comes before
}

// window is how many batches may be on their way. The first of an epoch goes
// alone: the daemon would take a later one for its beginning. So does the first of
// a process: if it is refused, nothing behind it may have been taken for repeated.
func (s *sender) window() int {
	if !s.known || s.narrow > 0 || s.bad != nil || !s.sure && s.r.seq >= s.opened {
		return 1
	}
	return windowMax
}

// sendNext sends one batch or declaration; false: it has to wait.
func (s *sender) sendNext(limit uint64, now time.Time) bool {
	if s.bad != nil && s.r.seq == s.bad.Number {
		s.giveUp()
	}
	if s.hole.After == 0 {
		most := s.most
		if s.bad != nil {
			limit = min(limit, s.bad.Number)
		}
		if s.r.seq < s.opened { // not together with events of this process
			limit = min(limit, s.opened)
		}
		list, lost, err := s.r.read(limit, most, batchBytes)
		if err != nil {
			s.m.log.Error("the spool cannot be read", "path", s.m.o.Dir, "err", err)
			s.rest(now)
			return false
		}
		if len(list) > 0 {
			return s.sendBatch(list, now)
		}
		if lost.After == 0 {
			return false
		}
		if s.hole = lost; s.report(lost.After - 1) {
			s.m.stats.lost.Add(lost.After - lost.First)
			s.m.log.Error("the spool is damaged: events are lost, and declared so", "path", s.m.o.Dir, "first", lost.First, "after", lost.After)
		}
	}
	if len(s.flights) > 0 {
		return false // what comes before has to be there first
	}
	epoch, _ := s.m.spool.numbers()
	body, _ := json.Marshal(map[string]any{"lost": map[string]uint64{"epoch": epoch, "first": s.hole.First, "after": s.hole.After}})
	return s.publish("beat."+s.m.o.Node, body, flight{first: s.hole.First, after: s.hole.After, lost: true}, now)
}

// sendBatch sends list, which the reader has just passed.
func (s *sender) sendBatch(list []events.Event, now time.Time) bool {
	first := s.r.seq - uint64(len(list))
	// A clock that was ahead and is right again must not hold up the spool.
	nowMS := now.UnixMilli()
	for i := range list {
		list[i].TimeMS = min(list[i].TimeMS, nowMS)
	}
	epoch, _ := s.m.spool.numbers()
	b := events.Batch{Epoch: epoch, First: first, Last: s.m.spool.endsAt(s.r.seq), Events: list}
	s.ended = s.ended || b.Last
	data, err := events.AppendBatch(s.buf[:0], &b, list[0].TimeMS, true)
	if err != nil { // too large together
		s.r.seek(first)
		if len(list) == 1 {
			s.refuse(first, "malformed", err.Error())
		} else {
			s.most, s.narrow = len(list)/2, s.r.seq
		}
		return true
	}
	s.buf = data
	return s.publish(s.subject, data, flight{first: first, after: s.r.seq}, now)
}

func (s *sender) publish(subject string, data []byte, f flight, now time.Time) bool {
	s.id++
	f.id, f.sent = s.id, now
	if err := s.m.nc.PublishRequest(subject, s.inbox+strconv.FormatUint(f.id, 10), data); err != nil {
		s.back(s.acked)
		s.rest(now)
		return false
	}
	if !f.lost && f.first < s.high {
		s.m.stats.resent.Add(1)
	}
	f.fresh = s.high
	s.high = max(s.high, f.after)
	s.flights = append(s.flights, f)
	s.spoke = now
	return true
}

// back forgets what is on its way and goes on at seq.
func (s *sender) back(seq uint64) {
	s.flights = s.flights[:0]
	s.hole = hole{}
	s.r.seek(seq)
	s.acked = s.r.seq
	s.due = time.Now()
	if s.bad != nil && s.bad.Number < s.r.seq { // it was declared before, and counted
		s.bad, s.most, s.narrow = nil, s.m.o.BatchEvents, 0
	}
}

// rest sends nothing for a while, longer each time.
func (s *sender) rest(now time.Time) {
	s.pause = now.Add(s.backoff/2 + rand.N(s.backoff))
	s.backoff = min(2*s.backoff, backoffMax)
	s.due = s.pause
}

// watchLink notices that the connection came or went. After it came back all that
// is not counted is sent again: the daemon may have lost its end meanwhile.
func (s *sender) watchLink() {
	up, links := s.m.nc.IsConnected(), s.m.nc.Stats().Reconnects
	if up && (!s.up || links != s.links) {
		s.links = links
		s.pause, s.backoff = time.Time{}, backoffMin
		s.back(s.m.countedMark())
		s.witness.told, s.witness.due = time.Time{}, true
	}
	s.up = up
}

// goodbye says that the node leaves, and that an epoch which ends with this
// process is complete: else its end would be a gap.
func (s *sender) goodbye() {
	for _, h := range s.doubts {
		s.m.log.Error("the spool had gone back, and Close did not wait until its events had new numbers: they are lost", "path", s.m.o.Dir, "first", h.First, "after", h.After)
		s.m.stats.lost.Add(h.After - h.First)
	}
	if !s.m.nc.IsConnected() {
		return
	}
	if _, next := s.m.spool.numbers(); next > 0 && !s.ended && s.acked >= next && s.m.spool.endsAt(next) {
		// Only a batch can say so, and a batch has an event: the last one again.
		s.r.seek(next - 1)
		if list, _, err := s.r.read(next, 1, batchBytes); err == nil && len(list) == 1 {
			s.sendBatch(list, time.Now())
		}
	}
	_ = s.m.nc.Publish("beat."+s.m.o.Node, []byte(`{"leaving":true}`))
	_ = s.m.nc.FlushTimeout(time.Second) // who does not hear it waits for the next beat
}
