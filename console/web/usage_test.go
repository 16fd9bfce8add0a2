package web_test

import (
	"encoding/csv"
	"strconv"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/console"
)

// O-13: command, API, page and its CSV show the same numbers, in a time zone, by
// node; a range without events says so and leads to the last one.
func TestUsagePage(t *testing.T) {
	s := start(t, siteConfig)
	s.uses("renderer-1", "a1", "12.5")
	s.uses("renderer-1", "a2", "1000")
	s.uses("renderer-2", "b1", "40")
	s.says("event", "sessions") // the daemon answers commands
	query := "zone=Asia/Kolkata&meter=render.pages"

	var series console.UsageSeries
	s.ask("GET", "/v1/usage/series?by=node&"+query, nil, &series)
	if len(series.Series) != 1 || series.Series[0].Total.Quantity != 105250 || series.Series[0].Limit == nil {
		t.Fatalf("series = %+v, want 1,052.50 pages and a limit", series)
	}
	page := s.page("/usage?by=node&range=month&" + query)
	for _, want := range []string{"<strong>1,052.50</strong>", ">1,012.50<", ">40.00<", "The numbers of render.pages by day", "of 1,000.00 used",
		"meterseal usage --window day --from", "--zone Asia/Kolkata", "/v1/usage/series?"} {
		if !strings.Contains(page, want) {
			t.Errorf("page has no %q", want)
		}
	}
	sum := func(text, column string) (n int64) {
		t.Helper()
		rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		at := -1
		for i, name := range rows[0] {
			if name == column {
				at = i
			}
		}
		for _, row := range rows[1:] {
			v, err := strconv.ParseInt(row[at], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			n += v
		}
		return n
	}
	if got := sum(s.ask("GET", "/usage.csv?by=node&"+query, nil, nil), "net"); got != 105250 {
		t.Errorf("CSV of the page adds up to %d, want 105250", got)
	}
	if got := sum(s.says("usage", "--zone", "Asia/Kolkata", "--window", "week", "--meter", "render.pages", "--by", "node", "-o", "csv"), "net"); got != 105250 {
		t.Errorf("the command adds up to %d, want 105250", got)
	}
	if page := s.page("/usage?from=2020-01-01&to=2020-01-31"); !strings.Contains(page, "No events in this range; the last one was on") {
		t.Errorf("page of an empty range does not lead to the last event: %s", page)
	}
}
