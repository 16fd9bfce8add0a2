package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// LedgerMark is a record that stands on the timeline: all kinds but usage, beat,
// seat, reject and seen, which are there for every window or export.
type LedgerMark struct {
	Record uint64    `json:"record"`
	Kind   string    `json:"kind" doc:"first word of the record; close is the end of one"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to" doc:"equal to from for what has no length"`
	Words  string    `json:"words" doc:"what it means"`
	Lost   bool      `json:"lost,omitempty" doc:"of a gap: events are known to be lost"`
}

// LedgerTimeline is what happened in a ledger.
type LedgerTimeline struct {
	Origin  string            `json:"origin"`
	Size    uint64            `json:"size" doc:"records of the ledger"`
	Scanned uint64            `json:"scanned" doc:"records that were read for this answer; below size, ask again for the rest"`
	Oldest  uint64            `json:"oldest" doc:"the oldest record that is kept"`
	Kinds   map[string]uint64 `json:"kinds" doc:"records by kind"`
	Marks   []LedgerMark      `json:"marks" nullable:"false" doc:"the newest ones, oldest first"`
	All     int               `json:"all" doc:"marks that there are in the time asked for"`
}

// LedgerRecord is a line of the ledger.
type LedgerRecord struct {
	Record uint64 `json:"record"`
	Line   string `json:"line"`
	Words  string `json:"words" doc:"what it means"`
}

// LedgerRecords is a page of them.
type LedgerRecords struct {
	Size    uint64         `json:"size"`
	Records []LedgerRecord `json:"records" nullable:"false"`
	Next    uint64         `json:"next,omitempty" doc:"the record to go on with; absent: that was all"`
}

// RecordProof is a record and why it stands in the ledger.
type RecordProof struct {
	LedgerRecord
	Size       uint64   `json:"size" doc:"of the checkpoint"`
	Root       string   `json:"root" doc:"base64"`
	Proof      []string `json:"proof" nullable:"false" doc:"hashes, base64, from the leaf up (RFC 6962)"`
	Checkpoint string   `json:"checkpoint" doc:"the signed note"`
	Receipt    bool     `json:"receipt" doc:"the vendor has signed it too"`
}

// Bounds of these answers.
const (
	marksKept     = 100_000 // of the whole ledger, in memory: the newest
	marksDefault  = 200
	marksMax      = 2000
	scanAtOnce    = 200_000 // records that one answer reads at most
	recordsAtOnce = 200
	recordsLooked = 50_000 // that one page looks through for a kind
)

// A markIndex has the marks of a ledger. It goes on where it was, so that each
// record is read once.
type markIndex struct {
	mu    sync.Mutex // guards what follows
	next  uint64     // the first record that was not read
	kinds map[string]uint64
	marks []indexedMark
}

type indexedMark struct {
	record   uint64
	from, to int64
}

// often are kinds that are no marks.
func often(kind string) bool {
	switch kind {
	case "usage", "beat", "seat", "reject", "seen":
		return true
	}
	return false
}

// advance reads what the ledger has got since, and at most scanAtOnce of it.
func (x *markIndex) advance(ctx context.Context, s *server, oldest, size uint64) error {
	if x.kinds == nil {
		x.kinds = map[string]uint64{}
	}
	x.next = max(x.next, oldest)
	if x.next >= size {
		return nil
	}
	for line, err := range s.Store.Records(ctx, x.next, min(size, x.next+scanAtOnce)) {
		if err != nil {
			return err
		}
		x.add(x.next, line)
		x.next++
	}
	return nil
}

func (x *markIndex) add(record uint64, line string) {
	kind, _, _ := strings.Cut(line, " ")
	x.kinds[kind]++
	if often(kind) || kind == "close" && !strings.HasPrefix(line, "close end ") {
		return
	}
	rec, err := ledger.ParseRecord(line)
	if err != nil {
		return
	}
	m := indexedMark{record: record}
	if c, ok := rec.(*ledger.Clock); ok && c.Cause == ledger.ClockPad {
		return
	}
	m.from, m.to, _ = markSpan(rec)
	if len(x.marks) >= marksKept {
		x.marks = slices.Delete(x.marks, 0, marksKept/2)
	}
	x.marks = append(x.marks, m)
}

// markSpan is the time that a record is about.
func markSpan(rec ledger.Record) (from, to int64, lost bool) {
	switch r := rec.(type) {
	case *ledger.Usage:
		return r.From, r.To, false
	case *ledger.Adjust:
		return r.From, r.To, false
	case *ledger.Gap:
		return r.From, r.To, r.Lost
	case ledger.Timed:
		return r.RecordTime(), r.RecordTime(), false
	}
	return 0, 0, false
}

func (s *server) timelineRoutes() []route {
	return []route{{
		Method: http.MethodGet, Path: "/v1/ledger/timeline", ID: "getLedgerTimeline", Right: access.Read,
		Summary: "What happened in the ledger, in plain words",
		Doc:     "Closes, receipts, licenses, gaps, late and corrected windows, clock steps, restores, keys, starts. The first answers of a long ledger may not have read all of it: see scanned.",
		Params: []param{
			{Name: "from", Kind: httpapi.Time, Doc: "what ends after this instant"},
			{Name: "to", Kind: httpapi.Time, Doc: "what begins before this instant"},
			{Name: "limit", Kind: httpapi.Count, Max: marksMax, Doc: "at most so many, the newest; 200 if not given"},
		},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Of: LedgerTimeline{}}},
		Problems: []int{400, 503},
		Serve:    s.getTimeline,
	}, {
		Method: http.MethodGet, Path: "/v1/ledger/records", ID: "getLedgerRecords", Right: access.Read,
		Summary: "Records of the ledger, with what they mean",
		Params: []param{
			{Name: "from", Kind: httpapi.Count, Doc: "the first one; the oldest that is kept if not given"},
			{Name: "kind", Doc: "only these, such as gap"},
			{Name: "limit", Kind: httpapi.Count, Max: recordsAtOnce, Doc: "at most so many; 50 if not given"},
		},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Of: LedgerRecords{}}},
		Problems: []int{400, 503},
		Serve:    s.getRecords,
	}, {
		Method: http.MethodGet, Path: "/v1/ledger/records/{record}", ID: "getLedgerRecord", Right: access.Read,
		Summary:  "One record, with the proof that it stands under a signed checkpoint",
		Params:   []param{{Name: "record", In: "path", Doc: "its index"}},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Of: RecordProof{}}},
		Problems: []int{400, 404, 503},
		Serve:    s.getRecord,
	}}
}

func (s *server) getTimeline(w http.ResponseWriter, r *http.Request, q values) error {
	if s.StoreDisabled {
		return noStore()
	}
	if _, err := s.Store.Sync(r.Context()); err != nil {
		return storeProblem(err)
	}
	limit := marksDefault
	if q.Has("limit") {
		limit = int(q.N["limit"])
	}
	st, oldest := s.Store.Glance(), s.Store.Kept().Record
	s.marks.mu.Lock()
	err := s.marks.advance(r.Context(), s, oldest, st.Records)
	out := LedgerTimeline{Origin: st.Origin, Size: st.Records, Scanned: s.marks.next, Oldest: oldest, Kinds: map[string]uint64{}, Marks: []LedgerMark{}}
	for kind, n := range s.marks.kinds {
		out.Kinds[kind] = n
	}
	from, to := q.At["from"], q.At["to"]
	var chosen []indexedMark
	for i := len(s.marks.marks) - 1; i >= 0; i-- {
		m := s.marks.marks[i]
		if m.record < oldest || !from.IsZero() && m.to < from.Unix() || !to.IsZero() && m.from >= to.Unix() {
			continue
		}
		if out.All++; len(chosen) < limit {
			chosen = append(chosen, m)
		}
	}
	s.marks.mu.Unlock()
	if err != nil {
		return storeProblem(err)
	}
	slices.Reverse(chosen)
	for _, m := range chosen {
		mark, err := s.mark(m)
		if err != nil {
			return storeProblem(err)
		}
		out.Marks = append(out.Marks, mark)
	}
	return s.answer(w, http.StatusOK, out)
}

func (s *server) mark(m indexedMark) (LedgerMark, error) {
	line, err := s.Store.Record(m.record)
	if err != nil {
		return LedgerMark{}, err
	}
	kind, _, _ := strings.Cut(line, " ")
	out := LedgerMark{Record: m.record, Kind: kind, From: time.Unix(m.from, 0).UTC(), To: time.Unix(m.to, 0).UTC(), Words: export.RecordWords(line)}
	if rec, err := ledger.ParseRecord(line); err == nil {
		_, _, out.Lost = markSpan(rec)
	}
	return out, nil
}

func (s *server) getRecords(w http.ResponseWriter, r *http.Request, q values) error {
	if s.StoreDisabled {
		return noStore()
	}
	if _, err := s.Store.Sync(r.Context()); err != nil {
		return storeProblem(err)
	}
	limit := 50
	if q.Has("limit") {
		limit = int(max(1, q.N["limit"]))
	}
	out := LedgerRecords{Size: s.Store.Glance().Records, Records: []LedgerRecord{}}
	at := max(q.N["from"], s.Store.Kept().Record)
	last := min(out.Size, at+recordsLooked)
	if at >= out.Size {
		return s.answer(w, http.StatusOK, out)
	}
	for line, err := range s.Store.Records(r.Context(), at, last) {
		if err != nil {
			return storeProblem(err)
		}
		if len(out.Records) == limit {
			break
		}
		kind, _, _ := strings.Cut(line, " ")
		if want := q.Text["kind"]; want == "" || want == kind {
			out.Records = append(out.Records, LedgerRecord{at, line, export.RecordWords(line)})
		}
		at++
	}
	if at < out.Size {
		out.Next = at
	}
	return s.answer(w, http.StatusOK, out)
}

func (s *server) getRecord(w http.ResponseWriter, r *http.Request, _ values) error {
	if s.StoreDisabled {
		return noStore()
	}
	index, err := strconv.ParseUint(r.PathValue("record"), 10, 63)
	if err != nil {
		return badRequest("path.record", "is no number", "ask for a record by its index")
	}
	synced, err := s.Store.Sync(r.Context())
	if err != nil {
		return storeProblem(err)
	}
	out := RecordProof{Checkpoint: string(synced.Checkpoint), Proof: []string{}}
	if out.Line, err = s.Store.Record(index); err != nil {
		return &Problem{Status: http.StatusNotFound, Code: codeNotFound, Message: "record " + r.PathValue("record") + " is not kept here", Hint: "GET /v1/ledger/records has those that are"}
	}
	out.Record, out.Words = index, export.RecordWords(out.Line)
	if _, note, err := s.Store.ReceiptOver(index); err == nil {
		out.Checkpoint, out.Receipt = string(note), true
	} else if !errors.Is(err, projections.ErrNotFound) {
		return storeProblem(err)
	}
	cp, err := ledger.ParseCheckpoint([]byte(out.Checkpoint))
	if err != nil {
		return storeProblem(err)
	}
	proof, err := ledger.NewTree(s.Store, s.Store.Glance().Records).InclusionProof(index, cp.Size)
	if err != nil {
		return storeProblem(err)
	}
	out.Size, out.Root = cp.Size, cp.Root.String()
	for _, h := range proof {
		out.Proof = append(out.Proof, h.String())
	}
	return s.answer(w, http.StatusOK, out)
}
