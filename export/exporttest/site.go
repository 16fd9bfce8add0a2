package exporttest

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
)

// WindowSeconds is the length of a window of a [Site].
const WindowSeconds = 900

// Start is when a Site opens its ledger: 2026-11-02T08:00:00Z.
const Start = 1793606400

// Secret returns 32 bytes for the word: H("meterseal example " + word). These
// are the example keys of docs/formats/vectors. Never trust them.
func Secret(word string) [32]byte { return sha256.Sum256([]byte("meterseal example " + word)) }

// Key returns the example key of that word.
func Key(name string, typ byte, word string) *ledger.SecretKey {
	seed := Secret(word)
	k, err := ledger.NewSecretKey(name, typ, seed[:])
	if err != nil {
		panic(err)
	}
	return k
}

// A Site makes a ledger whose records add up, window by window. Sink gets each
// record instead of the Ledger if it is set, so that millions need no memory.
type Site struct {
	Ledger *Ledger
	Sink   func(line string)
	Signer note.Signer
	Serial uint64 // of the license in force, which each close states
	Boots  uint64 // likewise the number of the last boot
	// Offline are nodes that say nothing when they use nothing.
	Offline map[string]bool

	secret  *ledger.SecretKey
	size    uint64
	tree    ledger.Frontier
	until   int64
	closeNo uint64
	nodes   map[string]*account
	names   []string // of nodes, ascending
	meters  map[string]*total
	ids     []string // of meters, ascending
	scratch []byte
}

type account struct{ counted, silent uint64 }

type total struct {
	agg        events.Aggregation
	count, all uint64
	value      int64
	allValue   int64
	dvalue     int64
	allDValue  int64
}

// A Cell is what a node used of a meter in one window.
type Cell struct {
	Node, Meter string
	Events      []Event
}

// An Event is one use. Empty strings are not recorded.
type Event struct {
	OffsetMS       int64 // into the window
	Quantity       int64
	User, Host, ID string
	Public         map[string]string
	Attrs          map[string]string // further private dimensions
}

// NewSite opens the example ledger: its origin, key and first records are those
// of docs/formats/vectors/a.usage, and its first checkpoint of size 5 is signed.
func NewSite() *Site {
	s := newSite()
	s.Ledger = NewLedger(s.origin(), s.vkey())
	s.open()
	return s
}

// NewSinkSite is NewSite for a ledger whose records go to sink.
func NewSinkSite(sink func(line string)) *Site {
	s := newSite()
	s.Ledger = NewLedger(s.origin(), s.vkey())
	s.Sink = sink
	s.open()
	return s
}

func newSite() *Site {
	s := &Site{until: Start, Boots: 1, nodes: map[string]*account{}, meters: map[string]*total{}}
	s.secret = siteKey()
	return s
}

// Nonce returns the nonce of the example ledger's open record.
func Nonce() [8]byte {
	n := Secret("open nonce")
	return [8]byte(n[:8])
}

// siteKey returns the key of the example ledger.
func siteKey() *ledger.SecretKey {
	public := Key("x/y", ledger.KeyEd25519, "site").VKey().Public
	origin := ledger.Origin{Domain: "meter.example", License: "L-2026-417",
		Ledger: ledger.LedgerID("meter.example", "L-2026-417", public, Nonce())}
	return Key(origin.String(), ledger.KeyEd25519, "site")
}

// An Opening says how a site other than the example begins its ledger.
type Opening struct {
	Domain, License string
	// Word makes the key and the nonce: other words are other sites.
	Word string
	// Key is another word for the key alone: an old key under a new nonce.
	Key string
	// Open and Boot are attributes of those records. Boot has those of the
	// example where it is nil.
	Open, Boot ledger.Attrs
	// Note is the unbound license that is taken into use, KeyID that of its
	// signature; nil: none.
	Note  []byte
	KeyID uint32
	// Time is when it is opened; 0: Start. It is the begin of a window.
	Time int64
}

// OpenSite opens a ledger and signs its first checkpoint, of an odd size.
func OpenSite(o Opening) *Site {
	if o.Time == 0 {
		o.Time = Start
	}
	if o.Key == "" {
		o.Key = o.Word
	}
	if o.Boot == nil {
		o.Boot = ledger.Attrs{{Name: "license", Value: o.License}, {Name: "name", Value: "plant " + o.Word}, {Name: "os", Value: "linux/amd64"},
			{Name: "solution", Value: "renderd"}, {Name: "vm", Value: "none"}}
	}
	secret := Secret("nonce " + o.Word)
	nonce := [8]byte(secret[:8])
	public := Key("x/y", ledger.KeyEd25519, "site "+o.Key).VKey().Public
	origin := ledger.Origin{Domain: o.Domain, License: o.License, Ledger: ledger.LedgerID(o.Domain, o.License, public, nonce)}
	s := &Site{until: o.Time, Boots: 1, nodes: map[string]*account{}, meters: map[string]*total{}, secret: Key(origin.String(), ledger.KeyEd25519, "site "+o.Key)}
	s.Ledger = NewLedger(s.origin(), s.vkey())
	signer, err := s.secret.Signer(nil)
	if err != nil {
		panic(err)
	}
	s.Signer = signer
	s.Append(&ledger.Open{Format: 1, Time: o.Time, Origin: s.origin(), VKey: s.vkey(), Nonce: nonce, Attrs: o.Open})
	s.Append(&ledger.Boot{Time: o.Time, Boots: 1, Nonce: [16]byte(secret[8:24]), Version: "1.0.0", Window: WindowSeconds, Attrs: o.Boot})
	if o.Note != nil {
		id, _ := o.Boot.Get("license")
		s.Append(&ledger.License{Time: o.Time, ID: id, KeyID: o.KeyID, Digest: sha256.Sum256(o.Note)})
	}
	s.Close()
	return s
}

// Clone returns a copy that goes on by itself: another disk with the same key.
func (s *Site) Clone() *Site {
	c := *s
	c.Ledger = s.Ledger.Clone(s.Ledger.Size())
	c.tree = *s.tree.Clone()
	c.nodes, c.meters = map[string]*account{}, map[string]*total{}
	for k, v := range s.nodes {
		n := *v
		c.nodes[k] = &n
	}
	for k, v := range s.meters {
		m := *v
		c.meters[k] = &m
	}
	c.names, c.ids, c.scratch = slices.Clone(s.names), slices.Clone(s.ids), nil
	return &c
}

// Secret returns the key that signs for s.
func (s *Site) Secret() *ledger.SecretKey { return s.secret }

// Now is when the newest close was made.
func (s *Site) Now() int64 { return s.now() }

func (s *Site) origin() string { return s.secret.VKey().Name }
func (s *Site) vkey() string   { return s.secret.VKey().String() }

func (s *Site) open() {
	signer, err := s.secret.Signer(nil)
	if err != nil {
		panic(err)
	}
	s.Signer = signer
	nonce := Secret("boot nonce 1")
	s.Append(&ledger.Open{Format: 1, Time: Start, Origin: s.origin(), VKey: s.vkey(), Nonce: Nonce()})
	s.Append(&ledger.Boot{Time: Start, Boots: 1, Nonce: [16]byte(nonce[:16]), Version: "1.0.0", Window: WindowSeconds, Attrs: ledger.Attrs{
		{Name: "license", Value: "L-2026-417"}, {Name: "name", Value: "plant north"}, {Name: "os", Value: "linux/amd64"},
		{Name: "solution", Value: "renderd"}, {Name: "vm", Value: "none"}}})
	for _, line := range firstLines {
		s.AppendLine([]byte(line))
	}
	s.closeNo = 1
	s.Sign()
}

// firstLines are the rest of the example's first report; the license is the
// unbound one of the vectors.
var firstLines = []string{
	"license 1793606400 L-2026-417 0 90bcfa60 tFk0rqO8AhqKEeNYKsUVz506sgJ0S2DrLr6/EBmFqKs= 0",
	"clock 1793606460 0 pad",
	"close end 1 1793606460 1793606400 1 0 3 92jf50+mVXV6mUprTP3Y8lppdNAPwCxGqG5TukQZ1Sg= 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU= rulebook=documents/3",
}

// Size returns the number of records.
func (s *Site) Size() uint64 { return s.size }

// Until returns the end of the last window.
func (s *Site) Until() int64 { return s.until }

// Append appends a record as it is.
func (s *Site) Append(r ledger.Record) { s.AppendLine(r.AppendLine(nil)) }

// AppendLine appends a line as it is, whether or not it adds up.
func (s *Site) AppendLine(line []byte) {
	s.tree.Append(ledger.LeafHash(line))
	if s.size++; s.Sink != nil {
		s.Sink(string(line))
		return
	}
	s.Ledger.Lines = append(s.Ledger.Lines, string(line))
}

// Window closes the next window with these cells, which it sorts; nodes that
// were seen before and used nothing get a beat, those of Offline a gap.
func (s *Site) Window(cells ...Cell) {
	slices.SortFunc(cells, func(a, b Cell) int {
		return strings.Compare(a.Node+" "+a.Meter, b.Node+" "+b.Meter)
	})
	used := map[string]bool{}
	for _, c := range cells {
		used[c.Node] = true
		s.usage(c)
	}
	for _, n := range s.names {
		switch {
		case used[n]:
		case s.Offline[n]:
			s.Append(&ledger.Gap{Node: n, From: s.until, To: s.until + WindowSeconds, Reason: ledger.GapOffline})
		default:
			s.Append(&ledger.Beat{Node: n, From: s.until, To: s.until + WindowSeconds})
		}
	}
	s.until += WindowSeconds
}

// Late books events of a window that was closed before.
func (s *Site) Late(c Cell, from int64) {
	s.Append(s.book(c, from))
}

// Adjust books a correction of the window that begins at from: so much more or
// less of a meter.
func (s *Site) Adjust(node, meter string, from, dvalue int64, reason string) {
	m := s.meter(meter)
	m.dvalue, m.allDValue = m.dvalue+dvalue, m.allDValue+dvalue
	leaf := s.event(s.size, 0, from, Event{OffsetMS: 1000, Quantity: dvalue})
	var tree ledger.Frontier
	tree.Append(leaf)
	s.Append(&ledger.Adjust{Node: node, Meter: meter, Aggregation: m.agg, From: from, To: from + WindowSeconds, DValue: dvalue, Reason: reason, Count: 1, Root: tree.Root()})
}

// Silence closes the next window, of which nobody knows what a node did; the
// others were idle.
func (s *Site) Silence(node, reason string) {
	s.node(node)
	s.Append(&ledger.Gap{Node: node, From: s.until, To: s.until + WindowSeconds, Reason: reason})
	s.nodes[node].silent += WindowSeconds
	for _, n := range s.names {
		if n != node {
			s.Append(&ledger.Beat{Node: n, From: s.until, To: s.until + WindowSeconds})
		}
	}
	s.until += WindowSeconds
}

func (s *Site) usage(c Cell) { s.Append(s.book(c, s.until)) }

// book counts a cell of the window that begins at from.
func (s *Site) book(c Cell, from int64) *ledger.Usage {
	node, meter := s.node(c.Node), s.meter(c.Meter)
	index := s.size
	u := &ledger.Usage{Node: c.Node, Meter: c.Meter, Aggregation: events.Sum, Late: from < s.until, From: from, To: from + WindowSeconds,
		Count: uint64(len(c.Events)), Q0: node.counted, Q1: node.counted + uint64(len(c.Events))}
	var tree ledger.Frontier
	for i, e := range c.Events {
		u.Value += e.Quantity
		tree.Append(s.event(index, uint64(i), from, e))
	}
	u.Root = tree.Root()
	node.counted = u.Q1
	meter.count, meter.all = meter.count+u.Count, meter.all+u.Count
	meter.value, meter.allValue = meter.value+u.Value, meter.allValue+u.Value
	return u
}

// event returns the leaf of an event and keeps its lines.
func (s *Site) event(index, i uint64, from int64, e Event) ledger.Hash {
	line := &ledger.EventLine{TimeMS: from*1000 + e.OffsetMS, Quantity: e.Quantity}
	c := export.CellEvent{Salt: salt(index, i, 0), PrivateSalt: salt(index, i, 1)}
	if e.User != "" {
		t := sha256.Sum256([]byte("tag " + e.User))
		line.Tagged, line.Tag = true, [16]byte(t[:16])
	}
	p := &ledger.PrivateLine{User: e.User, Host: e.Host, ID: e.ID, Dimensions: dimensions(e.Attrs)}
	if !p.Empty() {
		b := p.AppendLine(nil)
		line.HasPrivate, line.Private, c.Private = true, ledger.PrivateHash(c.PrivateSalt, b), string(b)
	}
	line.Public = dimensions(e.Public)
	s.scratch = line.AppendLine(s.scratch[:0])
	c.Line = string(s.scratch)
	if s.Sink == nil {
		s.Ledger.Events[index] = append(s.Ledger.Events[index], c)
	}
	return ledger.EventLeaf(c.Salt, s.scratch)
}

func dimensions(m map[string]string) []events.Dimension {
	var out []events.Dimension
	for k, v := range m {
		out = append(out, events.Dimension{Name: k, Value: v})
	}
	slices.SortFunc(out, func(a, b events.Dimension) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func salt(index, i uint64, which byte) [16]byte {
	b := binary.BigEndian.AppendUint64(nil, index)
	b = append(binary.BigEndian.AppendUint64(b, i), which)
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

func (s *Site) node(name string) *account {
	if s.nodes[name] == nil {
		s.nodes[name] = &account{}
		i, _ := slices.BinarySearch(s.names, name)
		s.names = slices.Insert(s.names, i, name)
	}
	return s.nodes[name]
}

func (s *Site) meter(id string) *total {
	if s.meters[id] == nil {
		s.meters[id] = &total{agg: events.Sum}
		i, _ := slices.BinarySearch(s.ids, id)
		s.ids = slices.Insert(s.ids, i, id)
	}
	return s.meters[id]
}

// Close appends a close and signs its checkpoint, and returns that's size.
func (s *Site) Close() uint64 {
	lines := s.closeLines()
	if (s.size+uint64(len(lines)))%2 == 1 {
		s.Append(&ledger.Clock{Time: s.now(), Cause: ledger.ClockPad})
	}
	group := sha256.New()
	for _, r := range lines {
		b := r.AppendLine(nil)
		group.Write(append(b, '\n'))
		s.AppendLine(b[:len(b):len(b)])
	}
	s.closeNo++
	s.Append(&ledger.CloseEnd{No: s.closeNo, Time: s.now(), Until: s.until, Boots: s.Boots, Serial: s.Serial, Cursor: s.closeNo,
		Sum: ledger.Hash(Secret("sum")), Group: ledger.Hash(group.Sum(nil)), Attrs: ledger.Attrs{{Name: "rulebook", Value: "documents/3"}}})
	s.Sign()
	return s.size
}

// now is when a close is made: a minute after its last window.
func (s *Site) now() int64 { return s.until + 60 }

func (s *Site) closeLines() []ledger.Record {
	var lines []ledger.Record
	for _, name := range s.names {
		n := s.nodes[name]
		lines = append(lines, &ledger.CloseNode{Node: name, Accepted: n.counted, Counted: n.counted, Covered: s.until, Silent: n.silent})
	}
	for _, id := range s.ids {
		m := s.meters[id]
		lines = append(lines, &ledger.CloseTotal{Meter: id, Aggregation: m.agg, Count: m.count, Value: m.value, DValue: m.dvalue,
			AllCount: m.all, AllValue: m.allValue, AllDValue: m.allDValue})
		m.count, m.value, m.dvalue = 0, 0, 0
	}
	return lines
}

// Sign signs the checkpoint of the records so far, also with further signers.
func (s *Site) Sign(more ...note.Signer) []byte {
	c := ledger.Checkpoint{Origin: s.origin(), Size: s.size, Root: s.tree.Root()}
	b, err := ledger.SignCheckpoint(c, append([]note.Signer{s.Signer}, more...)...)
	if err != nil {
		panic(err)
	}
	s.Ledger.Notes[s.size] = b
	return b
}

// Checkpoint returns the checkpoint of the records so far.
func (s *Site) Checkpoint() ledger.Checkpoint {
	return ledger.Checkpoint{Origin: s.origin(), Size: s.size, Root: s.tree.Root()}
}

// VKey returns the site's public key.
func (s *Site) VKey() string { return s.vkey() }

// SiteKey returns the secret key of the example ledger. Never trust it.
func SiteKey() *ledger.SecretKey { return siteKey() }
