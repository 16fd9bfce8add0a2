package web

import (
	"fmt"
	"html/template"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/chart"
)

// chartOptions are those of templates: dict "id" "c1" "title" "Pages" "small" true.
func chartOptions(with map[string]any) chart.Options {
	o := chart.Options{Quantity: quantity}
	if id, ok := with["id"]; ok {
		o.ID = fmt.Sprint(id)
	}
	if title, ok := with["title"]; ok {
		o.Title = fmt.Sprint(title)
	}
	o.Small, _ = with["small"].(bool)
	return o
}

// drawChart is the template function chart: a series as bars, with what its marks
// mean.
func drawChart(s portal.Series, with map[string]any) template.HTML {
	o := chartOptions(with)
	if o.Small {
		return chart.Bars(s, o)
	}
	return `<div class="chartbox">` + chart.Bars(s, o) + chart.Legend(s, o) + `</div>`
}

// chartTable is the template function charttable: the numbers of a chart.
func chartTable(s portal.Series, with map[string]any) template.HTML {
	return chart.Table(s, chartOptions(with))
}
