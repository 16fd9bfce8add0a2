package chart_test

import (
	"encoding/xml"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/chart"
)

// days is a series of one meter, of which the last day is not complete.
func days(values ...int64) chart.Series {
	s := chart.Series{Meter: `render.pages"<&`, Unit: "page", Aggregation: "sum", Reset: "daily"}
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for i, v := range values {
		s.Points = append(s.Points, chart.Point{From: at.AddDate(0, 0, i), To: at.AddDate(0, 0, i+1), Value: v, Complete: i+1 < len(values)})
	}
	return s
}

// element is what a test reads of an SVG.
type element struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Inner   []element  `xml:",any"`
	Text    string     `xml:",chardata"`
}

func (e element) attr(name string) string {
	for _, a := range e.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (e element) all(class string) (out []element) {
	if strings.Contains(" "+e.attr("class")+" ", " "+class+" ") {
		out = append(out, e)
	}
	for _, x := range e.Inner {
		out = append(out, x.all(class)...)
	}
	return out
}

func parse(t *testing.T, svg string) (e element) {
	t.Helper()
	if err := xml.Unmarshal([]byte(svg), &e); err != nil {
		t.Fatalf("%v: %s", err, svg)
	}
	return e
}

// A chart is well-formed, has a bar of the right height for every point, and says
// each value in words to who cannot see it. // P-16
func TestBars(t *testing.T) {
	s := days(100, 0, 50, -20, 30)
	s.Limit = 120
	s.Points[0].Late, s.Points[2].Adjusted = 40, -7
	s.Forecast = []chart.Point{{From: s.Points[4].From, To: s.Points[4].To, Value: 45, Low: 40, High: 50}, {From: s.Points[4].To, To: s.Points[4].To.AddDate(0, 0, 1), Value: 60, Low: 40, High: 90}}
	svg := string(chart.Bars(s, chart.Options{ID: "c1", Title: "Pages"}))
	e := parse(t, svg)
	bars := e.all("bar")
	if len(bars) != 6 {
		t.Fatalf("%d bars, want 5 of use and one to come: %s", len(bars), svg)
	}
	height := func(bar element, classes ...string) (h float64) {
		for _, c := range classes {
			for _, r := range bar.all(c) {
				n, err := strconv.ParseFloat(r.attr("height"), 64)
				if err != nil {
					t.Fatal(err)
				}
				h += n
			}
		}
		return h
	}
	if a, c := height(bars[0], "use", "late"), height(bars[2], "use"); a < 1.95*c || a > 2.05*c {
		t.Errorf("the bar of 100 is %v high, that of 50 %v, want twice as high", a, c)
	}
	if late, all := height(bars[0], "late"), height(bars[0], "use", "late"); late < 0.39*all || late > 0.41*all {
		t.Errorf("40 of 100 late are %v of %v high", late, all)
	}
	for i, want := range []string{"Sun 2026-11-01: 100 page, 40 late", "Mon 2026-11-02: 0 page", "Tue 2026-11-03: 50 page, -7 by corrections", "Wed 2026-11-04: -20 page",
		"Thu 2026-11-05: 30 page, not all reported yet, forecast 45 page, between 40 and 50", "Fri 2026-11-06: forecast 60 page, between 40 and 90"} {
		if got := bars[i].attr("aria-label"); got != want || bars[i].attr("tabindex") != "0" || bars[i].attr("role") != "img" {
			t.Errorf("bar %d says %q, want %q, as an image that takes the focus", i, got, want)
		}
	}
	if len(bars[4].all("open")) != 1 || len(bars[0].all("open")) != 0 || len(bars[2].all("adjusted")) != 1 || len(bars[5].all("band")) != 1 || len(e.all("limit")) != 1 {
		t.Errorf("marks are missing: %s", svg)
	}
	if strings.Contains(svg, "style=") || strings.Contains(svg, "<script") || strings.Contains(svg, `"<&`) {
		t.Errorf("the chart has a style, a script, or a name that is not escaped: %s", svg)
	}
	table := string(chart.Table(s, chart.Options{ID: "c1", Title: "Pages"}))
	for _, want := range []string{">100<", ">-20<", ">40<", ">-7<", "not all yet; forecast 45 (40 to 50)", "forecast, 40 to 90", `<th scope="row">Fri 2026-11-06</th>`} {
		if !strings.Contains(table, want) {
			t.Errorf("the table has no %s: %s", want, table)
		}
	}
	if got := chart.Bars(chart.Series{}, chart.Options{}); got != "" {
		t.Errorf("Bars of nothing = %q, want nothing", got)
	}
}

// Ticks are round numbers that hold all values, whatever their size.
func TestTicks(t *testing.T) {
	for _, v := range [][]int64{{1}, {0}, {3, 7}, {999_999_999}, {9_000_000_000_000_000_000}, {-9_000_000_000_000_000_000, 9_000_000_000_000_000_000}, {-5}, {1234, 4321}} {
		svg := string(chart.Bars(days(v...), chart.Options{}))
		e := parse(t, svg)
		labels := regexp.MustCompile(`text-anchor="end">([^<]*)<`).FindAllStringSubmatch(svg, -1)
		if len(labels) < 2 || len(labels) > 13 {
			t.Errorf("%v: %d ticks, want 2 to 13", v, len(labels))
		}
		for _, bar := range e.all("use") {
			y, _ := strconv.ParseFloat(bar.attr("y"), 64)
			h, _ := strconv.ParseFloat(bar.attr("height"), 64)
			if y < 15 || y+h > 16+208+1.5 {
				t.Errorf("%v: a bar from %v, %v high, leaves the chart", v, y, h)
			}
		}
	}
}

// Two thousand points are drawn; the tab key then meets one of them.
func TestManyBars(t *testing.T) {
	v := make([]int64, 2000)
	for i := range v {
		v[i] = int64(i)
	}
	svg := string(chart.Bars(days(v...), chart.Options{}))
	if err := xml.NewDecoder(strings.NewReader(svg)).Decode(&element{}); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	if n := strings.Count(svg, `tabindex="0"`); n != 1 {
		t.Errorf("%d of 2000 bars take the focus by tab, want 1", n)
	}
}
