package web

import (
	"html/template"

	"github.com/meterseal/meterseal/internal/chart"
	"github.com/meterseal/meterseal/internal/pages"
	"github.com/meterseal/meterseal/portal"
)

// chartSeries is a series as charts take it.
func chartSeries(s portal.Series) chart.Series {
	points := func(list []portal.Point) []chart.Point {
		out := make([]chart.Point, len(list))
		for i, p := range list {
			out[i] = chart.Point{From: p.From, To: p.To, Value: p.Value, Late: p.Late, Adjusted: p.Adjusted, Over: p.Over, Low: p.Low, High: p.High, Complete: p.Complete, Inexact: p.Inexact}
		}
		return out
	}
	return chart.Series{Meter: s.Meter, Unit: s.Unit, Scale: s.Scale, Aggregation: s.Aggregation, Points: points(s.Points), Limit: s.Limit, Reset: s.Reset, Forecast: points(s.Forecast)}
}

// drawChart is the template function chart.
func drawChart(s portal.Series, with map[string]any) template.HTML {
	return pages.Chart(chartSeries(s), with)
}

// chartTable is the template function charttable.
func chartTable(s portal.Series, with map[string]any) template.HTML {
	return pages.ChartTable(chartSeries(s), with)
}
