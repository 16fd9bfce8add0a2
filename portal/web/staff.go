package web

import (
	"html/template"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/meterseal/meterseal/portal"
)

// staffFunctions are those of the pages for what is sold.
var staffFunctions = template.FuncMap{
	"licensestate": licenseState,
	"ledgerstate":  ledgerState,
	"reportstate":  reportState,
	"meters":       metersOf,
	"seg":          escape,
	"options":      optionsOf,
	"has":          func(v url.Values, name, value string) bool { return slices.Contains(v[name], value) },
	"auditwords":   auditWords,
	"audittext":    auditText,
	"poolfault":    poolFault,
}

// escape spells a name as one part of a path, or as a value in an address.
func escape(name string) string { return url.PathEscape(name) }

func escapeQuery(value string) string { return url.QueryEscape(value) }

func count64(n int64) string { return strconv.FormatInt(n, 10) }

// A stateWord is a state in a word and the colour that goes with it.
type stateWord struct{ Word, Kind string }

// licenseState says in a word how a license stands: what the vendor decided, else
// what its dates come to.
func licenseState(l portal.LicenseLine, now time.Time) stateWord {
	switch {
	case l.State == portal.Revoked:
		return stateWord{"revoked", "bad"}
	case l.State == portal.Suspended:
		return stateWord{"suspended", "warn"}
	case !l.End.IsZero() && now.After(l.End):
		return stateWord{"ended", "bad"}
	case l.Overdue:
		return stateWord{"report overdue", "bad"}
	case !l.End.IsZero() && l.End.Sub(now) <= 30*24*time.Hour:
		return stateWord{"ends soon", "warn"}
	case l.Ledgers == 0:
		return stateWord{"not activated", "none"}
	}
	return stateWord{"active", "good"}
}

// ledgerState says in a word how a ledger stands.
func ledgerState(l portal.LedgerLine) stateWord {
	switch {
	case l.State == portal.LedgerActive && l.Overdue:
		return stateWord{"report overdue", "bad"}
	case l.State == portal.LedgerActive && l.Registration == "not_licensed":
		return stateWord{"waits for approval", "warn"}
	case l.State == portal.LedgerActive && l.Registration == "registration_failed":
		return stateWord{"rejected", "bad"}
	case l.State == portal.LedgerActive:
		return stateWord{"active", "good"}
	case l.State == portal.LedgerRevoked:
		return stateWord{"key revoked", "bad"}
	}
	return stateWord{l.State, "none"}
}

// reportState says in a word what became of an upload.
func reportState(code string) stateWord {
	switch code {
	case "ok":
		return stateWord{"accepted", "good"}
	case "explain":
		return stateWord{"accepted, with questions", "warn"}
	case "duplicate":
		return stateWord{"nothing new", "none"}
	}
	return stateWord{"refused: " + code, "bad"}
}
