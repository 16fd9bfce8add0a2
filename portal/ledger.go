package portal

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// States of a ledger.
const (
	LedgerActive   = "active"
	LedgerRetired  = "retired"  // its own last record
	LedgerReleased = "released" // by staff, or by the ledger that supersedes it
	LedgerRevoked  = "revoked"  // staff ended its site key
)

// Approvals of an activation.
const (
	ApprovalPending = "pending"
	ApprovalRefused = "refused"
)

// A Ledger is one cluster of a site, as far as its reports were accepted.
type Ledger struct {
	Origin   string `json:"origin"`
	LedgerID string `json:"ledger_id"`
	License  string `json:"license"`
	Label    string `json:"label"` // what people call the cluster; names nothing
	State    string `json:"state"`
	Approval string `json:"approval,omitempty"`
	// Registration is what a site is told: registration_failed, not_licensed,
	// licensed, deactivated. (partially_licensed is said of a site as a whole.)
	Registration string   `json:"registration"`
	Keys         []string `json:"keys"` // site, then site-pq
	RotatedKeys  []string `json:"rotated_keys"`
	// Bindings are hashes by name, of the newest boot record.
	Bindings map[string]string `json:"bindings,omitempty"`
	// Variables are the device variables of the newest boot or retire record.
	Variables map[string]string `json:"variables,omitempty"`
	// Credits gave amounts back to periods of this ledger alone.
	Credits []license.Credit `json:"credits,omitempty"`
	Size    uint64           `json:"size"` // newest accepted
	Root    string           `json:"root"`
	// Until is the end of the last window that was reported.
	Until time.Time `json:"until"`
	// Serial is that of the newest license for it, LicenseEnd its end (zero:
	// never, or no license).
	Serial     uint64    `json:"serial"`
	InForce    uint64    `json:"in_force"` // what the site named in its last report
	LicenseEnd time.Time `json:"license_end,omitzero"`
	// ReportBy is when the next report is due; zero: never. Overdue: it was, and
	// grace too.
	ReportBy   time.Time `json:"report_by,omitzero"`
	Supersedes string    `json:"supersedes,omitempty"`
	Activated  time.Time `json:"activated"`
	Ended      time.Time `json:"ended,omitzero"`

	root    ledger.Hash
	ownEnd  time.Time // of the license, set by a renewal or a transfer; zero: by the rules
	version int64
}

const ledgerColumns = `origin, license, label, state, approval, vkeys, rotated, bindings, variables, credits, size, root, until, serial, in_force, report_by, license_end, own_end, supersedes, activated, ended, version`

func scanLedger(scan func(...any) error) (*Ledger, error) {
	var l Ledger
	var keys, rotated, bindings, variables, credits string
	var size, serial, inForce, until, reportBy, end, ownEnd, activated, ended int64
	err := scan(&l.Origin, &l.License, &l.Label, &l.State, &l.Approval, &keys, &rotated, &bindings, &variables, &credits, &size, &l.Root, &until, &serial, &inForce,
		&reportBy, &end, &ownEnd, &l.Supersedes, &activated, &ended, &l.version)
	if err != nil {
		return nil, err
	}
	for _, x := range []struct {
		text string
		to   any
	}{{keys, &l.Keys}, {rotated, &l.RotatedKeys}, {bindings, &l.Bindings}, {variables, &l.Variables}, {credits, &l.Credits}} {
		if err := json.Unmarshal([]byte(x.text), x.to); err != nil {
			return nil, err
		}
	}
	l.Size, l.Serial, l.Until, l.ReportBy, l.LicenseEnd = uint64(size), uint64(serial), unix(until), unix(reportBy), unix(end)
	l.InForce, l.ownEnd, l.Activated, l.Ended, l.LedgerID = uint64(inForce), unix(ownEnd), unix(activated), unix(ended), export.LedgerID(l.Origin)
	l.Registration = l.registration()
	l.root, err = ledger.ParseHash(l.Root)
	return &l, err
}

// registration is O-01's word for a ledger.
func (l *Ledger) registration() string {
	switch {
	case l.State != LedgerActive:
		return "deactivated"
	case l.Approval == ApprovalRefused:
		return "registration_failed"
	case l.Serial == 0:
		return "not_licensed"
	}
	return "licensed"
}

// save inserts or updates l; the caller holds the row, or makes it.
func (c conn) saveLedger(ctx context.Context, l *Ledger) error {
	args := []any{l.License, l.Label, l.State, l.Approval, toJSON(l.Keys), toJSON(l.RotatedKeys), toJSON(l.Bindings), toJSON(l.Variables), toJSON(l.Credits), int64(l.Size), l.Root,
		seconds(l.Until), int64(l.Serial), int64(l.InForce), seconds(l.ReportBy), seconds(l.LicenseEnd), seconds(l.ownEnd), l.Supersedes, seconds(l.Activated), seconds(l.Ended), l.Origin}
	if l.version > 0 {
		_, err := c.exec(ctx, `UPDATE ledgers SET license = ?, label = ?, state = ?, approval = ?, vkeys = ?, rotated = ?, bindings = ?, variables = ?, credits = ?, size = ?,
			root = ?, until = ?, serial = ?, in_force = ?, report_by = ?, license_end = ?, own_end = ?, supersedes = ?, activated = ?, ended = ? WHERE origin = ?`, args...)
		return err
	}
	n, err := c.exec(ctx, `INSERT INTO ledgers (license, label, state, approval, vkeys, rotated, bindings, variables, credits, size, root, until, serial, in_force, report_by,
		license_end, own_end, supersedes, activated, ended, origin, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)
		ON CONFLICT (origin) DO NOTHING`, args...)
	if err == nil && n == 0 {
		err = errMoved
	}
	return err
}

// Ledger returns one ledger by its origin; not_found if there is none.
func (p *Portal) Ledger(ctx context.Context, origin string) (*Ledger, error) {
	l, err := p.store.reader().ledger(ctx, origin)
	if err == nil && l == nil {
		err = refuse(CodeNotFound, "there is no ledger %q", origin)
	}
	return l, err
}

// ledger returns nil if there is none.
func (c conn) ledger(ctx context.Context, origin string) (*Ledger, error) {
	all, err := list(ctx, c, scanLedger, "SELECT "+ledgerColumns+" FROM ledgers WHERE origin = ?", origin)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[0], nil
}

// Ledgers lists the ledgers of a license, by their activation; license empty: all.
func (p *Portal) Ledgers(ctx context.Context, licenseID string) ([]*Ledger, error) {
	return p.store.reader().ledgers(ctx, licenseID)
}

func (c conn) ledgers(ctx context.Context, licenseID string) ([]*Ledger, error) {
	return list(ctx, c, scanLedger, "SELECT "+ledgerColumns+" FROM ledgers WHERE ? = '' OR license = ? ORDER BY activated, origin", licenseID, licenseID)
}

// history is what is on record of a ledger when a report of it arrives.
type history struct {
	ledger   *Ledger // nil: unknown
	accepted []ledger.Checkpoint
	receipts []export.ReceiptKnown
	spans    spans
}

func (c conn) history(ctx context.Context, origin string) (h history, err error) {
	if h.ledger, err = c.ledger(ctx, origin); err != nil || h.ledger == nil {
		return h, err
	}
	_, err = list(ctx, c, func(scan func(...any) error) (none struct{}, err error) {
		var size, at int64
		var root, digest string
		if err = scan(&size, &root, &at, &digest); err != nil {
			return none, err
		}
		cp := ledger.Checkpoint{Origin: origin, Size: uint64(size)}
		if cp.Root, err = ledger.ParseHash(root); err != nil {
			return none, err
		}
		h.accepted = append(h.accepted, cp)
		if digest == "" {
			return none, nil
		}
		d, err := ledger.ParseHash(digest)
		h.receipts = append(h.receipts, export.ReceiptKnown{Checkpoint: cp, VendorTime: at, Digest: d})
		return none, err
	}, "SELECT size, root, time, digest FROM receipts WHERE origin = ? ORDER BY size", origin)
	if err != nil {
		return h, err
	}
	h.spans, err = c.spans(ctx, origin)
	return h, err
}

// spans are ranges of records [first, next), ascending, none touching another.
type spans [][2]uint64

func (c conn) spans(ctx context.Context, origin string) (s spans, err error) {
	all, err := list(ctx, c, func(scan func(...any) error) (r [2]uint64, err error) {
		var first, next int64
		err = scan(&first, &next)
		return [2]uint64{uint64(first), uint64(next)}, err
	}, "SELECT first, next FROM spans WHERE origin = ? ORDER BY first", origin)
	for _, r := range all {
		if n := len(s); n > 0 && s[n-1][1] == r[0] {
			s[n-1][1] = r[1]
			continue
		}
		s = append(s, r)
	}
	return s, err
}

// outside returns the parts of [from, to) that are in none of s.
func (s spans) outside(from, to uint64) (out spans) {
	for _, r := range s {
		if r[0] > from && from < to {
			out = append(out, [2]uint64{from, min(r[0], to)})
		}
		from = max(from, r[1])
	}
	if from < to {
		out = append(out, [2]uint64{from, to})
	}
	return out
}

// has reports whether a record is in s, and up to where that answer holds.
func (s spans) has(index uint64) (in bool, until uint64) {
	i, found := slices.BinarySearchFunc(s, index, func(r [2]uint64, at uint64) int {
		switch {
		case r[1] <= at:
			return -1
		case r[0] > at:
			return 1
		}
		return 0
	})
	switch {
	case found:
		return true, s[i][1]
	case i < len(s):
		return false, s[i][0]
	}
	return false, math.MaxUint64
}
