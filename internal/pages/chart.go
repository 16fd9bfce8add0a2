package pages

import (
	"fmt"
	"html/template"

	"github.com/meterseal/meterseal/internal/chart"
)

// chartOptions are those of templates: dict "id" "c1" "title" "Pages" "small" true.
func chartOptions(with map[string]any) chart.Options {
	o := chart.Options{Quantity: Quantity}
	if id, ok := with["id"]; ok {
		o.ID = fmt.Sprint(id)
	}
	if title, ok := with["title"]; ok {
		o.Title = fmt.Sprint(title)
	}
	o.Small, _ = with["small"].(bool)
	return o
}

// Chart is the template function chart: a series as bars, with what its marks mean.
// The page loads /assets/chart.js for values under the pointer.
func Chart(s chart.Series, with map[string]any) template.HTML {
	o := chartOptions(with)
	if o.Small {
		return chart.Bars(s, o)
	}
	return `<div class="chartbox">` + chart.Bars(s, o) + chart.Legend(s, o) + `</div>`
}

// ChartTable is the template function charttable: the numbers of a chart, folded
// away.
func ChartTable(s chart.Series, with map[string]any) template.HTML {
	return chart.Table(s, chartOptions(with))
}
