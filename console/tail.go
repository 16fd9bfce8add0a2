package console

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/httpapi"
)

// Limits of a tail.
const (
	maxTail     = 2000 // lines that are kept
	tailWatched = 500  // lines of one group while somebody watches
	tailAlone   = 20   // and while nobody does
	maxTailWait = 25 * time.Second
)

// A Tail keeps the newest events that came, for people who watch. It is bounded, and
// nobody who reads holds up who writes: a reader that is too slow is told how many
// lines it missed. The zero value is ready; nil keeps nothing.
type Tail struct {
	watched atomic.Int64 // ns since 1970: when somebody read last

	mu      sync.Mutex // protects what follows
	lines   []TailEvent
	next    uint64 // number of the next line
	counted uint64 // groups up to here are counted
	more    chan struct{}
}

// TailEvent is one event that came.
type TailEvent struct {
	Number   uint64    `json:"number"`
	Time     time.Time `json:"time" doc:"when it came"`
	Node     string    `json:"node"`
	Meter    string    `json:"meter,omitempty"`
	ID       string    `json:"id,omitempty"`
	Quantity int64     `json:"quantity" doc:"in the smallest unit of the meter"`
	Code     string    `json:"code" doc:"stored, counted, duplicate, quarantined, or why it was refused"`
	Seq      uint64    `json:"seq,omitempty" doc:"the group of the stream that holds or counts it"`
}

// Folded notes what became of the events of a group, in their order.
func (t *Tail) Folded(seq uint64, g *events.Group, ds []events.Disposition) {
	if t == nil || len(ds) == 0 {
		return
	}
	most := tailAlone
	if time.Now().UnixNano()-t.watched.Load() < int64(time.Minute) {
		most = tailWatched
	}
	at := time.Unix(0, g.WallNS).UTC()
	list := make([]TailEvent, 0, min(most, len(ds)))
	skip, i := len(ds)-cap(list), 0
	for r := range g.Runs {
		run := &g.Runs[r]
		for j := range run.Events {
			if i >= skip && i < len(ds) {
				e := &run.Events[j]
				list = append(list, TailEvent{Time: at, Node: run.Node, Meter: e.Meter, ID: strings.Clone(e.ID), Quantity: e.Quantity, Code: ds[i].Code(), Seq: seq})
			}
			i++
		}
	}
	t.add(uint64(skip), list...)
}

// Refused notes an event that was refused before the stream.
func (t *Tail) Refused(at time.Time, node, meter, code string, seq uint64) {
	if t != nil {
		t.add(0, TailEvent{Time: at.UTC(), Node: node, Meter: meter, Code: code, Seq: seq})
	}
}

// Counted says that the groups up to seq are counted on disk.
func (t *Tail) Counted(seq uint64) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if seq > t.counted {
		t.counted = seq
	}
}

// add appends lines after some that are left out.
func (t *Tail) add(skipped uint64, list ...TailEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next += skipped
	for _, e := range list {
		e.Node, e.Meter = strings.Clone(e.Node), strings.Clone(e.Meter)
		t.next++
		e.Number = t.next
		t.lines = append(t.lines, e)
	}
	if n := len(t.lines); n > 2*maxTail {
		t.lines = append(t.lines[:0], t.lines[n-maxTail:]...)
	}
	if t.more != nil {
		close(t.more)
		t.more = nil
	}
}

// read returns at most limit lines after a number, the newest of them; how many of
// those between were missed; and a channel that is closed when there is more.
func (t *Tail) read(after uint64, limit int) (list []TailEvent, next, missed, counted uint64, more <-chan struct{}) {
	t.watched.Store(time.Now().UnixNano())
	t.mu.Lock()
	defer t.mu.Unlock()
	if after > t.next {
		after = 0 // the daemon was started again
	}
	first := len(t.lines)
	for first > 0 && t.lines[first-1].Number > after && len(t.lines)-first < min(limit, maxTail) {
		first--
	}
	list = append([]TailEvent{}, t.lines[first:]...)
	for i := range list {
		if list[i].Code == events.Stored.Code() && list[i].Seq <= t.counted {
			list[i].Code = "counted"
		}
	}
	if after > 0 {
		missed = t.next - after - uint64(len(list))
	}
	if t.more == nil {
		t.more = make(chan struct{})
	}
	return list, t.next, missed, t.counted, t.more
}

func (s *server) tailRoutes() []route {
	return []route{{
		Method: http.MethodGet, Path: "/v1/events/tail", ID: "getEventTail", Right: access.Read,
		Summary: "The newest events that came",
		Doc: "Ask again with after as next said: the answer comes as soon as there is something new, or after wait. It shows the end of the stream and not all of it: under load lines are " +
			"left out, and missed says how many.",
		Params: []param{
			{Name: "after", Kind: httpapi.Count, Doc: "lines after this number; without it the newest"},
			{Name: "wait", Kind: httpapi.Count, Max: uint64(maxTailWait / time.Second), Doc: "seconds to wait for a line"},
			{Name: "limit", Kind: httpapi.Count, Max: maxTail, Doc: "at most so many, the newest; 100 if not given"},
		},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "Oldest first", Of: TailAnswer{}}},
		Problems: []int{400, 503},
		Serve:    s.getTail,
	}}
}

// TailAnswer is the answer of GET /v1/events/tail.
type TailAnswer struct {
	Events     []TailEvent `json:"events" nullable:"false"`
	Next       uint64      `json:"next" doc:"value of after for the next request"`
	Missed     uint64      `json:"missed,omitempty" doc:"lines since after that are not in the answer"`
	CountedSeq uint64      `json:"counted_seq" doc:"what is stored in groups up to here is counted"`
}

func (s *server) getTail(w http.ResponseWriter, r *http.Request, q values) error {
	if s.StoreDisabled || s.Tail == nil {
		return noStore()
	}
	limit := 100
	if q.Has("limit") {
		limit = int(q.N["limit"])
	}
	timer := time.NewTimer(time.Duration(q.N["wait"]) * time.Second)
	defer timer.Stop()
	for {
		list, next, missed, counted, more := s.Tail.read(q.N["after"], limit)
		out := TailAnswer{list, next, missed, counted}
		if len(list) > 0 || q.N["wait"] == 0 {
			return s.answer(w, http.StatusOK, out)
		}
		select {
		case <-more:
		case <-timer.C:
			return s.answer(w, http.StatusOK, out)
		case <-r.Context().Done():
			return nil
		}
	}
}
