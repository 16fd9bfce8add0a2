package projections

import (
	"encoding/binary"
	"time"

	"github.com/meterseal/meterseal/ledger"
)

// clocksKept is how many of the newest steps of the clock the state remembers.
const clocksKept = 16

// vendorState is what the ledger says of its life with the vendor: the newest
// license and receipt, steps of the clock, the end, the site's keys. The records have it all; the
// state remembers what is asked for all the time.
type vendorState struct {
	license *LicenseRecord
	receipt *ReceiptRecord
	clocks  []ClockRecord // oldest first
	retire  *RetireRecord
	keys    []SiteKeyRecord // oldest first
}

// SiteKeyRecord is a record that names a key of the site: `open`, or a `key`
// record that replaces the one before it.
type SiteKeyRecord struct {
	Index uint64 // of the record
	VKey  string
}

// LicenseRecord is the newest `license` record.
type LicenseRecord struct {
	Index  uint64 // of the record
	Time   time.Time
	ID     string
	Serial uint64 // 0: unbound
	KeyID  uint32
	Digest ledger.Hash // of the whole note
	Pin    uint64      // size of the checkpoint that it pins
	Bound  bool        // a bound license is or was in force: an unbound one is refused
}

// ReceiptRecord is the `receipt` record of the largest accepted size.
type ReceiptRecord struct {
	Index      uint64 // of the record: that many records the ledger had when it was imported
	Time       time.Time
	Size       uint64 // of the accepted checkpoint
	Root       ledger.Hash
	VendorTime time.Time // in the vendor's cosignature
	Digest     ledger.Hash
}

// ClockRecord is a step of the site's clock.
type ClockRecord struct {
	Index uint64
	Time  time.Time
	Step  time.Duration
	Cause string
}

// RetireRecord is the last record of a ledger that ended.
type RetireRecord struct {
	Index  uint64
	Time   time.Time
	Reason string
}

// noteRecord remembers a record of the given index.
func (st *State) noteRecord(index uint64, rec ledger.Record) error {
	v := &st.vendor
	switch r := rec.(type) {
	case *ledger.Seen:
		st.noteSeen(r)
		return nil
	case *ledger.Restore:
		st.noteRestore(index, r)
		return nil
	case *ledger.License:
		bound := r.Serial > 0 || r.Size > 0 || v.license != nil && v.license.Bound
		v.license = &LicenseRecord{index, unix(r.Time), r.ID, r.Serial, r.KeyID, r.Digest, r.Size, bound}
		st.serial = r.Serial
	case *ledger.Receipt:
		// An older one that is imported again takes nothing back.
		if o := v.receipt; o != nil && (r.Size < o.Size || r.Size == o.Size && unix(r.VTime).Before(o.VendorTime)) {
			return nil
		}
		v.receipt = &ReceiptRecord{index, unix(r.Time), r.Size, r.Root, unix(r.VTime), r.Digest}
		st.fx.vendor = true
		return st.sinceReceipt(r.Size)
	case *ledger.Clock:
		if r.Cause == ledger.ClockPad {
			return nil
		}
		if len(v.clocks) == clocksKept {
			v.clocks = v.clocks[1:]
		}
		v.clocks = append(v.clocks[:len(v.clocks):len(v.clocks)], ClockRecord{index, unix(r.Time), time.Duration(r.Step) * time.Second, r.Cause})
	case *ledger.Retire:
		v.retire = &RetireRecord{index, unix(r.Time), r.Reason}
	case *ledger.Open:
		v.keys = []SiteKeyRecord{{index, r.VKey}}
	case *ledger.Key:
		n := len(v.keys)
		if r.Role != ledger.RoleSite || r.Action != ledger.KeyAdd || n > 0 && v.keys[n-1].VKey == r.VKey {
			return nil
		}
		v.keys = append(v.keys[:n:n], SiteKeyRecord{index, r.VKey})
	default:
		return nil
	}
	st.fx.vendor = true
	return nil
}

func (v *vendorState) append(b []byte) []byte {
	b = appendBool(b, v.license != nil)
	if r := v.license; r != nil {
		b = binary.AppendVarint(binary.AppendUvarint(b, r.Index), seconds(r.Time))
		b = binary.AppendUvarint(appendString(b, r.ID), r.Serial)
		b = append(binary.BigEndian.AppendUint32(b, r.KeyID), r.Digest[:]...)
		b = appendBool(binary.AppendUvarint(b, r.Pin), r.Bound)
	}
	b = appendBool(b, v.receipt != nil)
	if r := v.receipt; r != nil {
		b = binary.AppendVarint(binary.AppendUvarint(b, r.Index), seconds(r.Time))
		b = append(binary.AppendUvarint(b, r.Size), r.Root[:]...)
		b = append(binary.AppendVarint(b, seconds(r.VendorTime)), r.Digest[:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(v.clocks)))
	for _, r := range v.clocks {
		b = binary.AppendVarint(binary.AppendUvarint(b, r.Index), seconds(r.Time))
		b = appendString(binary.AppendVarint(b, int64(r.Step/time.Second)), r.Cause)
	}
	b = appendBool(b, v.retire != nil)
	if r := v.retire; r != nil {
		b = binary.AppendVarint(binary.AppendUvarint(b, r.Index), seconds(r.Time))
		b = appendString(b, r.Reason)
	}
	b = binary.AppendUvarint(b, uint64(len(v.keys)))
	for _, r := range v.keys {
		b = appendString(binary.AppendUvarint(b, r.Index), r.VKey)
	}
	return b
}

func (v *vendorState) decode(b []byte) error {
	d := decoder{b: b}
	if d.bool() {
		r := &LicenseRecord{Index: d.uvarint(), Time: unix(d.varint()), ID: d.string(), Serial: d.uvarint()}
		if k := d.bytes(4); k != nil {
			r.KeyID = binary.BigEndian.Uint32(k)
		}
		copy(r.Digest[:], d.bytes(32))
		r.Pin, r.Bound = d.uvarint(), d.bool()
		v.license = r
	}
	if d.bool() {
		r := &ReceiptRecord{Index: d.uvarint(), Time: unix(d.varint()), Size: d.uvarint()}
		copy(r.Root[:], d.bytes(32))
		r.VendorTime = unix(d.varint())
		copy(r.Digest[:], d.bytes(32))
		v.receipt = r
	}
	for range d.count(4) {
		v.clocks = append(v.clocks, ClockRecord{d.uvarint(), unix(d.varint()), time.Duration(d.varint()) * time.Second, d.string()})
	}
	if d.bool() {
		v.retire = &RetireRecord{d.uvarint(), unix(d.varint()), d.string()}
	}
	for range d.count(2) {
		v.keys = append(v.keys, SiteKeyRecord{d.uvarint(), d.string()})
	}
	return d.done("license, receipt, clock and keys")
}

// seconds is the inverse of unix.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
