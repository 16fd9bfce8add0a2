package chart

import (
	"fmt"
	"html/template"
	"strings"
	"time"
)

// When names a step in the zone that it is of: 2026-11-02, 2026-11-02 08:00, week
// of 2026-11-02, November 2026.
func When(from, to time.Time) string {
	switch stepOf(to.Sub(from)) {
	case "hour":
		return from.Format("2006-01-02 15:04 MST")
	case "week":
		return "week of " + from.Format("2006-01-02")
	case "month":
		return from.Format("January 2006")
	}
	return from.Format("Mon 2006-01-02")
}

// say is a column in words.
func (d *drawing) say(i int) string {
	c := d.columns[i]
	parts := []string{}
	if p := c.point; p != nil {
		about := ""
		if p.Inexact {
			about = "about "
		}
		parts = append(parts, about+d.amount(p.Value))
		if p.Late != 0 {
			parts = append(parts, d.number(p.Late)+" late")
		}
		if p.Adjusted != 0 {
			parts = append(parts, d.number(p.Adjusted)+" by corrections")
		}
		if p.Over != 0 {
			parts = append(parts, d.number(p.Over)+" over the limit")
		}
		if !p.Complete {
			parts = append(parts, "not all reported yet")
		}
	}
	if f := c.forecast; f != nil {
		parts = append(parts, fmt.Sprintf("forecast %s, between %s and %s", d.amount(f.Value), d.number(f.Low), d.number(f.High)))
	}
	return When(c.from, c.to) + ": " + strings.Join(parts, ", ")
}

func (d *drawing) amount(n int64) string { return strings.TrimSpace(d.number(n) + " " + d.Unit) }

// describe says what the chart shows, for who does not see it.
func (d *drawing) describe() string {
	var b strings.Builder
	first, last := d.columns[0], d.columns[len(d.columns)-1]
	fmt.Fprintf(&b, "%s by %s, %s to %s. ", d.Meter, d.step, first.from.Format("2006-01-02"), last.to.Add(-time.Second).Format("2006-01-02"))
	var most *Point
	open, adds, total := 0, additive(d.Aggregation), int64(0)
	for i := range d.Points {
		p := &d.Points[i]
		total += p.Value
		if most == nil || p.Value > most.Value {
			most = p
		}
		if !p.Complete {
			open++
		}
	}
	if most != nil && adds {
		fmt.Fprintf(&b, "%s in all, ", d.amount(total))
	}
	if most != nil {
		fmt.Fprintf(&b, "the most %s, %s. ", d.amount(most.Value), When(most.From, most.To))
	}
	if open > 0 {
		fmt.Fprintf(&b, "%d of %d steps are not all reported. ", open, len(d.Points))
	}
	if d.Limit > 0 {
		fmt.Fprintf(&b, "The limit is %s, %s. ", d.amount(d.Limit), d.Series.Reset)
	}
	if len(d.Forecast) > 0 {
		fmt.Fprintf(&b, "A forecast of %d days. ", len(d.Forecast))
	}
	b.WriteString("The same numbers are in the table.")
	return b.String()
}

// additive reports whether the values of an aggregation add up.
func additive(agg string) bool { return agg == "count" || agg == "sum" || agg == "weighted" }

// Legend says what the marks of a chart mean, those that it has.
func Legend(s Series, o Options) template.HTML {
	d := newDrawing(s, o)
	if len(d.columns) == 0 {
		return ""
	}
	d.scale()
	has := map[string]bool{"expected": len(s.Forecast) > 0, "limit": d.limit}
	for _, p := range s.Points {
		has["use"] = true
		has["late"] = has["late"] || p.Late > 0
		has["adjusted"] = has["adjusted"] || p.Adjusted != 0
		has["open"] = has["open"] || !p.Complete
		has["inexact"] = has["inexact"] || p.Inexact
	}
	var b strings.Builder
	b.WriteString(`<ul class="legend">`)
	for _, x := range []struct{ mark, text string }{
		{"use", "use"}, {"late", "late: of windows closed before"}, {"adjusted", "▾ a correction is in it"}, {"open", "hatched: not all reported yet"},
		{"expected", "forecast; the line holds eight of ten outcomes"}, {"limit", "limit"},
	} {
		if has[x.mark] {
			fmt.Fprintf(&b, `<li><span class="mark %s" aria-hidden="true"></span>%s</li>`, x.mark, x.text)
		}
	}
	if s.Limit > 0 && !d.limit {
		fmt.Fprintf(&b, `<li>limit %s %s</li>`, escape(d.amount(s.Limit)), map[string]string{"none": "in all"}[s.Reset]+strings.TrimPrefix(escape(s.Reset), "none"))
	}
	if has["inexact"] {
		b.WriteString("<li>days are not exact: windows of the site are longer than 15 minutes</li>")
	}
	b.WriteString("</ul>")
	return template.HTML(b.String())
}

// Table has the numbers of a chart, folded away.
func Table(s Series, o Options) template.HTML {
	d := newDrawing(s, o)
	if len(d.columns) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<details class="numbers"><summary>The numbers of %s</summary><div class="wide" role="region" tabindex="0" aria-label="%s"><table><caption>%s%s</caption><thead><tr>`,
		escape(d.Title), escape("Numbers of "+d.Title), escape(d.Title), escape(inUnit(d.Unit)))
	b.WriteString(`<th scope="col">` + strings.ToUpper(d.step[:1]) + d.step[1:] + `</th><th scope="col" class="num">Use</th><th scope="col" class="num">Late</th>` +
		`<th scope="col" class="num">Corrections</th><th scope="col" class="num">Over the limit</th><th scope="col">Reported</th></tr></thead><tbody>`)
	for _, c := range d.columns {
		fmt.Fprintf(&b, `<tr><th scope="row">%s</th>`, escape(When(c.from, c.to)))
		switch p, f := c.point, c.forecast; {
		case p != nil:
			state := "all"
			if !p.Complete {
				state = "not all yet"
			}
			if p.Inexact {
				state += ", not exact"
			}
			if f != nil {
				state += fmt.Sprintf("; forecast %s (%s to %s)", d.number(f.Value), d.number(f.Low), d.number(f.High))
			}
			for _, n := range [...]int64{p.Value, p.Late, p.Adjusted, p.Over} {
				fmt.Fprintf(&b, `<td class="num">%s</td>`, escape(d.number(n)))
			}
			fmt.Fprintf(&b, `<td>%s</td></tr>`, escape(state))
		default:
			fmt.Fprintf(&b, `<td class="num">%s</td><td colspan="4">forecast, %s to %s</td></tr>`, escape(d.number(f.Value)), escape(d.number(f.Low)), escape(d.number(f.High)))
		}
	}
	b.WriteString("</tbody></table></div></details>")
	return template.HTML(b.String())
}

func inUnit(unit string) string {
	if unit == "" {
		return ""
	}
	return ", in " + unit
}
