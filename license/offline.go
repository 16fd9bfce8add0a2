package license

// Act is what can be done with a license where there is no network.
type Act string

// The acts. All but ActivateByCode are one file out or one file in.
const (
	ActivateByFile Act = "activate_by_file"
	ActivateByCode Act = "activate_by_code"
	Refresh        Act = "refresh"         // a license without a new receipt
	RenewByReport  Act = "renew_by_report" // an accepted report moves end and report-by
	Deactivate     Act = "deactivate"
)

// Offline tells whether the vendor's side does it for l: by its type, its
// trial flag, and what it allows. It is the vendor's rule only; a site applies
// whatever license verifies.
func (l *License) Offline(a Act) bool {
	switch a {
	case ActivateByFile:
		return l.AllowOffline
	case ActivateByCode:
		return l.AllowOffline && l.Codes && l.Type != Subscription
	case Refresh:
		return !l.Trial
	case RenewByReport:
		return l.AllowOffline && !l.Trial
	}
	return a == Deactivate
}
