package ledger

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// addOther takes every record but usage, late, beat and the lines of a close.
func (a *Audit) addOther(line []byte) {
	r, err := ParseRecord(string(line))
	wasEnd := a.ended
	a.ended = false
	if err != nil {
		a.find(CodeMalformed, "%v", err)
		return
	}
	if t, ok := r.(Timed); ok {
		a.addTime(t.RecordTime())
	}
	switch r := r.(type) {
	case *Open:
		a.addOpen(r)
	case *Boot:
		a.addBoot(r)
	case *Adjust:
		a.addAdjust(r)
	case *Gap:
		a.addGap(r)
	case *Reject:
		a.addReject(r)
	case *Seat:
		a.addSeat(r)
	case *Clock:
		if r.Step >= 86_400 || r.Step <= -86_400 {
			a.find(CodeClockStep, "clock step of %d s", r.Step)
		}
	case *License:
		a.serial = r.Serial
	case *Receipt:
		a.addReceipt(r)
	case *Seen:
		a.addSeen(r)
	case *Key:
		a.addKey(r)
	case *Restore:
		a.addRestore(r)
	case *Retire:
		if !wasEnd {
			a.find(CodeMalformed, "retire does not follow close end")
		}
		a.retired = true
	case *Unknown:
		if !r.Extension() {
			a.find(CodeUnknownKind, "unknown kind %.80q", r.Name)
		}
	}
	if a.OnRecord != nil {
		a.OnRecord(a.index, r)
	}
}

func (a *Audit) addTime(t int64) {
	if t < a.time {
		a.find(CodeMalformed, "time %s after %s", instant(t), instant(a.time))
	}
	a.time = max(a.time, t)
}

func (a *Audit) addOpen(r *Open) {
	if a.index != 0 {
		a.find(CodeMalformed, "a second open")
		return
	}
	if err := CheckOrigin(r.Origin, r.VKey, r.Nonce); err != nil {
		a.find(CodeMalformed, "%v", err)
	}
	if a.Origin != "" && a.Origin != r.Origin {
		a.find(CodeMalformed, "open of %s in the ledger %s", r.Origin, a.Origin)
	}
	a.Origin, a.siteKey = r.Origin, r.VKey
}

func (a *Audit) addBoot(r *Boot) {
	if r.Boots <= a.boots {
		a.find(CodeSequenceGap, "boot %d after boot %d", r.Boots, a.boots)
	}
	a.boots, a.window = r.Boots, r.Window
	bindings := map[string]string{}
	for _, b := range r.Attrs.WithPrefix("bind.") {
		bindings[b.Name] = b.Value
	}
	if a.bindings != nil {
		if changed := changedKeys(a.bindings, bindings); len(changed) > 0 {
			a.find(CodeBindings, "bindings changed: %s", strings.Join(changed, ", "))
		}
	}
	a.bindings = bindings
}

// SetBindings gives the bindings of the last boot before the records, by name,
// so that a change in the first boot among them is found too.
func (a *Audit) SetBindings(b map[string]string) { a.bindings = b }

func changedKeys(x, y map[string]string) (changed []string) {
	for k, v := range x {
		if y[k] != v {
			changed = append(changed, k)
		}
	}
	for k := range y {
		if _, ok := x[k]; !ok {
			changed = append(changed, k)
		}
	}
	slices.Sort(changed)
	return changed
}

// addAdjust folds corrections; a correction never changes a value that was
// stated, it stands beside it.
func (a *Audit) addAdjust(r *Adjust) {
	a.checkWindow(uint64(r.From), uint64(r.To), true)
	a.node([]byte(r.Node)).witness.Explain(r.Count)
	m := a.meter([]byte(r.Meter), r.Aggregation)
	ok := r.Count > 0
	for _, t := range [...]*Total{&m.since, &m.span, &m.all} {
		sum, fits := addInt(t.DValue, r.DValue)
		t.DValue = sum
		ok = ok && fits
	}
	if !ok {
		a.find(CodeTotals, "adjust of %d by %d corrections", r.DValue, r.Count)
	}
}

// instant is a time for people.
func instant(seconds int64) string {
	if seconds == 0 {
		return "the beginning"
	}
	return FormatDate(time.Unix(seconds, 0))
}

func (a *Audit) addGap(r *Gap) {
	a.checkSpan(r.From, r.To)
	if r.Reason != GapRemoved {
		a.find(CodeGap, "node %s, %s from %s to %s", r.Node, r.Reason, instant(r.From), instant(r.To))
	}
	if r.Node != AllNodes {
		n := a.node([]byte(r.Node))
		a.cover(n, r.From, r.To)
		n.witness.Explain(r.Seq1 - r.Seq0)
		if r.Reason == GapRemoved {
			a.remove(n)
		}
		return
	}
	if !a.spend() {
		return
	}
	for _, n := range a.list {
		if n.removed || n.covered == 0 {
			continue
		}
		a.cover(n, r.From, r.To)
		if r.Reason == GapRemoved {
			a.remove(n)
		}
	}
}

func (a *Audit) remove(n *nodeAudit) {
	n.removed = true
	a.live--
}

// spend books a pass over all nodes.
func (a *Audit) spend() bool {
	if a.work += len(a.nodes); a.work > allNodesWork {
		a.find(CodeTooLarge, "too many records that concern all of %d nodes", len(a.nodes))
		return false
	}
	return true
}

func (a *Audit) addReject(r *Reject) {
	a.checkSpan(r.From, r.To)
	if r.Node == UnknownNode {
		return
	}
	n := a.node([]byte(r.Node))
	ok := true
	switch r.Class {
	case ClassDuplicate:
		n.duplicate, ok = addUint(n.duplicate, uint64(r.Count))
	case ClassRejected:
		n.rejected, ok = addUint(n.rejected, uint64(r.Count))
	case ClassVoided:
		n.voided, ok = addUint(n.voided, uint64(r.Count))
	case ClassQuarantined:
		n.quarantined, ok = addInt(n.quarantined, r.Count)
		ok = ok && n.quarantined >= 0
	}
	if !ok {
		a.find(CodeSequenceGap, "node %s: %s events come to less than 0 or beyond 2^63-1", r.Node, r.Class)
	}
}

func (a *Audit) addReceipt(r *Receipt) {
	if r.Size > a.index && !a.restored {
		a.find(CodeRolledBack, "receipt for size %d, the ledger is at %d", r.Size, a.index)
	}
	a.claim(r.Size, r.Root, CodeDiffers)
}

func (a *Audit) addRestore(r *Restore) {
	if r.Size != a.index {
		a.find(CodeMalformed, "restore at size %d is record %d", r.Size, a.index)
	}
	a.find(CodeRestore, "restored at size %d: %s", r.Size, r.Cause)
	a.explainAhead()
	a.claim(r.Size, r.Root, CodeDiffers)
	a.restored = true
	a.forgetSeats()
	// What nodes and closes stated before may be of the lost part: begin anew.
	if !a.spend() {
		return
	}
	for _, n := range a.list {
		n.pending, n.witness = nil, Witness{}
	}
}

func (a *Audit) addSeen(r *Seen) {
	n := a.node([]byte(r.Node))
	if !a.restored {
		if r.Size > a.index {
			a.findAhead("node %s saw size %d, the ledger is at %d", r.Node, r.Size, a.index)
		}
		a.claim(r.Size, r.Root, CodeWitnessAhead)
	}
	if r.Taken < n.witness.Taken {
		a.findAhead("%d events of node %s were taken, before it were %d", r.Taken, r.Node, n.witness.Taken)
	}
	owed := n.witness.Seen(r.Epoch, r.Seq, r.Taken)
	a.await(n, pending{time: max(r.Time, a.until), taken: r.Taken, seen: true, owed: owed})
}

// findAhead notes what a node saw and the ledger does not have. A restore in the
// same records explains it; without one Finish makes findings of it.
func (a *Audit) findAhead(format string, args ...any) {
	if len(a.ahead) < FindingsMax {
		a.ahead = append(a.ahead, Finding{Code: CodeWitnessAhead, Index: a.index, Detail: fmt.Sprintf(format, args...)})
	}
}

// explainAhead drops what nodes said before a restore of the part that was lost.
func (a *Audit) explainAhead() {
	a.ahead = nil
	a.claims.drop(CodeWitnessAhead)
}

// await notes a sum that the account must reach.
func (a *Audit) await(n *nodeAudit, p pending) {
	w := a.windowOr(WindowSecondsMax)
	if k := len(n.pending); k > 0 {
		last := &n.pending[k-1]
		// All windows up to newestTo are closed: they come due together.
		both := windowEnd(p.time, w) <= a.newestTo
		if both || last.time/w == p.time/w || k == pendingMax {
			if last.taken > p.taken {
				p.taken, p.seen = last.taken, last.seen
			}
			p.owed = addBounded(p.owed, last.owed)
			*last = p
			return
		}
	}
	n.pending = append(n.pending, p)
}

func (a *Audit) windowOr(seconds int64) int64 {
	if a.window != 0 {
		return int64(a.window)
	}
	return seconds
}

// windowEnd returns the end of the window that holds t.
func windowEnd(t, window int64) int64 {
	if t > math.MaxInt64-window {
		return math.MaxInt64
	}
	return (t/window + 1) * window
}

func (a *Audit) addKey(r *Key) {
	k, err := ParseVKey(r.VKey)
	if err != nil {
		a.find(CodeMalformed, "%v", err)
		return
	}
	if origin := k.Origin(); a.Origin != "" && origin != a.Origin {
		a.find(CodeMalformed, "key of %s in the ledger %s", origin, a.Origin)
	}
	if r.Role == RoleSite {
		if r.Action == KeyAdd {
			a.siteKey = r.VKey
		} else {
			a.find(CodeMalformed, "a site key is replaced, not removed")
		}
		return
	}
	id := keyDigest(r.Role, r.VKey)
	_, enrolled := a.keys[id]
	switch {
	case r.Action == KeyAdd && !enrolled:
		if len(a.keys) >= 2*NodesMax {
			a.find(CodeTooLarge, "more than %d keys", 2*NodesMax)
			return
		}
		a.keys[id] = struct{}{}
	case r.Action == KeyRemove && enrolled:
		delete(a.keys, id)
	default:
		a.find(CodeTotals, "key %s %s: enrolled %t", r.Role, r.Action, enrolled)
	}
}

func keyDigest(role Role, vkey string) Hash { return LeafHash([]byte(role.String() + " " + vkey)) }
