package web

import (
	"html/template"
	"strings"

	"github.com/meterseal/meterseal/internal/pages"
)

// functions are those that templates may call beside pages.Functions.
var functions = template.FuncMap{
	"link":  withQuery,
	"zones": func() []string { return usageZones },

	"chart":      drawChart,
	"charttable": chartTable,

	"findingkind":   findingKind,
	"evidence":      evidenceChart,
	"newrecords":    newRecords,
	"myreportstate": myReportState,
}

// What the pages' own code writes the same way as templates do.
var (
	ago      = pages.Ago
	plural   = pages.Plural
	quantity = pages.Quantity
	count    = pages.Count
)

// withQuery returns the page's own address with one parameter changed; an empty
// value takes it away.
func withQuery(v view, name, value string) string {
	q := v.Query
	c := map[string][]string{}
	for k, x := range q {
		if k != name && k != "done" {
			c[k] = x
		}
	}
	if value != "" {
		c[name] = []string{value}
	}
	var b strings.Builder
	b.WriteString("?")
	b.WriteString(encode(c))
	return b.String()
}
