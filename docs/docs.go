// Package docs holds the pages that daemon and portal serve themselves, since a
// site has no internet to look things up in.
package docs

import (
	_ "embed" // of the pages
	"strings"
)

// Errors is reference/errors.md: every stable code with its way out.
//
//go:embed reference/errors.md
var Errors string

// A Cell is what a row of a table has in one column.
type Cell struct{ Head, Text string }

// ErrorRows returns the rows of Errors whose first cell names a code: the other
// cells that are not empty. Code marks stay in them.
func ErrorRows(code string) (rows [][]Cell) {
	var head []string
	for line := range strings.Lines(Errors) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case len(cells) < 2:
		case cells[0] == "code":
			head = cells
		case strings.Contains(cells[0], "`"+code+"`"):
			row := []Cell{}
			for i := 1; i < len(cells) && i < len(head); i++ {
				if cells[i] != "" {
					row = append(row, Cell{head[i], cells[i]})
				}
			}
			rows = append(rows, row)
		}
	}
	return rows
}
