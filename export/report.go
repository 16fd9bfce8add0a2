package export

import (
	"time"

	"github.com/meterseal/meterseal/ledger"
)

// Verdict is what a report says about its site, once signature, size and root
// have held: "ok", nothing asks for an answer; "explain", accepted, and the site
// answers what the findings name; "reject", what the site signed does not add
// up, or contradicts what was accepted before.
type Verdict string

// The verdicts.
const (
	OK      Verdict = "ok"
	Explain Verdict = "explain"
	Reject  Verdict = "reject"
)

// FindingsMax bounds the findings of a report; the first ones are kept.
const FindingsMax = ledger.FindingsMax

// A Finding is something that a site signed and that does not add up, or that
// it should explain.
type Finding struct {
	// Code is one of the Code constants of package ledger: records/totals,
	// explain/gap.
	Code string `json:"code"`
	// Verdict is what it leads to: explain or reject.
	Verdict Verdict `json:"verdict"`
	// Record is the index of the record.
	Record uint64 `json:"record"`
	// Detail is a sentence with the values.
	Detail string `json:"detail"`
}

// Decisive returns the finding that the verdict rests on: the first that rejects,
// else the first; nil if there is none.
func (r *Report) Decisive() *Finding {
	for i := range r.Findings {
		if r.Findings[i].Verdict == r.Verdict {
			return &r.Findings[i]
		}
	}
	return nil
}

// A MeterTotal is what a report says of one meter, recomputed from its records.
// Values are in the meter's smallest unit.
type MeterTotal struct {
	Meter       string `json:"meter"`
	Aggregation string `json:"aggregation"`
	// Count and Value are of the records of this report, late ones included;
	// Adjusted is the sum of their corrections, never netted with Value.
	Count    int64 `json:"count"`
	Value    int64 `json:"value"`
	Adjusted int64 `json:"adjusted"`
	// The same since the ledger was opened; AllValue is nil for unique counts,
	// which do not merge over time.
	AllCount    int64  `json:"all_count"`
	AllValue    *int64 `json:"all_value"`
	AllAdjusted int64  `json:"all_adjusted"`
}

// A PoolTotal is what the records of a report say of a pool of seats.
type PoolTotal struct {
	Pool    string `json:"pool"`
	Peak    int64  `json:"peak"`    // most seats taken at once
	Seconds int64  `json:"seconds"` // seat-seconds
	Denied  int64  `json:"denied"`  // refusals
	Actions int64  `json:"actions"` // claims, returns, ends of leases and refusals
}

// A DayTotal is what one meter was used on one UTC day, by the day that its
// windows begin.
type DayTotal struct {
	Day         string `json:"day"` // 2026-11-03
	Meter       string `json:"meter"`
	Aggregation string `json:"aggregation"`
	// Count and Value are of usage records, LateCount and LateValue of late
	// ones: the day's windows were already closed. Values follow the meter's
	// aggregation; of unique counts they are the largest cell.
	Count     int64 `json:"count"`
	Value     int64 `json:"value"`
	LateCount int64 `json:"late_count"`
	LateValue int64 `json:"late_value"`
	// Adjusted is the sum of the corrections of this day's windows.
	Adjusted int64 `json:"adjusted"`
}

// DaysMax bounds the day totals of a report, meters times days.
const DaysMax = 32768

// An Account is what a report says of one node, cumulative since the ledger was
// opened (requirement O-33): Accepted = Counted + Duplicate + Rejected +
// Quarantined + Voided + Open.
type Account struct {
	Node        string `json:"node"`
	Accepted    int64  `json:"accepted"`
	Counted     int64  `json:"counted"`
	Duplicate   int64  `json:"duplicate"`
	Rejected    int64  `json:"rejected"`
	Quarantined int64  `json:"quarantined"`
	Voided      int64  `json:"voided"`
	Open        int64  `json:"open"` // of windows that were not closed yet
	// Covered is the time up to which the node is known to have run, been
	// idle, or been missing; nil: never seen.
	Covered *time.Time `json:"covered"`
	// SilentSeconds are the seconds of gaps.
	SilentSeconds int64 `json:"silent_seconds"`
	// Gaps counts the gap records of this report.
	Gaps int64 `json:"gaps"`
}

// A Gap is a span for which a node, or all (`*`), did not report.
type Gap struct {
	Record uint64    `json:"record"`
	Node   string    `json:"node"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason"`
	// FirstLost and NextKept bound the numbers of lost events; both nil: unknown.
	FirstLost *uint64 `json:"first_lost"`
	NextKept  *uint64 `json:"next_kept"`
}

// GapsMax bounds the gaps listed in a report; all are counted.
const GapsMax = 1000

// A Check is one thing that was looked at, in the order of the table in
// docs/formats/report.md.
type Check struct {
	Name   string `json:"name"`
	State  string `json:"state"` // ok, bad, "not checked"
	Detail string `json:"detail"`
}

// Base says what proves the checkpoint that a report continues from.
type Base string

const (
	BaseGenesis  Base = "genesis"  // the report begins with the ledger's first record
	BaseAccepted Base = "accepted" // it is one of VerifyOptions.Accepted
	BaseReceipt  Base = "receipt"  // the vendor's cosignature on it
	BaseSite     Base = "site"     // the site's own signature only (VerifyOptions.TrustFile)
	BaseDiffers  Base = "differs"  // another root was accepted for this size
)

// A Report is what [VerifyReport] found in a usage report whose signature, size
// and root hold. Its JSON form is the rendering "json", documented in
// docs/reference/report-json.md; fields are only ever added.
type Report struct {
	Format   string `json:"format"` // meterseal-report/v1
	Origin   string `json:"origin"`
	LedgerID string `json:"ledger_id"`
	Level    Level  `json:"level"`
	// Base is the checkpoint that the report continues from, New its own.
	Base         ledger.Checkpoint `json:"-"`
	New          ledger.Checkpoint `json:"-"`
	BaseSize     uint64            `json:"base_size"`
	BaseRoot     string            `json:"base_root"`
	Size         uint64            `json:"size"`
	Root         string            `json:"root"`
	BaseProvenBy Base              `json:"base_proven_by"`
	// Keys are the vkeys that signed it: the site's, then site-pq's if enrolled;
	// NewKeys those that it enrols.
	Keys    []string `json:"keys"`
	NewKeys []string `json:"new_keys"`
	// BaseNote and Note are the signed notes of Base (nil if BaseSize is 0) and
	// New, byte for byte.
	BaseNote []byte `json:"-"`
	Note     []byte `json:"-"`

	Verdict Verdict `json:"verdict"`
	// Duplicate: everything in it was accepted before; the same receipt again.
	Duplicate bool      `json:"duplicate"`
	Findings  []Finding `json:"findings"`
	// FindingsAll counts all findings, also those beyond FindingsMax.
	FindingsAll uint64 `json:"findings_all"`
	// Alarms are for the verifier's own house: receipt_unknown says that the
	// report continues from a receipt of ours that our records lack.
	Alarms []string `json:"alarms"`
	Checks []Check  `json:"checks"`

	// From is the end of the last window closed before this report, or when the
	// ledger was opened; Until is the end of the last window closed in it.
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
	// Closed is when the last close was made, its number is CloseNumber.
	Closed      time.Time `json:"closed"`
	CloseNumber uint64    `json:"close_number"`
	// LicenseSerial is that in force at the last close; 0: none.
	LicenseSerial uint64 `json:"license_serial"`
	Rulebook      string `json:"rulebook"`
	Retired       bool   `json:"retired"`

	Records  uint64            `json:"records"`
	Kinds    map[string]uint64 `json:"kinds"`
	Events   uint64            `json:"events"` // event lines shown
	Totals   []MeterTotal      `json:"totals"`
	Pools    []PoolTotal       `json:"pools"`
	Days     []DayTotal        `json:"days"`
	DaysCut  bool              `json:"days_cut"` // more than DaysMax
	Accounts []Account         `json:"accounts"`
	Gaps     []Gap             `json:"gaps"`
	GapsAll  uint64            `json:"gaps_all"`
	// Open and Boots are the records `open` and `boot` as they stand.
	Open  string   `json:"open"`
	Boots []string `json:"boots"`

	// TextBytes and TextSHA256 are of the text, FileBytes and FileSHA256 of the
	// file as it came; Wrapping lists its layers from the outside in.
	TextBytes  int64    `json:"text_bytes"`
	TextSHA256 string   `json:"text_sha256"`
	FileBytes  int64    `json:"file_bytes"`
	FileSHA256 string   `json:"file_sha256"`
	Wrapping   []string `json:"wrapping"`
}
