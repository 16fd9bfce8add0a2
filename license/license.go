package license

import (
	"math"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// Type is what ends a license and what it may do offline. It never changes after
// a license is made.
type Type string

// The types.
const (
	Perpetual    Type = "perpetual"
	TimeLimited  Type = "time-limited"
	Subscription Type = "subscription"
	Consumption  Type = "consumption"
)

// Enforcement is how strict the answers to applications are. Usage is counted
// under each.
type Enforcement string

// The enforcements.
const (
	Advisory Enforcement = "advisory"
	Soft     Enforcement = "soft"
	Hard     Enforcement = "hard"
)

// Reset is when the use that counts against a limit begins at 0 again.
type Reset string

// The resets. Each begins at 00:00 UTC: of every day, of Monday, of the first of
// a month, of 1 January.
const (
	ResetNone    Reset = "none"
	ResetDaily   Reset = "daily"
	ResetWeekly  Reset = "weekly"
	ResetMonthly Reset = "monthly"
	ResetAnnual  Reset = "annual"
)

// License is the content of a license document. Instants are whole seconds in
// UTC; the zero time stands for a line that is absent.
//
// A License is not changed after Parse and may be read by many goroutines.
type License struct {
	ID           string
	Serial       uint64 // rises per ledger; 0: unbound
	SolutionName string // any text; must equal that of the site byte for byte
	ProductLine  string // empty: any
	Type         Type
	Trial        bool
	Licensee     string

	Issued, Start time.Time
	End           time.Time // the last valid second; zero: never
	Grace         ledger.Dur

	ReportBy       time.Time // zero: no report is due
	ReportEvery    Every     // zero: report-by does not move
	ReportGrace    ledger.Dur
	ContractEnd    time.Time  // zero: none
	Term           ledger.Dur // zero (no unit): end does not roll
	MaintenanceEnd time.Time  // zero: none

	Enforcement Enforcement
	Outage      ledger.Dur // how long an application lives on the daemon's last answer
	ActivateBy  ledger.Dur // how long after open a key alone gives yes
	Suspended   bool

	Features []string
	Meters   []Meter
	Limits   []Limit
	Credits  []Credit
	Seats    []Pool
	Reserves []Reserve
	Nodes    *uint64 // different ones in a UTC day; nil: unlimited

	Binds     []Bind
	MatchRate int  // percent of Binds that must match; 0: not checked
	VMDenied  bool // a virtual machine gets no

	// Checked by the vendor's side only, shown to the customer.
	AllowOffline   bool
	Codes          bool
	MaxActivations *uint64 // nil: unlimited
	Transfers      *uint64 // nil: unlimited
	MaxTerm        ledger.Dur

	Rulebook   string
	MinVersion string // of the program; empty: any

	Site       string        // origin of the ledger it is bound to; empty: unbound
	SiteKeys   []ledger.VKey // site, then site-pq
	Checkpoint Pin

	ReceiptKeys, ReplyKeys, NextLicenseKeys []ledger.VKey
	Revoked                                 []Revoked
	SealTo                                  []string

	Custom []Custom // x- lines: shown, never interpreted
	Note   string

	note []byte // the signed note; nil: not parsed from one
}

// Every is how far an accepted report moves report-by: a number of months or a
// span. The zero value does not move it.
type Every struct {
	Months int // 1 monthly, 12 annual; 0: Span
	Span   ledger.Dur
}

// Meter is what a license lets count. Unit, scale and aggregation of an id never
// change.
type Meter struct {
	ID          string
	Aggregation events.Aggregation
	Unit        string
	Scale       int
	Corrections bool
	Undo        ledger.Dur
}

// Limit bounds the use of a meter or feature, in the meter's smallest unit.
type Limit struct {
	Feature bool // of a feature; else of a meter
	Name    string
	Limit   uint64 // use is inside while used + q <= Limit
	Overage Overage
	Reset   Reset
}

// Overage is what may be used beyond a limit.
type Overage struct {
	Unlimited bool
	Amount    uint64 // 0 and not Unlimited: none
}

// Credit gives an amount back to the period that begins at From.
type Credit struct {
	Meter  string    `json:"meter"`
	From   time.Time `json:"from"`
	Amount uint64    `json:"amount"`
}

// The longest spans of a [Pool]; a site cuts longer ones to them.
const (
	MaxBorrow = 8760 * time.Hour
	MaxHold   = 24 * time.Hour
)

// Pool is a number of floating seats.
type Pool struct {
	Name                string
	Count, Over         uint64 // Over: seats beyond Count under a soft limit
	Lease, Borrow, Hold ledger.Dur
	Share               string // none, user, host
	Additive            bool   // adds up over licenses; else exclusive
}

// Reserve keeps seats of a pool for a group.
type Reserve struct {
	Pool, Group string
	Count       uint64
}

// Bind is the salted hash of a component (docs/formats/ledger.md).
type Bind struct {
	Name string
	Hash string // 32 hex digits
}

// Pin is the checkpoint that the ledger must contain. Size 0: none.
type Pin struct {
	Size uint64
	Root ledger.Hash
}

// Revoked ends a license id or a vendor key at import.
type Revoked struct {
	Key   bool // a vkey; else a license id
	Value string
}

// Custom is an x- line.
type Custom struct{ Name, Text string }

// Bound tells whether l is for one site.
func (l *License) Bound() bool { return l.Site != "" }

// Bytes returns the signed note that l was parsed from; the caller does not
// change it.
func (l *License) Bytes() []byte { return l.note }

// Meter returns the meter of an id, nil if l does not list it.
func (l *License) Meter(id string) *Meter {
	for i := range l.Meters {
		if l.Meters[i].ID == id {
			return &l.Meters[i]
		}
	}
	return nil
}

// Pool returns the pool of a name, nil if l has none. Lines of one pool add up if
// all of them are additive: seats, and the longest spans. Otherwise the exclusive
// one with the most seats counts alone.
func (l *License) Pool(name string) *Pool {
	var sum *Pool
	for i := range l.Seats {
		p := l.Seats[i]
		switch {
		case p.Name != name:
		case sum == nil, sum.Additive && !p.Additive, sum.Additive == p.Additive && !p.Additive && p.Count > sum.Count:
			sum = &p
		case sum.Additive && p.Additive:
			sum.Count, sum.Over = sum.Count+min(p.Count, math.MaxInt64-sum.Count), sum.Over+min(p.Over, math.MaxInt64-sum.Over)
			sum.Lease, sum.Borrow, sum.Hold = longer(sum.Lease, p.Lease), longer(sum.Borrow, p.Borrow), longer(sum.Hold, p.Hold)
		}
	}
	return sum
}

func longer(a, b ledger.Dur) ledger.Dur {
	if b.Duration() > a.Duration() {
		return b
	}
	return a
}

// LimitOf returns the limit of a meter or feature, nil if there is none.
func (l *License) LimitOf(feature bool, name string) *Limit {
	for i := range l.Limits {
		if l.Limits[i].Feature == feature && l.Limits[i].Name == name {
			return &l.Limits[i]
		}
	}
	return nil
}
