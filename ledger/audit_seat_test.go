package ledger_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

// what the records of a pool must say of each other. Each line is
// FROM, TO (in windows after the opening), START PEAK SECONDS DENIED COUNT.
func TestAuditSeats(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines string
		want  string // code of the finding; empty: none
	}{
		{"idle, used, idle", "0 1 0 2 600 0 3|1 2 1 1 900 0 0|2 3 1 1 300 1 2|7 8 0 1 5 0 2", ""},
		{"the first one begins with 0", "0 1 1 1 900 0 0", "records/totals"},
		{"nothing happened, so the next begins alike", "0 1 0 1 600 0 1|1 2 1 1 900 0 0|2 3 2 2 10 0 1", "records/totals"},
		{"taken through a window without a record", "0 1 0 1 600 0 1|2 3 1 1 900 0 0", "records/totals"},
		{"twice", "0 1 0 1 600 0 2|0 1 0 1 600 0 2", "records/window_gap"},
		{"back", "1 2 0 1 600 0 2|0 1 0 1 600 0 2", "records/window_gap"},
		{"two windows in one", "0 2 0 1 600 0 2", ""}, // of a longer window
		{"no window", "0 7 0 1 600 0 2", "format/malformed"},
		{"peak below start", "0 1 0 2 900 0 2|1 2 2 1 600 0 2", "records/totals"},
		{"peak beyond the actions", "0 1 0 3 900 0 2", "records/totals"},
		{"peak of a refusal", "0 1 0 1 900 1 1", "records/totals"},
		{"seconds beyond the peak", "0 1 0 2 1801 0 2", "records/totals"},
		{"seconds of a full window", "0 1 0 2 1800 0 2", ""},
		{"idle with fewer seconds", "0 1 0 1 900 0 1|1 2 1 1 899 0 0", "records/totals"},
		{"more refusals than actions", "0 1 0 0 0 2 1", "records/totals"},
		{"nothing at all", "0 1 0 0 0 0 0", "records/totals"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ledger.NewAudit(0, nil)
			lines := []string{
				fmt.Sprintf("open 1 %d %s %s %x", vectors.Opened, vectors.Origin, vkeyText, vectors.Nonce()),
				fmt.Sprintf("boot %d 1 %032x 1.0.0 900", vectors.Opened, 1),
			}
			for _, l := range strings.Split(c.lines, "|") {
				var r ledger.Seat
				if _, err := fmt.Sscan(l, &r.From, &r.To, &r.Start, &r.Peak, &r.Seconds, &r.Denied, &r.Count); err != nil {
					t.Fatal(err)
				}
				r.Pool, r.Root = "editor", ledger.EmptyRoot
				r.From, r.To = vectors.Opened+r.From*900, vectors.Opened+r.To*900
				lines = append(lines, ledger.Line(&r))
			}
			for i, l := range lines {
				a.Add(uint64(i), []byte(l))
			}
			got := ""
			if f := a.Findings(); len(f) > 0 {
				got = f[0].Code
			}
			if got != c.want {
				t.Errorf("finding %q, want %q: %v", got, c.want, a.Findings())
			}
		})
	}
}

// A restore loses leases, so the next record of a pool may begin with any number.
func TestAuditSeatsRestored(t *testing.T) {
	seat := func(n, start int64) string {
		return fmt.Sprintf("seat editor %d %d %d %d %d 0 0 %v", vectors.Opened+n*900, vectors.Opened+n*900+900, start, start, start*900, ledger.EmptyRoot)
	}
	lines := []string{
		fmt.Sprintf("open 1 %d %s %s %x", vectors.Opened, vectors.Origin, vkeyText, vectors.Nonce()),
		fmt.Sprintf("seat editor %d %d 0 1 900 0 1 %v", vectors.Opened, vectors.Opened+900, ledger.EmptyRoot),
		seat(1, 1), "restore", seat(4, 7), seat(5, 7),
	}
	a := ledger.NewAudit(0, nil)
	var tree ledger.Frontier
	for i, l := range lines {
		if l == "restore" {
			l = fmt.Sprintf("restore %d disk-lost %d %v - -", vectors.Opened+2000, i, tree.Root())
		}
		a.Add(uint64(i), []byte(l))
		tree.Append(ledger.LeafHash([]byte(l)))
	}
	if got := a.Verdict(); got != ledger.VerdictExplain {
		t.Errorf("verdict %v, want explain (the restore): %v", got, a.Findings())
	}
	if got := a.Pools(); len(got) != 1 || got[0] != (ledger.PoolTotal{Pool: "editor", Peak: 7, Seconds: 900 + 900 + 14*900, Actions: 1}) {
		t.Errorf("Pools = %+v", got)
	}
}
