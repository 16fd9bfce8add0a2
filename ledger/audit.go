package ledger

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"

	"github.com/meterseal/meterseal/events"
)

// An Audit follows the records of a ledger one by one and finds what does not
// add up: booking numbers, coverage, the account of each node, totals, the close
// and its group hash, times, what may stand where, and nodes that saw more than
// the ledger has (docs/formats/ledger.md). The verifier of reports, the ledger's
// own check and the tests all use it.
//
// It begins at the start of a ledger, or after a close whose state the lines
// given to AddBase carry over. Its memory grows with nodes, meters, pools and enrolled
// keys, never with records, and a usage, late or beat record costs no
// allocation. It does not hash the tree: the caller does, and compares the roots
// that Claims names.
//
// An Audit is not safe for concurrent use.
type Audit struct {
	// Origin of the ledger, if it is known: keys must belong to it. An open
	// record sets it.
	Origin string
	// OnRecord is called for each well-formed record but usage, late and beat.
	OnRecord func(index uint64, r Record)

	findings findings
	claims   claims
	ahead    []Finding // of seen records; a restore explains them

	base  *CloseEnd // the close that the audit begins after; nil: none
	size  uint64    // at which it begins
	next  uint64    // index of the next record
	index uint64    // of the record being added

	nodes    map[string]*nodeAudit
	list     []*nodeAudit // nodes in the order in which they came up, so that findings do too
	live     int          // of them, not removed
	lastNode *nodeAudit
	meters   map[string]*meterAudit
	lastMet  *meterAudit
	pools    map[string]*poolAudit
	keys     map[Hash]struct{} // enrolled keys but the site's
	siteKey  string            // last one enrolled in these records

	window   uint64 // length of a window, seconds; 0: not known yet
	newestTo int64  // greatest TO of a usage record: windows up to it are closed
	time     int64  // of the newest record that has one
	no       uint64 // of the last close
	until    int64
	boots    uint64
	serial   uint64
	bindings map[string]string
	restored bool
	retired  bool
	ended    bool // the record before was a close end
	work     int  // steps spent on records that concern all nodes

	group groupAudit
}

// allNodesWork bounds what records that concern every node may cost together, in
// steps, so that a short hostile file cannot cost minutes.
const allNodesWork = 200_000_000

// NewAudit returns an audit of the records from index size on. Prev is the close
// end at index size-1, nil if and only if size is 0; then AddBase takes the lines
// of its group, and EndBase comes before the first Add.
func NewAudit(size uint64, prev *CloseEnd) *Audit {
	a := &Audit{
		size: size, next: size,
		nodes: map[string]*nodeAudit{}, meters: map[string]*meterAudit{}, pools: map[string]*poolAudit{}, keys: map[Hash]struct{}{},
	}
	a.group.sum = sha256.New()
	if prev != nil {
		a.base = prev
		a.time, a.no, a.until, a.boots, a.serial = prev.Time, prev.No, prev.Until, prev.Boots, prev.Serial
		a.newestTo = prev.Until
		a.ended = true
	}
	return a
}

// Next returns the index of the record that Add takes next.
func (a *Audit) Next() uint64 { return a.next }

// Findings returns what was found, at most FindingsMax: always the first.
func (a *Audit) Findings() []Finding { return a.findings.list }

// FindingCount returns how much was found in all.
func (a *Audit) FindingCount() uint64 { return a.findings.total }

// Verdict returns reject if any finding is of that kind, else explain if there
// is one, else ok.
func (a *Audit) Verdict() Verdict { return a.findings.worst }

// Find adds a finding of the caller's: of event lines, accepted sizes, receipts.
func (a *Audit) Find(code string, index uint64, format string, args ...any) {
	if !a.findings.full(code) {
		a.findings.add(Finding{Code: code, Index: index, Detail: fmt.Sprintf(format, args...)})
	}
}

func (a *Audit) find(code, format string, args ...any) { a.Find(code, a.index, format, args...) }

// Add takes the record at index, a line without LF; it keeps nothing of it.
// Records come in order without holes: anything else is a bug of the caller and
// panics.
func (a *Audit) Add(index uint64, line []byte) {
	if index != a.next {
		panic(fmt.Sprintf("ledger: audit of record %d where %d is next", index, a.next))
	}
	a.index = index
	a.next++
	if a.retired {
		a.find(CodeRetired, "record after retire")
		return
	}
	if index == 0 && !bytes.HasPrefix(line, []byte("open ")) {
		a.find(CodeMalformed, "the first record is not open")
	}
	if bytes.HasPrefix(line, []byte("close ")) {
		a.addClose(line)
		return
	}
	if a.group.lines > 0 {
		a.find(CodeTotals, "a close without close end")
		a.group.reset()
	}
	var ok bool
	switch {
	case bytes.HasPrefix(line, []byte("usage ")):
		ok = a.addUsage(line, line[len("usage "):], false)
	case bytes.HasPrefix(line, []byte("late ")):
		ok = a.addUsage(line, line[len("late "):], true)
	case bytes.HasPrefix(line, []byte("beat ")):
		ok = a.addBeat(line, line[len("beat "):])
	default:
		a.addOther(line)
		return
	}
	a.ended = false
	if !ok {
		a.malformed(line)
	}
}

// malformed says what is wrong with a line that the fast path refused.
func (a *Audit) malformed(line []byte) {
	if _, err := ParseRecord(string(line)); err != nil {
		a.find(CodeMalformed, "%v", err)
	} else {
		a.find(CodeMalformed, "%.200q", line)
	}
}

// Finish checks that the records end where a report may end: with a close end,
// or a retire after it. What nodes saw beyond the ledger is found here, since a
// restore explains it that may stand in any record after it.
func (a *Audit) Finish() {
	for _, f := range a.ahead {
		a.findings.insert(f)
	}
	a.ahead = nil
	if !a.ended && !a.retired {
		a.find(CodeMalformed, "the last record is neither close end nor retire")
	}
}

// State is where the ledger is after the records so far.
type State struct {
	Next     uint64 // size of the ledger
	Time     int64  // newest TIME
	No       uint64 // of the last close
	Until    int64  // windows up to here are closed
	Boots    uint64 // of the last boot
	Serial   uint64 // of the license in force
	SiteKey  string // vkey of the last site key that these records name; "": none
	Restored bool   // there was a restore record
	Retired  bool   // there was a retire record
}

// State returns where the ledger is.
func (a *Audit) State() State {
	return State{Next: a.next, Time: a.time, No: a.no, Until: a.until, Boots: a.boots, Serial: a.serial,
		SiteKey: a.siteKey, Restored: a.restored, Retired: a.retired}
}

// A MeterTotal is what an audit counted of a meter.
type MeterTotal struct {
	Meter       string
	Aggregation events.Aggregation
	Range       Total // of the records audited; unique: the largest that one of their closes states
	All         Total // since open; unique: count and corrections only
}

// Totals returns what was counted per meter, ascending by meter.
func (a *Audit) Totals() []MeterTotal {
	out := make([]MeterTotal, 0, len(a.meters))
	for name, m := range a.meters {
		out = append(out, MeterTotal{Meter: name, Aggregation: m.agg, Range: m.span, All: m.all})
	}
	slices.SortFunc(out, func(x, y MeterTotal) int { return cmpString(x.Meter, y.Meter) })
	return out
}

func cmpString(x, y string) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// Nodes returns the account of each node that is not removed, ascending by node,
// as a close at this point would state it; Open, Accepted and Silent are those
// of the last close.
func (a *Audit) Nodes() []CloseNode {
	out := make([]CloseNode, 0, a.live)
	for _, n := range a.nodes {
		if !n.removed {
			out = append(out, CloseNode{Node: n.name, Accepted: n.accepted, Counted: n.counted, Duplicate: n.duplicate,
				Rejected: n.rejected, Quarantined: uint64(n.quarantined), Voided: n.voided, Open: n.open, Covered: n.covered,
				Silent: n.silent, Witnessed: n.witness.Known, Epoch: n.witness.Epoch, Seq: n.witness.Seq, Taken: n.witness.Taken,
				Attrs: shortAttr(n.witness.Short)})
		}
	}
	slices.SortFunc(out, func(x, y CloseNode) int { return cmpString(x.Node, y.Node) })
	return out
}

// node returns the account of a node, and makes it when it is new. A node that
// was removed begins anew.
func (a *Audit) node(name []byte) *nodeAudit {
	if a.lastNode != nil && !a.lastNode.removed && string(name) == a.lastNode.name {
		return a.lastNode
	}
	n := a.nodes[string(name)]
	switch {
	case n == nil:
		if len(a.nodes) >= NodesMax {
			a.find(CodeTooLarge, "more than %d nodes", NodesMax)
			return &nodeAudit{name: string(name)}
		}
		n = &nodeAudit{name: string(name)}
		a.nodes[n.name] = n
		a.list = append(a.list, n)
		a.live++
	case n.removed:
		*n = nodeAudit{name: n.name}
		a.live++
	}
	a.lastNode = n
	return n
}

func (a *Audit) meter(name []byte, agg events.Aggregation) *meterAudit {
	m := a.lastMet
	if m == nil || string(name) != m.name {
		m = a.meters[string(name)]
		if m == nil {
			m = &meterAudit{name: string(name), agg: agg}
			if len(a.meters) >= MetersMax {
				a.find(CodeTooLarge, "more than %d meters", MetersMax)
				return m
			}
			a.meters[string(name)] = m
		}
		a.lastMet = m
	}
	if m.agg != agg {
		a.find(CodeTotals, "aggregation %v of meter %s, which is %v", agg, name, m.agg)
	}
	return m
}

// groupAudit follows the lines of a close.
type groupAudit struct {
	sum    hash.Hash
	lines  int
	kind   byte   // of the line before: 'k', 'n', 't'
	last   []byte // the line before
	keys   int
	nodes  int
	meters int
}

func (g *groupAudit) reset() {
	g.sum.Reset()
	g.lines, g.kind, g.last, g.keys, g.nodes, g.meters = 0, 0, g.last[:0], 0, 0, 0
}
