package portal_test

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// O-13: a report can be checked beforehand. Check says what Accept then says,
// and leaves no trace.
func TestCheckSaysWhatAcceptWouldAndKeepsNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		ctx := context.Background()
		s := v.Open(v.Issue(portal.LicenseSpec{ID: "L-1"}), "a").Use(5)
		first := s.Report()
		edited := edit(first)
		if bytes.Equal(first, edited) {
			t.Fatal("the copy is not edited")
		}
		check := func(file []byte) *portal.Answer {
			t.Helper()
			a, err := v.Check(ctx, bytes.NewReader(file), portal.AcceptOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if a.ReportID != "" || a.Reply != nil {
				t.Errorf("Check gives report %q and a reply of %d bytes, want neither", a.ReportID, len(a.Reply))
			}
			return a
		}
		for _, step := range []struct {
			what string
			file []byte
		}{{"a first report", first}, {"the same again", first}, {"an edited copy", edited}} {
			would := check(step.file)
			reports, err := v.Reports(ctx, portal.ReportFilter{})
			if err != nil {
				t.Fatal(err)
			}
			a := v.Answers(step.file)
			if would.Code != a.Code || would.Duplicate != a.Duplicate || would.Base != a.Base || would.Size != a.Size || !slices.Equal(would.Totals, a.Totals) || (would.Refusal == nil) != (a.Refusal == nil) {
				t.Errorf("%s: Check = %+v, Accept = %+v, want the same of both", step.what, would, a)
			}
			if edited := step.what == "an edited copy"; edited != (a.Refusal != nil) {
				t.Errorf("%s: Accept refused it: %v, want %v", step.what, a.Refusal != nil, edited)
			}
			if step.what == "a first report" && len(reports) != 0 {
				t.Errorf("after Check there are %d reports on record, want 0", len(reports))
			}
		}
	})
}

// edit changes one digit of a value, and corrects the digest at the end.
func edit(report []byte) []byte {
	return bytes.Replace(report, []byte(" 1 5 "), []byte(" 1 4 "), 1)
}

// L-24: the license that is shown before it is signed is the one that is signed.
func TestDraftIsWhatIsIssued(t *testing.T) {
	v := newVendor(t, "")
	spec := portal.LicenseSpec{ID: "L-1", Customer: "acme", Product: "renderd", SolutionName: "renderd", Expires: "2027-12-31", Set: license.Lines{"type": {"time-limited"}}}
	draft, notices, err := v.DraftLicense(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := v.Licenses(context.Background(), ""); err != nil || len(all) != 0 {
		t.Fatalf("after DraftLicense there are %d licenses, %v, want none", len(all), err)
	}
	l := v.Issue(spec)
	if !l.End.Equal(draft.End) || len(notices) != 1 || !slices.Equal(l.Notices, notices) {
		t.Errorf("issued with end %s and %q, drafted %s and %q, want the same", l.End, l.Notices, draft.End, notices)
	}
}

// A license key brings the key that signed it, and those that are announced.
func TestLicensesListTheirSigner(t *testing.T) {
	v := newVendor(t, "")
	l := v.Issue(portal.LicenseSpec{ID: "L-1"})
	lists := func(l *portal.License) {
		t.Helper()
		var got, want []string
		for _, k := range l.Terms.NextLicenseKeys {
			got = append(got, k.String())
		}
		for _, k := range v.Keys() {
			if k.Role == "license" && (k.State == "active" || k.State == "next") {
				want = append(want, k.VKey)
			}
		}
		slices.Sort(want)
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("license %s lists %q, want %q", l.ID, got, want)
		}
		if _, err := license.Verify([]byte(l.Note), l.Terms.NextLicenseKeys, nil); err != nil {
			t.Errorf("license %s does not verify with the keys that it lists: %v", l.ID, err)
		}
	}
	lists(l)
	for _, label := range []string{"a", "z"} {
		if _, err := v.AddKey(context.Background(), "license", label, "ana"); err != nil {
			t.Fatal(err)
		}
		lists(v.Issue(portal.LicenseSpec{ID: "L-" + label}))
		if _, err := v.PromoteKey(context.Background(), "license", true, "ana"); err != nil {
			t.Fatal(err)
		}
		lists(v.Issue(portal.LicenseSpec{ID: "M-" + label}))
	}
}
