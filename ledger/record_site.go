package ledger

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Format is the FORMAT of the open record that this version writes and reads.
const Format = 1

// Lengths of a window, seconds. A window divides a day.
const (
	WindowSecondsMin = 60
	WindowSecondsMax = 86_400
)

// Open is the first record of every ledger, and only that. Its origin commits to
// the site key and the nonce (CheckOrigin).
type Open struct {
	Format uint64
	Time   int64
	Origin string
	VKey   string // of the site key
	Nonce  [8]byte
	Attrs  Attrs // supersedes, supersedes-root, supersedes-size
}

// Kind returns "open".
func (r *Open) Kind() string { return "open" }

// RecordTime returns the TIME field.
func (r *Open) RecordTime() int64 { return r.Time }

// AppendLine appends the line.
func (r *Open) AppendLine(dst []byte) []byte {
	dst = appendUint(append(dst, "open"...), r.Format)
	dst = appendInt(dst, r.Time)
	dst = appendWord(dst, r.Origin)
	dst = appendWord(dst, r.VKey)
	dst = hex.AppendEncode(append(dst, ' '), r.Nonce[:])
	return r.Attrs.append(dst)
}

// ErrTooNew is returned for a format that a newer version wrote: upgrade_needed.
var ErrTooNew = errors.New("written by a newer version")

func parseOpen(f *fields) Record {
	r := &Open{Format: f.uint()}
	if f.err == nil && r.Format != Format {
		f.check(fmt.Errorf("%w: ledger format %d, this is %d", ErrTooNew, r.Format, Format))
	}
	r.Time, r.Origin = f.amount(), f.next()
	_, err := ParseOrigin(r.Origin)
	f.check(err)
	r.VKey = f.vkey(RoleSite)
	r.Nonce = [8]byte(f.hex(8))
	r.Attrs = f.attrs()
	if s, ok := r.Attrs.Get("supersedes"); ok {
		_, err := ParseOrigin(s)
		f.check(err)
	}
	if s, ok := r.Attrs.Get("supersedes-root"); ok {
		_, err := ParseHash(s)
		f.check(err)
	}
	f.number(r.Attrs, "supersedes-size")
	return r
}

func (f *fields) vkey(roles ...Role) string {
	s := f.next()
	if f.err != nil {
		return s
	}
	k, err := ParseVKey(s)
	if err == nil && len(roles) > 0 {
		err = k.CheckRole(roles[0])
	}
	f.check(err)
	return s
}

// Boot is a start of the daemon.
type Boot struct {
	Time    int64
	Boots   uint64   // starts of this ledger, this one included
	Nonce   [16]byte // fresh: two clones of a disk part here
	Version string   // of the daemon
	Window  uint64   // length of a window, seconds
	Attrs   Attrs    // app, bind.<name>, counter, license, name, os, replica, solution, user, var.<name>, vm
}

// Kind returns "boot".
func (r *Boot) Kind() string { return "boot" }

// RecordTime returns the TIME field.
func (r *Boot) RecordTime() int64 { return r.Time }

// AppendLine appends the line.
func (r *Boot) AppendLine(dst []byte) []byte {
	dst = appendInt(append(dst, "boot"...), r.Time)
	dst = appendUint(dst, r.Boots)
	dst = hex.AppendEncode(append(dst, ' '), r.Nonce[:])
	dst = appendWord(dst, r.Version)
	dst = appendUint(dst, r.Window)
	return r.Attrs.append(dst)
}

func parseBoot(f *fields) Record {
	r := &Boot{Time: f.amount(), Boots: f.uint(), Nonce: [16]byte(f.hex(16)), Version: f.name(), Window: f.uint()}
	if f.err == nil && !validWindow(r.Window) {
		f.fail("window of %d s does not divide a day into windows of a minute to a day", r.Window)
	}
	r.Attrs = f.attrs()
	for _, a := range r.Attrs {
		if strings.HasPrefix(a.Name, "bind.") {
			_, err := ParseHex(a.Value, 16)
			f.check(err)
		}
	}
	f.number(r.Attrs, "counter")
	return r
}

func validWindow(s uint64) bool {
	return s >= WindowSecondsMin && s <= WindowSecondsMax && WindowSecondsMax%s == 0
}

// Beat says that a node was alive and used nothing; it may span several windows.
type Beat struct {
	Node     string
	From, To int64
	Attrs    Attrs
}

// Kind returns "beat".
func (r *Beat) Kind() string { return "beat" }

// AppendLine appends the line.
func (r *Beat) AppendLine(dst []byte) []byte {
	dst = appendWord(append(dst, "beat"...), r.Node)
	dst = appendInt(dst, r.From)
	dst = appendInt(dst, r.To)
	return r.Attrs.append(dst)
}

func parseBeat(f *fields) Record {
	r := &Beat{Node: f.node()}
	r.From, r.To = f.span()
	r.Attrs = f.attrs()
	return r
}

// Reasons of a gap.
const (
	GapOffline    = "offline"
	GapDaemonDown = "daemon-down"
	GapSpoolLost  = "spool-lost"
	GapStreamLost = "stream-lost"
	GapDeclared   = "declared"
	GapRemoved    = "removed" // the node leaves
)

// AllNodes is the NODE of a gap that holds for every node.
const AllNodes = "*"

// UnknownNode is the NODE of refusals whose sender is not known, and of the
// salts of seats.
const UnknownNode = "-"

// Gap says that a node's time is not covered, and which of its numbered events
// will never come.
type Gap struct {
	Node     string // or AllNodes
	From, To int64
	Reason   string
	Lost     bool   // Epoch, Seq0 and Seq1 are given
	Epoch    uint64 // of the lost events
	Seq0     uint64 // first lost number
	Seq1     uint64 // first number after them
	Attrs    Attrs
}

// Kind returns "gap".
func (r *Gap) Kind() string { return "gap" }

// AppendLine appends the line.
func (r *Gap) AppendLine(dst []byte) []byte {
	dst = appendWord(append(dst, "gap"...), r.Node)
	dst = appendInt(dst, r.From)
	dst = appendInt(dst, r.To)
	dst = appendWord(dst, r.Reason)
	dst = appendTriple(dst, r.Lost, r.Epoch, r.Seq0, r.Seq1)
	return r.Attrs.append(dst)
}

func appendTriple(dst []byte, given bool, a, b, c uint64) []byte {
	if !given {
		return append(dst, " - - -"...)
	}
	return appendUint(appendUint(appendUint(dst, a), b), c)
}

func (f *fields) triple() (given bool, a, b, c uint64) {
	if f.dashes(3) {
		return false, 0, 0, 0
	}
	return true, f.uint(), f.uint(), f.uint()
}

func parseGap(f *fields) Record {
	r := &Gap{Node: f.nodeOr(AllNodes)}
	r.From, r.To = f.span()
	r.Reason = f.oneOf(GapOffline, GapDaemonDown, GapSpoolLost, GapStreamLost, GapDeclared, GapRemoved)
	r.Lost, r.Epoch, r.Seq0, r.Seq1 = f.triple()
	if r.Lost && r.Seq0 >= r.Seq1 {
		f.fail("lost numbers %d to %d", r.Seq0, r.Seq1)
	}
	r.Attrs = f.attrs()
	return r
}

// Classes of a reject record.
const (
	ClassDuplicate   = "duplicate"
	ClassRejected    = "rejected"
	ClassQuarantined = "quarantined"
	ClassVoided      = "voided" // before its window closed
)

// Reject counts events of a node that do not count.
type Reject struct {
	Node     string // or UnknownNode
	From, To int64
	Class    string
	Reason   string
	Count    int64 // below 0: quarantined events are released
	Attrs    Attrs
}

// Kind returns "reject".
func (r *Reject) Kind() string { return "reject" }

// AppendLine appends the line.
func (r *Reject) AppendLine(dst []byte) []byte {
	dst = appendWord(append(dst, "reject"...), r.Node)
	dst = appendInt(dst, r.From)
	dst = appendInt(dst, r.To)
	dst = appendWord(dst, r.Class)
	dst = appendWord(dst, r.Reason)
	dst = appendInt(dst, r.Count)
	return r.Attrs.append(dst)
}

func parseReject(f *fields) Record {
	r := &Reject{Node: f.nodeOr(UnknownNode)}
	r.From, r.To = f.span()
	r.Class = f.oneOf(ClassDuplicate, ClassRejected, ClassQuarantined, ClassVoided)
	r.Reason, r.Count = f.name(), f.int()
	if r.Count < 0 && r.Class != ClassQuarantined {
		f.fail("count %d of class %s", r.Count, r.Class)
	}
	r.Attrs = f.attrs()
	return r
}

// Seat is the use of a pool of seats in a window.
type Seat struct {
	Pool     string
	From, To int64
	Start    uint64 // seats taken at From
	Peak     uint64 // most at once
	Seconds  uint64 // seat-seconds
	Denied   uint64 // refusals
	Count    uint64 // salted actions under Root
	Root     Hash
	Attrs    Attrs
}

// Kind returns "seat".
func (r *Seat) Kind() string { return "seat" }

// AppendLine appends the line.
func (r *Seat) AppendLine(dst []byte) []byte {
	dst = appendWord(append(dst, "seat"...), r.Pool)
	dst = appendInt(dst, r.From)
	dst = appendInt(dst, r.To)
	for _, u := range [...]uint64{r.Start, r.Peak, r.Seconds, r.Denied, r.Count} {
		dst = appendUint(dst, u)
	}
	dst = appendHash(dst, r.Root)
	return r.Attrs.append(dst)
}

func parseSeat(f *fields) Record {
	r := &Seat{Pool: f.name()}
	r.From, r.To = f.span()
	r.Start, r.Peak, r.Seconds, r.Denied, r.Count = f.uint(), f.uint(), f.uint(), f.uint(), f.uint()
	r.Root = f.hash()
	r.Attrs = f.attrs()
	return r
}

// Causes of a clock record.
const (
	ClockStep  = "step"
	ClockNode  = "node"
	ClockReply = "reply"
	ClockPad   = "pad" // Step 0: makes the index of the next close end even
)

// Clock is a step of the site's clock, or a pad.
type Clock struct {
	Time  int64
	Step  int64 // seconds
	Cause string
	Attrs Attrs
}

// Kind returns "clock".
func (r *Clock) Kind() string { return "clock" }

// RecordTime returns the TIME field.
func (r *Clock) RecordTime() int64 { return r.Time }

// AppendLine appends the line.
func (r *Clock) AppendLine(dst []byte) []byte {
	dst = appendInt(append(dst, "clock"...), r.Time)
	dst = appendInt(dst, r.Step)
	dst = appendWord(dst, r.Cause)
	return r.Attrs.append(dst)
}

func parseClock(f *fields) Record {
	r := &Clock{Time: f.amount(), Step: f.int(), Cause: f.oneOf(ClockStep, ClockNode, ClockReply, ClockPad)}
	if r.Cause == ClockPad && r.Step != 0 {
		f.fail("pad with a step of %d", r.Step)
	}
	r.Attrs = f.attrs()
	return r
}

// License is a license taken into use.
type License struct {
	Time   int64
	ID     string
	Serial uint64
	KeyID  uint32 // of the license key that signed it
	Digest Hash   // SHA-256 of the whole note
	Size   uint64 // of its pinned checkpoint
	Attrs  Attrs
}

// Kind returns "license".
func (r *License) Kind() string { return "license" }

// RecordTime returns the TIME field.
func (r *License) RecordTime() int64 { return r.Time }

// AppendLine appends the line.
func (r *License) AppendLine(dst []byte) []byte {
	dst = appendInt(append(dst, "license"...), r.Time)
	dst = appendWord(dst, r.ID)
	dst = appendUint(dst, r.Serial)
	dst = appendKeyID(append(dst, ' '), r.KeyID)
	dst = appendHash(dst, r.Digest)
	dst = appendUint(dst, r.Size)
	return r.Attrs.append(dst)
}

func parseLicense(f *fields) Record {
	r := &License{Time: f.amount(), ID: f.next()}
	f.check(CheckLicenseID(r.ID))
	r.Serial, r.KeyID = f.uint(), f.keyID()
	r.Digest, r.Size = f.hash(), f.uint()
	r.Attrs = f.attrs()
	return r
}

func (f *fields) keyID() uint32 {
	b := f.hex(4)
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// Receipt is an imported receipt.
type Receipt struct {
	Time   int64
	Size   uint64 // accepted checkpoint
	Root   Hash
	VTime  int64 // time in the vendor's cosignature
	Digest Hash  // SHA-256 of the decoded signature field, which nobody knew before VTime
	Attrs  Attrs
}

// Kind returns "receipt".
func (r *Receipt) Kind() string { return "receipt" }

// RecordTime returns the TIME field.
func (r *Receipt) RecordTime() int64 { return r.Time }

// AppendLine appends the line.
func (r *Receipt) AppendLine(dst []byte) []byte {
	dst = appendInt(append(dst, "receipt"...), r.Time)
	dst = appendUint(dst, r.Size)
	dst = appendHash(dst, r.Root)
	dst = appendInt(dst, r.VTime)
	dst = appendHash(dst, r.Digest)
	return r.Attrs.append(dst)
}

func parseReceipt(f *fields) Record {
	r := &Receipt{Time: f.amount(), Size: f.uint(), Root: f.hash(), VTime: f.amount(), Digest: f.hash()}
	r.Attrs = f.attrs()
	return r
}

// Seen is a node's witness statement: what it was told is counted, and the
// checkpoint that it holds.
type Seen struct {
	Time  int64
	Node  string
	Epoch uint64
	Seq   uint64 // its events below Seq of Epoch are counted
	Taken uint64 // events that the daemon had taken from it in all
	Size  uint64 // of the checkpoint
	Root  Hash
	Sig   []byte // its cosignature of the checkpoint, decoded: key ID, time, signature; nil: none
	Attrs Attrs
}

// Kind returns "seen".
func (r *Seen) Kind() string { return "seen" }

// RecordTime returns the TIME field.
func (r *Seen) RecordTime() int64 { return r.Time }

// AppendLine appends the line.
func (r *Seen) AppendLine(dst []byte) []byte {
	dst = appendInt(append(dst, "seen"...), r.Time)
	dst = appendWord(dst, r.Node)
	dst = appendUint(dst, r.Epoch)
	dst = appendUint(dst, r.Seq)
	dst = appendUint(dst, r.Taken)
	dst = appendUint(dst, r.Size)
	dst = appendHash(dst, r.Root)
	dst = append(dst, ' ')
	if len(r.Sig) == 0 {
		dst = append(dst, '-')
	} else {
		dst = base64.StdEncoding.AppendEncode(dst, r.Sig)
	}
	return r.Attrs.append(dst)
}

func parseSeen(f *fields) Record {
	r := &Seen{Time: f.amount(), Node: f.node(), Epoch: f.uint(), Seq: f.uint(), Taken: f.uint(), Size: f.uint(), Root: f.hash()}
	if !f.dash() {
		sig, err := ParseBase64(f.next())
		f.check(err)
		if len(sig) == 0 {
			f.fail("empty signature")
		}
		r.Sig = sig
	}
	r.Attrs = f.attrs()
	return r
}

// Actions of a key record.
const (
	KeyAdd    = "add"
	KeyRemove = "remove"
)

// Key enrols or removes a key of the site.
type Key struct {
	Time   int64
	Role   Role // RoleSite, RoleSitePQ, RoleReplica or RoleNode
	Action string
	VKey   string
	Attrs  Attrs
}

// Kind returns "key".
func (r *Key) Kind() string { return "key" }

// RecordTime returns the TIME field.
func (r *Key) RecordTime() int64 { return r.Time }

// AppendLine appends the line.
func (r *Key) AppendLine(dst []byte) []byte {
	dst = appendInt(append(dst, "key"...), r.Time)
	dst = appendWord(dst, r.Role.String())
	dst = appendWord(dst, r.Action)
	dst = appendWord(dst, r.VKey)
	return r.Attrs.append(dst)
}

func (f *fields) role() Role {
	switch s := f.oneOf("site", "site-pq", "replica", "node"); s {
	case "site-pq":
		return RoleSitePQ
	case "replica":
		return RoleReplica
	case "node":
		return RoleNode
	}
	return RoleSite
}

func parseKey(f *fields) Record {
	r := &Key{Time: f.amount(), Role: f.role(), Action: f.oneOf(KeyAdd, KeyRemove)}
	r.VKey = f.vkey(r.Role)
	r.Attrs = f.attrs()
	return r
}

// Restore says that the ledger came back at Size, which is its own index.
type Restore struct {
	Time    int64
	Cause   string
	Size    uint64
	Root    Hash
	Known   bool   // WasSize and WasRoot are given
	WasSize uint64 // newest checkpoint that is known to have existed
	WasRoot Hash
	Attrs   Attrs
}

// Kind returns "restore".
func (r *Restore) Kind() string { return "restore" }

// RecordTime returns the TIME field.
func (r *Restore) RecordTime() int64 { return r.Time }

// AppendLine appends the line.
func (r *Restore) AppendLine(dst []byte) []byte {
	dst = appendInt(append(dst, "restore"...), r.Time)
	dst = appendWord(dst, r.Cause)
	dst = appendUint(dst, r.Size)
	dst = appendHash(dst, r.Root)
	if r.Known {
		dst = appendHash(appendUint(dst, r.WasSize), r.WasRoot)
	} else {
		dst = append(dst, " - -"...)
	}
	return r.Attrs.append(dst)
}

func parseRestore(f *fields) Record {
	r := &Restore{Time: f.amount(), Cause: f.name(), Size: f.uint(), Root: f.hash()}
	if !f.dashes(2) {
		r.Known, r.WasSize, r.WasRoot = true, f.uint(), f.hash()
	}
	r.Attrs = f.attrs()
	return r
}

// Retire is the deactivation: nothing follows it.
type Retire struct {
	Time   int64
	Reason string
	Attrs  Attrs // to, var.<name>
}

// Kind returns "retire".
func (r *Retire) Kind() string { return "retire" }

// RecordTime returns the TIME field.
func (r *Retire) RecordTime() int64 { return r.Time }

// AppendLine appends the line.
func (r *Retire) AppendLine(dst []byte) []byte {
	dst = appendInt(append(dst, "retire"...), r.Time)
	dst = appendWord(dst, r.Reason)
	return r.Attrs.append(dst)
}

func parseRetire(f *fields) Record {
	r := &Retire{Time: f.amount(), Reason: f.name()}
	r.Attrs = f.attrs()
	return r
}
