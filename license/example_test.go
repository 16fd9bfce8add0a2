package license_test

import (
	"fmt"
	"time"

	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// A site asks its license what it means today, and what an application is told.
func Example() {
	trusted := []ledger.VKey{vectors.Key(ledger.RoleLicense).VKey()}
	l, err := license.Verify(vectors.Read("bound.license"), trusted, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	facts := license.Facts{Opened: time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC), Activated: true}
	now := time.Date(2027, 1, 29, 12, 0, 0, 0, time.UTC)
	s := l.State(facts, now)
	fmt.Println(s.State, s.Warnings)
	fmt.Println(s.NextAction)

	d := l.Decide(license.Request{Meter: "render.pages", Quantity: 2}, license.Use{Used: 4_999_999}, facts, now)
	fmt.Println(d.Allowed, d.Code, *d.Remaining, "until", d.ResetsAt.Format(time.DateOnly))
	// Output:
	// active [report_due_within_7d]
	// report, and import the reply, by 2027-01-31
	// true over_limit 1 until 2027-02-01
}
