package license_test

import (
	"testing"

	"github.com/meterseal/meterseal/license"
)

// L-11, L-12: the table of types, with what a license allows besides.
func TestOffline(t *testing.T) {
	acts := []license.Act{license.ActivateByFile, license.ActivateByCode, license.Refresh, license.RenewByReport, license.Deactivate, "other"}
	for _, x := range []struct {
		name string
		text text
		want string // y or n for each act
	}{
		{"perpetual", valid.with("type", "perpetual", "end", "never"), "yyyyyn"},
		{"time-limited", valid, "yyyyyn"},
		{"subscription", valid.with("type", "subscription", "allow-offline", "no"), "nnynyn"},
		{"subscription that the vendor lets", valid.with("type", "subscription"), "ynyyyn"},
		{"consumption", valid.with("type", "consumption"), "yyyyyn"},
		{"trial", valid.with("trial", "yes"), "yynnyn"},
		{"trial of a subscription", valid.with("trial", "yes", "type", "subscription"), "ynnnyn"},
		{"no codes", valid.with("codes", "no"), "ynyyyn"},
		{"nothing offline", valid.with("allow-offline", "no"), "nnynyn"},
	} {
		l := parse(t, x.text)
		got := ""
		for _, s := range acts {
			if l.Offline(s) {
				got += "y"
			} else {
				got += "n"
			}
		}
		if got != x.want {
			t.Errorf("%s: %s for %v, want %s", x.name, got, acts, x.want)
		}
	}
}

// L-11: what ends a license is its type, and a perpetual one ends never.
func TestTypesEnd(t *testing.T) {
	far := at("2120-01-01T00:00:00Z")
	for _, x := range []struct {
		text text
		want license.State
	}{
		{policy.with("type", "perpetual", "end", "never"), license.StateActive},
		{policy, license.StateExpired},
		{policy.with("type", "subscription"), license.StateExpired},
		{policy.with("type", "consumption"), license.StateExpired},
		{policy.with("type", "consumption", "end", "never"), license.StateActive},
		{policy.with("type", "perpetual", "trial", "yes"), license.StateExpired},
	} {
		if got := parse(t, x.text).State(activated, far).State; got != x.want {
			t.Errorf("state in 2120 = %s, want %s of\n%s", got, x.want, x.text)
		}
	}
}
