package events

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
)

// DecodeGroup reads a group as it was written: length, sum, counts and every
// field are checked, but not that it follows another; that is [Group.Follows].
// Decoding what [AppendGroup] wrote gives the group that it was given.
//
// Strings of the group alias b, or a buffer of their own if it was compressed;
// Raw does too. Errors wrap ErrGroupDamaged or ErrGroupVersion.
func DecodeGroup(b []byte) (*Group, error) {
	g, table, payload, err := decodeGroupHeader(b)
	if err != nil {
		return nil, err
	}
	nodes, err := decodeNodes(table, int(binary.LittleEndian.Uint16(b[6:])))
	if err != nil {
		return nil, err
	}
	if b[5]&flagZstd != 0 {
		if payload, err = unpack(payload, int(binary.LittleEndian.Uint32(b[44:]))); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrGroupDamaged, err)
		}
	}
	d := groupReader{g: g, nodes: nodes, used: make([]bool, len(nodes)), left: make([]Event, g.Count)}
	r := reader{b: payload}
	for r.left() > 0 {
		g.Runs = append(g.Runs, Run{})
		d.run(&r, &g.Runs[len(g.Runs)-1])
		if r.err != nil {
			family := ErrGroupDamaged
			if r.err.Code == CodeUpgradeNeeded { // a batch or event of a newer version; the sum holds
				family = ErrGroupVersion
			}
			return nil, fmt.Errorf("%w: run %d: %w", family, len(g.Runs)-1, r.err)
		}
	}
	if len(d.left) > 0 {
		return nil, fmt.Errorf("%w: it has %d events, its header says %d", ErrGroupDamaged, g.Count-len(d.left), g.Count)
	}
	for i, used := range d.used {
		if !used {
			return nil, fmt.Errorf("%w: no run uses node %s of the table", ErrGroupDamaged, nodes[i])
		}
	}
	return g, nil
}

// decodeGroupHeader checks what stands before the node table, and the sum.
func decodeGroupHeader(b []byte) (g *Group, table, payload []byte, err error) {
	damaged := func(format string, args ...any) (*Group, []byte, []byte, error) {
		return nil, nil, nil, fmt.Errorf("%w: %s", ErrGroupDamaged, fmt.Sprintf(format, args...))
	}
	if len(b) < groupHeader || string(b[:4]) != groupMagic {
		return damaged("%d bytes are not a group: it begins with MSGB and has 120 bytes or more", len(b))
	}
	if b[4] != groupVersion || b[5]&^flagZstd != 0 {
		return nil, nil, nil, fmt.Errorf("%w: version %d, flags 0x%02x; this program reads version %d, flags 0x01", ErrGroupVersion, b[4], b[5], groupVersion)
	}
	if len(b) > MaxGroupBytes {
		return damaged("it has %d bytes, at most %d are allowed", len(b), MaxGroupBytes)
	}
	count, size := binary.LittleEndian.Uint32(b[40:]), binary.LittleEndian.Uint32(b[44:])
	tableSize, stored := binary.LittleEndian.Uint32(b[48:]), binary.LittleEndian.Uint32(b[52:])
	if uint64(groupHeader)+uint64(tableSize)+uint64(stored) != uint64(len(b)) {
		return damaged("it has %d bytes, its header says %d", len(b), uint64(groupHeader)+uint64(tableSize)+uint64(stored))
	}
	h := sha256.New()
	h.Write(b[:groupSummed])
	h.Write(b[groupHeader:])
	g = &Group{
		Prev: binary.LittleEndian.Uint64(b[8:]), WallNS: int64(binary.LittleEndian.Uint64(b[16:])),
		Term: binary.LittleEndian.Uint64(b[24:]), First: binary.LittleEndian.Uint64(b[32:]), Count: int(count),
		PrevSum: [32]byte(b[56:88]), Sum: [32]byte(b[88:120]),
	}
	if got := [32]byte(h.Sum(nil)); got != g.Sum {
		return damaged("its bytes give sum %x, it says %x", got[:8], g.Sum[:8])
	}
	switch {
	case count > MaxGroupEvents || size > MaxGroupPayload:
		return damaged("it has %d events in %d bytes, at most %d in %d are allowed", count, size, MaxGroupEvents, MaxGroupPayload)
	case b[5]&flagZstd == 0 && size != stored:
		return damaged("its payload has %d bytes, its header says %d", stored, size)
	case g.WallNS < 0 || g.First > math.MaxInt64:
		return damaged("time %d ns, first event %d", g.WallNS, g.First)
	}
	end := groupHeader + int(tableSize)
	return g, b[groupHeader:end:end], b[end:], nil
}

// decodeNodes reads the node table, each name once.
func decodeNodes(table []byte, count int) ([]string, error) {
	r := reader{b: table}
	nodes := make([]string, 0, min(count, len(table)/2))
	seen := make(map[string]bool, cap(nodes))
	for range count {
		name := r.string(MaxNameBytes)
		if r.err == nil && (name != unknownSender && !ValidNode(name) || seen[name]) {
			r.fail("bad_name", "%s is no node, or stands twice", shown(name))
		}
		if r.err != nil {
			return nil, fmt.Errorf("%w: node %d: %w", ErrGroupDamaged, len(nodes), r.err)
		}
		seen[name] = true
		nodes = append(nodes, name)
	}
	if r.left() != 0 {
		return nil, fmt.Errorf("%w: %d bytes behind the node table", ErrGroupDamaged, r.left())
	}
	return nodes, nil
}

// A groupReader reads the runs of g.
type groupReader struct {
	g     *Group
	nodes []string
	used  []bool  // as nodes
	left  []Event // room for the events that are still to come
	block blockReader
}

// run reads the run that r begins with.
func (d *groupReader) run(r *reader, run *Run) {
	node := r.uvarint()
	run.Form = Form(r.byte())
	body := r.bytes(MaxGroupPayload)
	if r.err != nil {
		return
	}
	if run.Form == FormControl {
		if node != 0 || !validLine(body) {
			r.fail("control", "%s is not a control line", shown(string(body)))
		}
		run.Raw = body
		return
	}
	if node >= uint64(len(d.nodes)) {
		r.fail("index", "node %d of a table of %d", node, len(d.nodes))
		return
	}
	run.Node, d.used[node] = d.nodes[node], true
	if run.Node == unknownSender && run.Form != FormRefusals {
		r.fail("bad_name", "events of an unknown sender")
		return
	}
	switch run.Form {
	case FormBatch:
		run.Raw = body
		h, err := parseBatchHeader(body)
		if err == nil && h.Count > len(d.left) {
			r.fail("count", "batch has %d events, %d are left of the count", h.Count, len(d.left))
			return
		}
		var b *Batch
		if err == nil {
			b, err = decodeBatch(body, &d.block, d.left)
		}
		if err != nil {
			r.err = err
			return
		}
		run.Epoch, run.First, run.Last, run.Events = b.Epoch, b.First, b.Last, b.Events
		d.left = d.left[len(b.Events):]
	case FormEvents:
		d.events(r, run, body)
	case FormRefusals:
		d.refusals(r, run, body)
	default:
		r.fail("form", "run of form %d", run.Form)
	}
}

func (d *groupReader) events(r *reader, run *Run, body []byte) {
	in := reader{b: body}
	evs := d.block.read(&in, d.g.WallMS(), d.left, MaxGroupEvents, true)
	if in.err == nil && in.left() != 0 {
		in.fail("length", "%d bytes behind the events of a run", in.left())
	}
	if r.err = in.err; r.err != nil {
		return
	}
	d.left = d.left[len(evs):]
	if len(evs) > 0 {
		run.Events = evs
	}
}

func (d *groupReader) refusals(r *reader, run *Run, body []byte) {
	in := reader{b: body}
	for in.left() > 0 && in.err == nil {
		f := Refusal{Reason: in.string(MaxNameBytes), Count: in.uvarint()}
		if in.err == nil && (!ValidName(f.Reason) || f.Count == 0 || f.Count > math.MaxInt64) {
			in.fail("refusal", "%d refusals for %s", f.Count, shown(f.Reason))
		}
		run.Refusals = append(run.Refusals, f)
	}
	if in.err == nil && len(run.Refusals) == 0 {
		in.fail("empty", "a run of refusals has none")
	}
	r.err = in.err
}
