package web

import (
	"encoding/csv"
	"iter"
	"net/http"
	"strconv"
	"strings"
)

// asCSV tells whether a list is asked for as a CSV file.
func asCSV(r *http.Request) bool { return r.URL.Query().Get("format") == "csv" }

// writeCSV answers with a CSV file NAME.csv: its head, then rows. An error before
// the first row is returned; one after it cuts the answer off, so that nobody takes
// half a list for all of it.
//
// Cells are written so that they survive (O-32): commas, quotes and line breaks by
// the quotes of RFC 4180, and what a spreadsheet would take for a formula by an
// apostrophe before it.
func writeCSV(w http.ResponseWriter, name string, head []string, rows iter.Seq2[[]string, error]) error {
	out := csv.NewWriter(w)
	begun := false
	begin := func() {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "text/csv; charset=utf-8")
			w.Header().Set("Content-Disposition", `attachment; filename="`+name+`.csv"`)
			w.Header().Set("Cache-Control", "no-store")
			_ = out.Write(head) // Error has it, too
		}
	}
	for row, err := range rows {
		if err != nil && !begun {
			return err
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		begin()
		safe := make([]string, len(row))
		for i, cell := range row {
			safe[i] = guardCell(cell)
		}
		if out.Write(safe) != nil {
			return nil // the reader has gone
		}
	}
	begin()
	out.Flush() // who does not get it has gone
	return nil
}

// guardCell puts an apostrophe before what a spreadsheet would calculate. Numbers
// stay numbers.
func guardCell(s string) string {
	if s == "" || !strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return s
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return s
	}
	return "'" + s
}

// rowsOf turns items into rows of cells.
func rowsOf[T any](items iter.Seq2[T, error], row func(T) []string) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		for x, err := range items {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(row(x), nil) {
				return
			}
		}
	}
}
