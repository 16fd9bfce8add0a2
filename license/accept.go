package license

import (
	"fmt"
	"slices"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// InForce is the newest license that a ledger has a record of.
type InForce struct {
	ID     string
	Serial uint64
	Digest ledger.Hash
	// Bound says that a bound license was ever in force: an unbound one is
	// refused then.
	Bound bool
}

// Site is what a site knows when a license is offered to it.
type Site struct {
	SolutionName string        // as configured
	ProductLine  string        // of this program; empty: any
	Version      string        // of this program; empty: min-version is not checked
	Trusted      []ledger.VKey // vendor license keys: configured, and announced by licenses in force
	Revoked      []Revoked     // by the license in force
	Origin       string        // of the ledger; empty: not open yet
	SiteKeys     []string      // vkeys that this site has or had, as its ledger names them
	Newest       *InForce      // nil: none yet
	Size         uint64        // records of the ledger
	// RootAt returns the root of the ledger when it had size records, size <= Size.
	RootAt func(size uint64) (ledger.Hash, error)
	// Meter returns what the ledger knows of a meter, nil if it was never used.
	Meter func(id string) *events.Meter
}

// Accept checks a license note in the order of docs/formats/license.md and says
// whether it is new here; false: exactly this one is the newest already, and
// nothing is to be done. It writes nothing: the caller appends the record
// `license`, syncs, and only then is the license in force.
//
// Dates, limits and bindings decide the state later, never acceptance. Errors
// are an *Error, or one of RootAt as it is.
func (s *Site) Accept(note []byte) (l *License, fresh bool, err error) {
	if l, err = Verify(note, s.Trusted, s.Revoked); err != nil {
		return nil, false, err
	}
	if err := s.fits(l); err != nil {
		return l, false, err
	}
	if err := s.ours(l); err != nil {
		return l, false, err
	}
	if n := s.Newest; n != nil {
		switch {
		case l.Serial < n.Serial:
			return l, false, refuse(CodeSuperseded, "import the newest reply", "serial %d is older than %d, which is in force", l.Serial, n.Serial)
		case l.Serial == n.Serial && Digest(note) == n.Digest:
			return l, false, nil
		case l.Serial == n.Serial && (l.Bound() || l.ID == n.ID):
			return l, false, refuse(CodeConflict, "ask the vendor: two licenses have one serial", "serial %d is in force with other bytes", l.Serial)
		}
	}
	if err := s.pinned(l); err != nil {
		return l, false, err
	}
	return l, true, nil
}

// fits checks what the license asks of program and configuration.
func (s *Site) fits(l *License) error {
	if l.MinVersion != "" && s.Version != "" && CompareVersions(s.Version, l.MinVersion) < 0 {
		return &Error{Code: CodeUpgrade, Field: "min-version", Version: l.MinVersion, Hint: "install version " + l.MinVersion + " or newer",
			Message: fmt.Sprintf("the license needs version %s, this is %s", l.MinVersion, s.Version)}
	}
	if l.SolutionName != s.SolutionName {
		return &Error{Code: CodeSolutionName, Field: "solution-name", Hint: "set license.solutionName to the name in the license, or ask the vendor",
			Message: fmt.Sprintf("the license is for %q, license.solutionName is %q", l.SolutionName, s.SolutionName)}
	}
	if l.ProductLine != "" && s.ProductLine != "" && l.ProductLine != s.ProductLine {
		return &Error{Code: CodeNewLicense, Field: "product-line", Hint: "ask the vendor for a license of this product line",
			Message: fmt.Sprintf("the license is for product line %s, this is %s", l.ProductLine, s.ProductLine)}
	}
	return nil
}

// ours checks that the license is for this ledger and changes no known meter.
func (s *Site) ours(l *License) error {
	switch {
	case l.Bound() && (l.Site != s.Origin || !slices.ContainsFunc(l.SiteKeys, func(k ledger.VKey) bool { return slices.Contains(s.SiteKeys, k.String()) })):
		return refuse(CodeWrongSiteKey, hintReply, "the license is for %s, this site is %s", l.Site, orDash(s.Origin))
	case !l.Bound() && s.Newest != nil && s.Newest.Bound:
		return refuse(CodeAlreadyBound, hintReply, "license %s is not bound to a site, and a bound one was in force here", l.ID)
	}
	for i := range l.Meters {
		m := &l.Meters[i]
		if s.Meter == nil {
			break
		}
		if k := s.Meter(m.ID); k != nil && (k.Scale != m.Scale || k.Aggregation != m.Aggregation || unitOf(k.Unit) != m.Unit) {
			return &Error{Code: CodeMeterConflict, Field: "meter", Hint: "use another meter id, or ask the vendor for a license that agrees",
				Message: fmt.Sprintf("meter %s is %s of %s with scale %d here, %s of %s with scale %d in the license",
					m.ID, k.Aggregation, unitOf(k.Unit), k.Scale, m.Aggregation, m.Unit, m.Scale)}
		}
	}
	return nil
}

// unitOf spells the unit that an events.Meter means by "".
func unitOf(unit string) string {
	if unit == "" {
		return "unit"
	}
	return unit
}

// pinned checks that the ledger contains the pinned checkpoint.
func (s *Site) pinned(l *License) error {
	pin := l.Checkpoint
	if pin.Size > s.Size {
		return refuse(CodeLedgerBehind, `this disk is older than the last accepted report; see "meterseal restore --help"`,
			"the ledger ends at %d, the license pins %d", s.Size, pin.Size)
	}
	if pin.Size == 0 {
		return nil
	}
	root, err := s.RootAt(pin.Size)
	if err != nil {
		return err
	}
	if root != pin.Root {
		return refuse(CodeLedgerOff, "stop the second daemon that has this site key, and send both ledgers to the vendor",
			"the ledger has root %s at size %d, the license pins %s", root, pin.Size, pin.Root)
	}
	return nil
}
