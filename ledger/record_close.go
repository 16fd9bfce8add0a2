package ledger

import (
	"strconv"

	"github.com/meterseal/meterseal/events"
)

// CloseKey lists an enrolled key in a close.
type CloseKey struct {
	Role  Role
	VKey  string
	Attrs Attrs
}

// Kind returns "close key".
func (r *CloseKey) Kind() string { return "close key" }

// AppendLine appends the line.
func (r *CloseKey) AppendLine(dst []byte) []byte {
	dst = appendWord(append(dst, "close key"...), r.Role.String())
	dst = appendWord(dst, r.VKey)
	return r.Attrs.append(dst)
}

// CloseNode is the account of a node in a close, cumulative since it was first
// heard of: Accepted = Counted + Duplicate + Rejected + Quarantined + Voided +
// Open.
type CloseNode struct {
	Node                                              string
	Accepted                                          uint64
	Counted, Duplicate, Rejected, Quarantined, Voided uint64
	Open                                              uint64 // events of windows that are not closed yet
	Covered                                           int64  // time up to which it is covered, seconds; 0: never was
	Silent                                            uint64 // seconds of gaps
	Witnessed                                         bool   // Epoch, Seq and Taken of its last seen record are given
	Epoch, Seq, Taken                                 uint64
	Attrs                                             Attrs // short
}

// Short is by how many of its numbers the node is short as of this close
// ([Witness]).
func (r *CloseNode) Short() int64 {
	s, _ := r.Attrs.Get("short")
	n, _ := ParseInt(s) // was checked with the record; none is 0
	return n
}

// shortAttr is the attribute that says it, if there is anything to say.
func shortAttr(short int64) Attrs {
	if short == 0 {
		return nil
	}
	return Attrs{{Name: "short", Value: strconv.FormatInt(short, 10)}}
}

// Kind returns "close node".
func (r *CloseNode) Kind() string { return "close node" }

// AppendLine appends the line.
func (r *CloseNode) AppendLine(dst []byte) []byte {
	dst = appendWord(append(dst, "close node"...), r.Node)
	for _, u := range [...]uint64{r.Accepted, r.Counted, r.Duplicate, r.Rejected, r.Quarantined, r.Voided, r.Open} {
		dst = appendUint(dst, u)
	}
	if r.Covered == 0 {
		dst = append(dst, " -"...)
	} else {
		dst = appendInt(dst, r.Covered)
	}
	dst = appendUint(dst, r.Silent)
	dst = appendTriple(dst, r.Witnessed, r.Epoch, r.Seq, r.Taken)
	return r.Attrs.append(dst)
}

// CloseTotal is what a meter used, since the close before and since open. The
// total of a unique meter since open does not exist: AllValue is then 0 and
// spelled "-".
type CloseTotal struct {
	Meter         string
	Aggregation   events.Aggregation
	Count         uint64 // since the close before
	Value, DValue int64
	AllCount      uint64 // since open
	AllValue      int64
	AllDValue     int64
	Attrs         Attrs
}

// Kind returns "close total".
func (r *CloseTotal) Kind() string { return "close total" }

// AppendLine appends the line.
func (r *CloseTotal) AppendLine(dst []byte) []byte {
	dst = appendWord(append(dst, "close total"...), r.Meter)
	dst = appendWord(dst, r.Aggregation.String())
	dst = appendUint(dst, r.Count)
	dst = appendInt(dst, r.Value)
	dst = appendInt(dst, r.DValue)
	dst = appendUint(dst, r.AllCount)
	if r.Aggregation == events.Unique {
		dst = append(dst, " -"...)
	} else {
		dst = appendInt(dst, r.AllValue)
	}
	dst = appendInt(dst, r.AllDValue)
	return r.Attrs.append(dst)
}

// CloseEnd ends a close. Its index is even, so that it is the last hash of the
// frontier of its checkpoint.
type CloseEnd struct {
	No     uint64 // of this close, from 1
	Time   int64
	Until  int64  // all windows up to here are closed
	Boots  uint64 // last boot
	Serial uint64 // of the license in force; 0: none
	Cursor uint64 // stream sequence of the last group folded
	Sum    Hash   // sum of that group
	Group  Hash   // SHA-256 of the lines of this close before it, each with LF
	Attrs  Attrs  // counter, rulebook
}

// Kind returns "close end".
func (r *CloseEnd) Kind() string { return "close end" }

// RecordTime returns the TIME field.
func (r *CloseEnd) RecordTime() int64 { return r.Time }

// AppendLine appends the line.
func (r *CloseEnd) AppendLine(dst []byte) []byte {
	dst = appendUint(append(dst, "close end"...), r.No)
	dst = appendInt(dst, r.Time)
	dst = appendInt(dst, r.Until)
	dst = appendUint(dst, r.Boots)
	dst = appendUint(dst, r.Serial)
	dst = appendUint(dst, r.Cursor)
	dst = appendHash(dst, r.Sum)
	dst = appendHash(dst, r.Group)
	return r.Attrs.append(dst)
}

func parseClose(f *fields) Record {
	switch f.oneOf("key", "node", "total", "end") {
	case "key":
		r := &CloseKey{Role: f.role()}
		if r.Role == RoleSite {
			f.fail("the site key is not listed in a close")
		}
		r.VKey = f.vkey(r.Role)
		r.Attrs = f.attrs()
		return r
	case "node":
		return parseCloseNode(f)
	case "total":
		return parseCloseTotal(f)
	}
	r := &CloseEnd{No: f.uint(), Time: f.amount(), Until: f.amount(), Boots: f.uint(), Serial: f.uint(), Cursor: f.uint(),
		Sum: f.hash(), Group: f.hash()}
	r.Attrs = f.attrs()
	f.number(r.Attrs, "counter")
	return r
}

func parseCloseNode(f *fields) Record {
	r := &CloseNode{Node: f.node(), Accepted: f.uint(), Counted: f.uint(), Duplicate: f.uint(), Rejected: f.uint(),
		Quarantined: f.uint(), Voided: f.uint(), Open: f.uint()}
	if !f.dash() {
		if r.Covered = f.amount(); r.Covered == 0 {
			f.fail("covered up to 0")
		}
	}
	r.Silent = f.uint()
	r.Witnessed, r.Epoch, r.Seq, r.Taken = f.triple()
	r.Attrs = f.attrs()
	if s, ok := r.Attrs.Get("short"); ok {
		_, err := ParseInt(s)
		f.check(err)
	}
	return r
}

func parseCloseTotal(f *fields) Record {
	r := &CloseTotal{Meter: f.meter(), Aggregation: f.aggregation(), Count: f.uint(), Value: f.amount(), DValue: f.int(),
		AllCount: f.uint()}
	if r.Aggregation == events.Unique {
		if !f.dash() {
			f.fail("a unique meter has no total since open")
		}
	} else {
		r.AllValue = f.amount()
	}
	r.AllDValue = f.int()
	r.Attrs = f.attrs()
	return r
}
