package cli

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// FormFlags adds -o table|json and --json, for commands that do not print a list.
func FormFlags(cmd *cobra.Command) {
	cmd.Flags().StringP("output", "o", "table", "table or json")
	cmd.Flags().Bool("json", false, "short for -o json")
}

// OutputFlags adds -o table|json|csv and --json, for commands that print a list.
func OutputFlags(cmd *cobra.Command) {
	cmd.Flags().StringP("output", "o", "table", "table, json or csv")
	cmd.Flags().Bool("json", false, "short for -o json")
	cmd.Flags().Bool("no-headers", false, "leave out the header line")
}

// OutputForm returns the form that the flags choose.
func OutputForm(cmd *cobra.Command) (string, error) {
	form, _ := cmd.Flags().GetString("output")
	if j, _ := cmd.Flags().GetBool("json"); j {
		form = "json"
	}
	forms := []string{"table", "json"}
	if cmd.Flags().Lookup("no-headers") != nil {
		forms = append(forms, "csv")
	}
	if !slices.Contains(forms, form) {
		return "", Fail(ExitUsage, "config_invalid", "use "+strings.Join(forms, " or "), "-o %s is no form of output", form)
	}
	return form, nil
}

// A Table is what list commands print: columns by name, numbers to the right.
type Table struct {
	Columns []string
	Right   []bool
	Rows    [][]string
	notes   map[int][]string // below a row, of a table for people
}

// NewTable names the columns; those that begin with '#' are numbers.
func NewTable(columns ...string) *Table {
	t := &Table{}
	for _, c := range columns {
		name, number := strings.CutPrefix(c, "#")
		t.Columns, t.Right = append(t.Columns, name), append(t.Right, number)
	}
	return t
}

// Note adds a sentence below the last row, where the table is for people.
func (t *Table) Note(text string) {
	if t.notes == nil {
		t.notes = map[int][]string{}
	}
	t.notes[len(t.Rows)-1] = append(t.notes[len(t.Rows)-1], text)
}

// Add appends a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Print writes t as a table or as CSV.
func (t *Table) Print(w io.Writer, form string, headers bool) error {
	if form == "csv" {
		c := csv.NewWriter(w)
		if headers {
			_ = c.Write(t.Columns)
		}
		_ = c.WriteAll(t.Rows)
		return c.Error()
	}
	widths := make([]int, len(t.Columns))
	all := t.Rows
	if headers {
		head := make([]string, len(t.Columns))
		for i, c := range t.Columns {
			head[i] = strings.ToUpper(strings.ReplaceAll(c, "_", " "))
		}
		all = append([][]string{head}, t.Rows...)
	}
	first := len(all) - len(t.Rows)
	for _, r := range all {
		for i, c := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	for n, r := range all {
		var b strings.Builder
		for i, c := range r {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if i > 0 {
				b.WriteString("  ")
			}
			if t.Right[i] {
				b.WriteString(pad + c)
			} else {
				b.WriteString(c + pad)
			}
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
		for _, note := range t.notes[n-first] {
			if _, err := fmt.Fprintln(w, Wrap("  "+note, Columns, "  ")); err != nil {
				return err
			}
		}
	}
	return nil
}

// PrintJSON writes v, indented.
func PrintJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// Grouped writes 1204118 as 1,204,118, for people.
func Grouped[T int | int64 | uint64](n T) string {
	s := fmt.Sprint(n)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Plural writes "1 node" and "3 nodes".
func Plural[T int | int64 | uint64](n T, what string) string {
	if n != 1 {
		what += "s"
	}
	return Grouped(n) + " " + what
}

// ByteSize writes a size for people.
func ByteSize(n int64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
