package portal_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// O-16: a policy whose lines no license could have is refused when it is made, not
// when somebody needs it; one that leaves the end open is not.
func TestPolicyLines(t *testing.T) {
	v := portaltest.New(t, "")
	for _, c := range []struct {
		set  license.Lines
		line string
	}{
		{portaltest.Set("grace", "soon"), "grace"}, {portaltest.Set("enforcement", "strict"), "enforcement"}, {portaltest.Set("type", "eternal"), "type"},
		{portaltest.Set("seats", "editors many"), "seats"}, {portaltest.Set("report-every", "weekly"), "report-every"},
	} {
		err := v.SetPolicy(context.Background(), portal.Policy{Name: "p", Set: c.set}, "ana")
		var e *portal.Error
		if !errors.As(err, &e) || e.Details["line"] != c.line {
			t.Errorf("SetPolicy(%v) = %v, want a refusal of line %s", c.set, err, c.line)
		}
	}
	for _, set := range []license.Lines{nil, portaltest.Set("type", "subscription"), portaltest.Set("limit", "meter some.product 5 none monthly"), portaltest.Set("type", "perpetual"), portaltest.Set("trial", "yes")} {
		if err := v.SetPolicy(context.Background(), portal.Policy{Name: "p", Set: set}, "ana"); err != nil {
			t.Errorf("SetPolicy(%v) = %v, want it taken", set, err)
		}
	}
}

// What is called "new" would have no page.
func TestReservedID(t *testing.T) {
	v := portaltest.New(t, "")
	ctx := context.Background()
	_, err := v.SetCustomer(ctx, portal.Customer{ID: "new", Name: "New AG"}, "ana")
	_, byID := v.IssueLicense(ctx, portal.LicenseSpec{ID: "new", Customer: "acme", SolutionName: "renderd", Policy: "annual-metered"})
	_, byLine := v.IssueLicense(ctx, portal.LicenseSpec{Customer: "acme", SolutionName: "renderd", Policy: "annual-metered", Set: portaltest.Set("id", "new")})
	for kind, err := range map[string]error{"customer": err, "product": v.SetProduct(ctx, portal.Product{ID: "new"}, "ana"),
		"policy": v.SetPolicy(ctx, portal.Policy{Name: "new"}, "ana"), "license": byID, "license by a line": byLine} {
		if got := portaltest.Code(err); got != portal.CodeBadRequest || !strings.Contains(err.Error(), `the id "new" is taken`) {
			t.Errorf("%s with the id new: %v, want a refusal with %s", kind, err, portal.CodeBadRequest)
		}
	}
}

// Bytes that are no text are refused, and are nobody's fault but the sender's, on
// both databases.
func TestNoText(t *testing.T) {
	portaltest.OnBoth(t, func(t *testing.T, v *portaltest.Vendor) {
		ctx := context.Background()
		for _, bad := range []string{"\xff", "a\x00b"} {
			_, customers := v.FindCustomers(ctx, portal.ListOptions{Customer: bad, Product: bad, Search: bad})
			_, users := v.Users(ctx, portal.ListOptions{Search: bad})
			_, reports := v.FindReports(ctx, portal.ListOptions{Origin: bad})
			_, license := v.License(ctx, bad)
			_, user := v.User(ctx, bad)
			for what, err := range map[string]error{"FindReports": reports, "License": license, "User": user} {
				if got := portaltest.Code(err); got != portal.CodeBadRequest {
					t.Errorf("%s(%q) = %v, want %s", what, bad, err, portal.CodeBadRequest)
				}
			}
			for what, err := range map[string]error{"FindCustomers": customers, "Users": users} { // which read a search as well as they can
				if err != nil && portaltest.Code(err) != portal.CodeBadRequest {
					t.Errorf("%s(%q) = %v, want %s or nothing", what, bad, err, portal.CodeBadRequest)
				}
			}
		}
	})
}

// An empty list of features is a choice, and not all of the product's.
func TestNoFeatures(t *testing.T) {
	v := portaltest.New(t, "")
	for _, c := range []struct {
		set  license.Lines
		want []string
	}{{nil, []string{"export", "sso"}}, {license.Lines{"feature": {}}, nil}, {portaltest.Set("feature", "sso"), []string{"sso"}}} {
		l := v.Issue(portal.LicenseSpec{Set: c.set})
		if d := cmp.Diff(c.want, l.Terms.Features); d != "" {
			t.Errorf("features of %v (-want +got):\n%s", c.set, d)
		}
	}
}

// One customer, product and policy by name; not_found if there is none.
func TestOne(t *testing.T) {
	v := portaltest.New(t, "")
	ctx := context.Background()
	c, err := v.Customer(ctx, "acme")
	v.Must(err)
	p, err := v.Product(ctx, "renderd")
	v.Must(err)
	y, err := v.Policy(ctx, "prepaid")
	v.Must(err)
	if c.Name != "Acme GmbH" || c.Created.IsZero() || p.Name != "Renderer" || len(p.Meters) != 1 || y.Name != "prepaid" {
		t.Errorf("got %+v, %+v, %+v", c, p, y)
	}
	_, err = v.Customer(ctx, "none")
	_, err2 := v.Product(ctx, "none")
	_, err3 := v.Policy(ctx, "none")
	_, err4 := v.Policy(ctx, "")
	for _, err := range []error{err, err2, err3, err4} {
		if portaltest.Code(err) != portal.CodeNotFound {
			t.Errorf("error = %v, want %s", err, portal.CodeNotFound)
		}
	}
}
