package export_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/export"
)

// X-11, O-17: peak, seat-seconds and refusals of each pool stand in the totals, the
// text, the CSV and the database of a report.
func TestPoolsOfAReport(t *testing.T) {
	text, o := vector(t, "c.usage"), auditor(t)
	r := verify(t, text, o)
	if d := cmp.Diff([]export.PoolTotal{{Pool: "editor", Peak: 1, Seconds: 600, Actions: 2}}, r.Pools); d != "" {
		t.Errorf("pools (-want +got):\n%s", d)
	}
	var b bytes.Buffer
	if err := export.WriteText(&b, r); err != nil || !strings.Contains(b.String(), "editor       1           600        0\n") {
		t.Errorf("text, %v:\n%s", err, b.String())
	}
	b.Reset()
	if _, err := export.WriteCSV(&b, bytes.NewReader(text), nil, o); err != nil {
		t.Fatal(err)
	}
	want := ",seat,-,editor,peak,2026-11-04T09:00:00Z,2026-11-04T09:15:00Z,2,1,,,,Ux37H54I2ody+1q5s1xl5Jr6LYwYBdvvxQDUcthyU7Y=,0,600,0\n"
	if !strings.Contains(b.String(), want) || !strings.HasSuffix(strings.SplitN(b.String(), "\n", 2)[0], ",event_root,start,seconds,denied") {
		t.Errorf("CSV lacks %q:\n%s", want, b.String())
	}
	path := database(t, text, o, `UPDATE usage SET value = 2 WHERE kind = 'seat'`)
	if _, err := export.VerifySQLite(context.Background(), path, o); err == nil || !strings.Contains(err.Error(), "value 2, its record says 1") {
		t.Errorf("a peak that was edited: %v, want it named", err)
	}
}
