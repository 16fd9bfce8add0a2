package portal_test

import (
	"context"
	"errors"
	"testing"

	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// L-11, L-12: what a license may do without a network, by type and by what the
// vendor allows: a subscription never activates by code.
func TestL12Offline(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		for _, x := range []struct {
			id           string
			set          license.Lines
			expires      string
			byFile, code bool
		}{
			{"L-1", license.Lines{}, "", true, true},
			{"L-2", license.Lines{"codes": {"no"}}, "", true, false},
			{"L-3", license.Lines{"allow-offline": {"no"}}, "", false, false},
			{"L-4", license.Lines{"type": {"subscription"}, "allow-offline": {"yes"}, "codes": {"yes"}}, "2027-06-30", true, false},
			{"L-5", license.Lines{"type": {"subscription"}}, "2027-06-30", false, false},
		} {
			l := v.Issue(portal.LicenseSpec{ID: x.id, Set: x.set, Expires: x.expires})
			_, err := v.NewCode(context.Background(), l.ID, "ana")
			var e *portal.Error
			if ok := err == nil; ok != x.code || !ok && (!errors.As(err, &e) || e.Code != portal.CodeOfflineNotAllowed) {
				t.Errorf("%s: NewCode = %v, want allowed %v, else %s", x.id, err, x.code, portal.CodeOfflineNotAllowed)
			}
			s := v.Open(l, x.id)
			if x.byFile {
				v.Takes(s.Report())
			} else {
				v.Refuses(portal.CodeOfflineNotAllowed, s.Report())
			}
		}
	})
}
