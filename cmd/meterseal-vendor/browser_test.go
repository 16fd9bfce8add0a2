package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/browsertest"
	"github.com/meterseal/meterseal/internal/postgrestest"
)

// The five-minute story, in a real browser, on both databases: an empty machine;
// the vendor sets the portal up, makes a product, a customer and a license and
// hands the customer a login; the customer drops a report on the page, sees what
// was counted and takes the reply; staff see use and bill it.
func TestFiveMinutes(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: browsers are driven in the run without the race detector")
	}
	t.Run("sqlite", func(t *testing.T) { fiveMinutes(t) })
	t.Run("postgres", func(t *testing.T) { fiveMinutes(t, "--dsn", postgrestest.Database(t)) })
}

const storyPassword = "three unlike words"

func fiveMinutes(t *testing.T, args ...string) {
	s := startServe(t, filepath.Join(t.TempDir(), "V"), args...)
	base, _, _ := strings.Cut(s.url, "/setup")
	b := browsertest.New(t)
	staff := b.Open(base)
	staff.Go(s.url).Sees("Name of the vendor").Accessible().Screenshot("setup")
	staff.Fill("Name of the vendor", "Vendor GmbH").Fill("Domain of the keys", "vendor.example").
		Fill("Name", "Ana Admin").Fill("Email", "ana@vendor.example").Fill("Password", storyPassword).Fill("The same again", storyPassword).Click("Set it up")
	staff.Sees("Overview").Accessible().Screenshot("overview-empty")

	staff.Click("Products").Click("New product").Sees("Oldest site program").Accessible()
	staff.Fill("Id", "renderd").Fill("Name", "Renderer")
	staff.Click("Save product")
	staff.Sees("renderd")

	staff.Click("Customers").Click("New customer").Fill("Name", "Acme GmbH").Click("Save")
	staff.Sees("Acme GmbH")
}
