// Package chart draws usage as SVG on the server: bars with their limit, what is
// not complete, and a forecast with its band.
//
// The guarantee: every number that is drawn is also there as text, of each bar for
// who hears or tabs through the page, and of all bars as a table; nothing is said
// by colour alone; colours are those of the page's style, so a chart is right in
// the light, in the dark and in print.
package chart

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Series is the use of one meter over time, in its smallest unit.
type Series struct {
	Meter, Unit string
	Scale       int // decimals of the unit
	Aggregation string
	Points      []Point
	// Limit is that of the period Reset (daily, weekly, monthly, yearly, none); 0: none.
	Limit int64
	Reset string
	// Forecast are steps to come, or of which not all is known; Low and High of them
	// bound what is likely.
	Forecast []Point
}

// A Point is the use in one step.
type Point struct {
	From, To time.Time
	Value    int64 // late and adjusted included
	Late     int64
	Adjusted int64
	Over     int64 // beyond the limit
	Low      int64 // of a forecast
	High     int64 // of a forecast
	Complete bool  // nothing more is to come of this step, save late events
	Inexact  bool  // a part may belong to the step before or after
}

// Options of a chart. ID is required where a page has several.
type Options struct {
	// ID begins the ids in the SVG; empty: "chart".
	ID string
	// Title is its name; empty: the meter.
	Title string
	// Small leaves out the axes, for a tile.
	Small bool
	// Quantity writes a number of smallest units; nil: with its decimals.
	Quantity func(n int64, scale int) string
}

// A column is what stands at one place of the horizontal axis.
type column struct {
	from, to time.Time
	point    *Point // nil: to come
	forecast *Point // nil: none
}

// A drawing is a chart while it is made. Its sizes are in units of the view box.
type drawing struct {
	strings.Builder
	Series
	Options
	columns                  []column
	step                     string // hour, day, week, month
	left, top, width, height float64
	low, high                int64 // of the vertical axis
	limit                    bool  // the limit is of one step and drawn
}

// Bars draws a series. A series of no points is an empty text.
func Bars(s Series, o Options) template.HTML {
	d := newDrawing(s, o)
	if len(d.columns) == 0 {
		return ""
	}
	ticks := d.scale()
	d.left, d.top, d.width, d.height = 4, 6, 312, 78
	if !o.Small {
		widest := 0
		for _, t := range ticks {
			widest = max(widest, len([]rune(d.number(t))))
		}
		d.left, d.top, d.height = 14+7.2*float64(widest), 16, 208
		d.width = 760 - d.left - 8
	}
	class, w, h := "chart small", d.left+d.width+4, d.top+d.height+6
	if !o.Small {
		class, w, h = "chart", 760, d.top+d.height+28
	}
	fmt.Fprintf(d, `<svg class="%s" viewBox="0 0 %.0f %.0f" role="group" aria-labelledby="%s-t %s-d" data-chart="">`, class, w, h, d.ID, d.ID)
	fmt.Fprintf(d, `<title id="%s-t">%s</title><desc id="%s-d">%s</desc>`, d.ID, escape(d.Title), d.ID, escape(d.describe()))
	fmt.Fprintf(d, `<defs><pattern id="%s-h" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch-ground" width="6" height="6"/><line class="hatch" x1="0" y1="0" x2="0" y2="6"/></pattern></defs>`, d.ID)
	if !o.Small {
		d.axes(ticks)
	}
	for i := range d.columns {
		d.column(i)
	}
	if d.limit {
		y := d.y(d.Limit)
		fmt.Fprintf(d, `<line class="limit" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, d.left, d.left+d.width, y, y)
		if !o.Small {
			fmt.Fprintf(d, `<text class="limit-text" x="%.1f" y="%.1f" text-anchor="end" aria-hidden="true">limit %s</text>`, d.left+d.width, y-4, escape(d.number(d.Limit)))
		}
	}
	d.WriteString("</svg>")
	return template.HTML(d.String())
}

func newDrawing(s Series, o Options) *drawing {
	if o.ID == "" {
		o.ID = "chart"
	}
	if o.Title == "" {
		o.Title = s.Meter
	}
	if o.Quantity == nil {
		o.Quantity = decimal
	}
	d := &drawing{Series: s, Options: o}
	at := map[int64]int{}
	for i := range s.Points {
		p := &s.Points[i]
		at[p.From.Unix()] = len(d.columns)
		d.columns = append(d.columns, column{p.From, p.To, p, nil})
	}
	for i := range s.Forecast {
		f := &s.Forecast[i]
		if n, ok := at[f.From.Unix()]; ok {
			d.columns[n].forecast = f
		} else if len(d.columns) == 0 || !f.From.Before(d.columns[len(d.columns)-1].to) {
			d.columns = append(d.columns, column{f.From, f.To, nil, f})
		}
	}
	if len(d.columns) > 0 {
		d.step = stepOf(d.columns[0].to.Sub(d.columns[0].from))
	}
	d.limit = s.Limit > 0 && map[string]string{"day": "daily", "week": "weekly", "month": "monthly"}[d.step] == s.Reset
	return d
}

func stepOf(d time.Duration) string {
	switch {
	case d <= 2*time.Hour:
		return "hour"
	case d <= 36*time.Hour:
		return "day"
	case d <= 8*24*time.Hour:
		return "week"
	}
	return "month"
}

// decimal writes a number of smallest units.
func decimal(n int64, scale int) string {
	if scale <= 0 {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatFloat(float64(n)/math.Pow10(scale), 'f', scale, 64)
}

func (d *drawing) number(n int64) string { return d.Quantity(n, d.Scale) }

// scale fits the vertical axis to what is drawn and returns its ticks: multiples
// of 1, 2 or 5 times a power of ten, 0 among them.
func (d *drawing) scale() []int64 {
	var low, high int64
	see := func(n int64) { low, high = min(low, n), max(high, n) }
	for _, c := range d.columns {
		if c.point != nil {
			see(c.point.Value)
		}
		if c.forecast != nil {
			see(c.forecast.High)
		}
	}
	if d.limit && d.Limit/4 < high { // one far above would make the bars flat
		see(d.Limit)
	} else if d.limit && high == 0 {
		see(d.Limit)
	} else if d.limit {
		d.limit = false
	}
	if low == high {
		high = low + 1
	}
	step := nice((float64(high) - float64(low)) / 4)
	ticks := []int64{}
	at := float64(low) / float64(step)
	for n := math.Floor(at); ; n++ {
		t := n * float64(step)
		if math.Abs(t) < math.MaxInt64 {
			ticks = append(ticks, int64(t))
		}
		if t >= float64(high) || len(ticks) > 12 {
			break
		}
	}
	d.low, d.high = min(ticks[0], low), max(ticks[len(ticks)-1], high)
	return ticks
}

// nice is the least of 1, 2, 5, 10, 20, … that is not below x.
func nice(x float64) int64 {
	if x <= 1 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, f := range [...]float64{1, 2, 5, 10} {
		if n := f * power; n >= x*(1-1e-9) {
			return int64(min(n, 1<<62))
		}
	}
	return 1 << 62
}

func (d *drawing) y(n int64) float64 {
	span := float64(d.high) - float64(d.low)
	return d.top + d.height*(float64(d.high)-float64(n))/max(span, 1)
}

func (d *drawing) x(i int) float64 { return d.left + d.width*float64(i)/float64(len(d.columns)) }

// axes draws lines for the ticks, and dates below the bars.
func (d *drawing) axes(ticks []int64) {
	d.WriteString(`<g aria-hidden="true">`)
	for _, t := range ticks {
		class := "grid"
		if t == 0 {
			class = "zero"
		}
		fmt.Fprintf(d, `<line class="%s" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, class, d.left, d.left+d.width, d.y(t), d.y(t))
		fmt.Fprintf(d, `<text x="%.1f" y="%.1f" text-anchor="end">%s</text>`, d.left-6, d.y(t)+4, escape(d.number(t)))
	}
	free := d.left // up to where labels stand
	for i := range d.columns {
		label, ok := d.label(i)
		x := (d.x(i) + d.x(i+1)) / 2
		half := 3.6 * float64(len(label))
		if !ok || x-half < free || x+half > d.left+d.width+6 {
			continue
		}
		free = x + half + 10
		fmt.Fprintf(d, `<line class="tick" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, x, x, d.top+d.height, d.top+d.height+4)
		fmt.Fprintf(d, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, x, d.top+d.height+18, label)
	}
	d.WriteString("</g>")
}

// label is what stands below a column, if one may: where there are many, begins
// of days, weeks, months or years alone.
func (d *drawing) label(i int) (string, bool) {
	t, many := d.columns[i].from, len(d.columns) > 21
	switch d.step {
	case "hour":
		if len(d.columns) > 48 {
			return t.Format("2 Jan"), t.Hour() == 0
		}
		return t.Format("15:04"), t.Hour()%3 == 0
	case "month":
		if many {
			return t.Format("2006"), t.Month() == time.January
		}
		return t.Format("Jan 06"), true
	case "day":
		switch {
		case len(d.columns) > 120:
			return t.Format("Jan 06"), t.Day() == 1
		case many:
			return t.Format("2 Jan"), t.Weekday() == time.Monday
		}
	}
	return t.Format("2 Jan"), true
}

// column draws the bar of one step, and what is expected of it.
func (d *drawing) column(i int) {
	c := d.columns[i]
	x, w := d.x(i), d.x(i+1)-d.x(i)
	gap := min(2, w*0.2)
	x, w = x+gap/2, w-gap
	tab := "-1"
	if len(d.columns) <= 100 || i == 0 {
		tab = "0"
	}
	text := escape(d.say(i))
	fmt.Fprintf(d, `<g class="bar" role="img" tabindex="%s" aria-label="%s"><title>%s</title>`, tab, text, text)
	fmt.Fprintf(d, `<rect class="reach" x="%.2f" y="%.1f" width="%.2f" height="%.1f"/>`, x-gap/2, d.top, w+gap, d.height)
	if f := c.forecast; f != nil {
		mid := x + w/2
		d.rect("expected", "", x, w, 0, f.Value)
		fmt.Fprintf(d, `<path class="band" d="M%.2f %.1fH%.2fM%.2f %.1fV%.1fM%.2f %.1fH%.2f"/>`,
			mid-w*0.3, d.y(f.High), mid+w*0.3, mid, d.y(f.High), d.y(f.Low), mid-w*0.3, d.y(f.Low), mid+w*0.3)
	}
	if p := c.point; p != nil {
		fill := ""
		if !p.Complete {
			fill = "url(#" + d.ID + "-h)"
		}
		late := min(max(p.Late, 0), max(p.Value, 0))
		d.rect("use", fill, x, w, 0, p.Value-late)
		if late > 0 {
			d.rect("late", "", x, w, p.Value-late, p.Value)
		}
		if p.Adjusted != 0 {
			y := d.y(max(p.Value, 0))
			fmt.Fprintf(d, `<path class="adjusted" d="M%.2f %.1fl4 -6h-8z"/>`, x+w/2, y-1)
		}
	}
	d.WriteString("</g>")
}

func (d *drawing) rect(class, fill string, x, w float64, from, to int64) {
	y, h := d.y(max(from, to)), math.Abs(d.y(from)-d.y(to))
	if from == to {
		return
	}
	if fill != "" {
		class, fill = class+" open", ` fill="`+fill+`"`
	}
	fmt.Fprintf(d, `<rect class="%s"%s x="%.2f" y="%.1f" width="%.2f" height="%.1f"/>`, class, fill, x, y, w, max(h, 0.8))
}

func escape(s string) string { return template.HTMLEscapeString(s) }
