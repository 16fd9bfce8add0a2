package web

import (
	"fmt"
	"html/template"
	"strings"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/finding"
)

// Size of an evidence chart in its own units; it scales to the page.
const (
	evidenceWidth, evidenceHeight = 760, 260
	evidenceLeft, evidenceRight   = 96, 752
	evidenceTop, evidenceBottom   = 16, 216
)

// evidenceChart draws why a finding is one: what was seen as bars, those that are
// odd with a cap and a colour of their own, over the band of what is usual. The
// numbers stand in the table below it.
func evidenceChart(f *portal.UsageFinding) template.HTML {
	if len(f.Evidence) == 0 {
		return ""
	}
	most := max(f.Limit, 1)
	if f.Kind == finding.Drop || f.Kind == finding.Plateau || f.Kind == finding.Season {
		most = 1
	}
	for _, e := range f.Evidence {
		most = max(most, e.Seen, e.High)
	}
	step := float64(evidenceRight-evidenceLeft) / float64(len(f.Evidence))
	x := func(i int) float64 { return evidenceLeft + step*float64(i) }
	y := func(v int64) float64 {
		return evidenceBottom - float64(max(0, v))/float64(most)*(evidenceBottom-evidenceTop)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="evidence" viewBox="0 0 %d %d" role="img" aria-labelledby="ev-t ev-d"><title id="ev-t">%s</title><desc id="ev-d">%s</desc>`,
		evidenceWidth, evidenceHeight, template.HTMLEscapeString(findingKind(f.Kind)), template.HTMLEscapeString(f.Text+". The table below has the numbers."))
	for _, v := range []int64{0, most / 2, most} {
		if v == most/2 && most < 2 {
			continue
		}
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text class="axis end" x="%d" y="%.1f">%s</text>`,
			evidenceLeft, evidenceRight, y(v), y(v), evidenceLeft-8, y(v)+4, template.HTMLEscapeString(quantity(v, f.Scale)))
	}
	for i, e := range f.Evidence {
		if e.Known && e.High > e.Low {
			fmt.Fprintf(&b, `<rect class="band" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, x(i), y(e.High), step, y(e.Low)-y(e.High))
		}
	}
	for i, e := range f.Evidence {
		class := "seen"
		if e.Odd {
			class = "seen odd"
		}
		pad := step * 0.18
		fmt.Fprintf(&b, `<g><title>%s</title><rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`,
			template.HTMLEscapeString(evidenceWords(f, e)), class, x(i)+pad, y(e.Seen), step-2*pad, max(1, evidenceBottom-y(e.Seen)))
		if e.Odd {
			fmt.Fprintf(&b, `<path class="cap" d="M%.1f %.1fl-4 -7h8z"/>`, x(i)+step/2, y(e.Seen)-2)
		}
		if e.Known && f.Kind != finding.Clock && f.Kind != finding.NodeCount {
			fmt.Fprintf(&b, `<line class="expected" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, x(i), x(i)+step, y(e.Expected), y(e.Expected))
		}
		b.WriteString(`</g>`)
	}
	if f.Limit > 0 && f.Limit <= most {
		fmt.Fprintf(&b, `<line class="limit" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text class="axis end" x="%d" y="%.1f">limit %s</text>`,
			evidenceLeft, evidenceRight, y(f.Limit), y(f.Limit), evidenceRight, y(f.Limit)-5, template.HTMLEscapeString(quantity(f.Limit, f.Scale)))
	}
	last := len(f.Evidence) - 1
	labels := []int{0, last}
	for i, e := range f.Evidence {
		if e.Odd && float64(i)*step > 110 && float64(last-i)*step > 110 {
			labels = append(labels, i)
			break
		}
	}
	for _, i := range labels {
		anchor := "middle"
		if i == 0 {
			anchor = "start"
		} else if i == last {
			anchor = "end"
		}
		fmt.Fprintf(&b, `<text class="axis %s" x="%.1f" y="%d">%s</text>`, anchor, x(i)+step/2, evidenceBottom+20, f.Evidence[i].From.Format("2006-01-02"))
	}
	fmt.Fprintf(&b, `<text class="axis" x="%d" y="%d">%s</text></svg>`, evidenceLeft, evidenceBottom+38, template.HTMLEscapeString(f.Unit))
	return template.HTML(b.String())
}

// evidenceWords says a step of a finding.
func evidenceWords(f *portal.UsageFinding, e portal.Evidence) string {
	s := e.From.Format("2006-01-02") + ": " + quantity(e.Seen, f.Scale)
	if e.Known {
		s += ", usual " + quantity(e.Low, f.Scale) + " to " + quantity(e.High, f.Scale)
	}
	return s
}
