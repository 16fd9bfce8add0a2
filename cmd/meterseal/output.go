package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// formFlags adds -o table|json and --json, for commands that do not print a list.
func formFlags(cmd *cobra.Command) {
	cmd.Flags().StringP("output", "o", "table", "table or json")
	cmd.Flags().Bool("json", false, "short for -o json")
}

// outputFlags adds -o table|json|csv and --json, for commands that print a list.
func outputFlags(cmd *cobra.Command) {
	cmd.Flags().StringP("output", "o", "table", "table, json or csv")
	cmd.Flags().Bool("json", false, "short for -o json")
	cmd.Flags().Bool("no-headers", false, "leave out the header line")
}

func outputForm(cmd *cobra.Command) (string, error) {
	form, _ := cmd.Flags().GetString("output")
	if j, _ := cmd.Flags().GetBool("json"); j {
		form = "json"
	}
	forms := []string{"table", "json"}
	if cmd.Flags().Lookup("no-headers") != nil {
		forms = append(forms, "csv")
	}
	if !slices.Contains(forms, form) {
		return "", fail(exitUsage, "config_invalid", "use "+strings.Join(forms, " or "), "-o %s is no form of output", form)
	}
	return form, nil
}

// table is what list commands print: columns by name, numbers to the right.
type table struct {
	columns []string
	right   []bool
	rows    [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes t as a table or as CSV.
func (t *table) print(w io.Writer, form string, headers bool) error {
	if form == "csv" {
		c := csv.NewWriter(w)
		if headers {
			_ = c.Write(t.columns)
		}
		_ = c.WriteAll(t.rows)
		return c.Error()
	}
	widths := make([]int, len(t.columns))
	all := t.rows
	if headers {
		head := make([]string, len(t.columns))
		for i, c := range t.columns {
			head[i] = strings.ToUpper(strings.ReplaceAll(c, "_", " "))
		}
		all = append([][]string{head}, t.rows...)
	}
	for _, r := range all {
		for i, c := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	for _, r := range all {
		var b strings.Builder
		for i, c := range r {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if i > 0 {
				b.WriteString("  ")
			}
			if t.right[i] {
				b.WriteString(pad + c)
			} else {
				b.WriteString(c + pad)
			}
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// grouped writes 1204118 as 1,204,118, for people.
func grouped[T int | int64 | uint64](n T) string {
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

// plural writes "1 node" and "3 nodes".
func plural[T int | int64 | uint64](n T, what string) string {
	if n != 1 {
		what += "s"
	}
	return grouped(n) + " " + what
}

func byteSize(n int64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// Where there is no terminal, progress is a line after the first second, so that
// nobody wonders, and then one each 10 s.
const (
	progressFirst = time.Second
	progressEvery = 10 * time.Second
)

// progress shows how far a long job is: one line redrawn on a terminal, a line
// now and then elsewhere, nothing with --quiet.
type progress struct {
	bar   *progressbar.ProgressBar
	w     io.Writer
	what  string
	total int64
	done  int64
	start time.Time
	next  time.Time
}

func (a *app) progress(what string, total int64) *progress {
	now := time.Now()
	p := &progress{w: a.err, what: what, total: total, start: now, next: now.Add(progressFirst)}
	if a.quiet {
		p.w = io.Discard
		return p
	}
	if f, ok := a.err.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		p.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(a.err), progressbar.OptionSetDescription(what),
			progressbar.OptionSetWidth(20), progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("events"),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(),
			progressbar.OptionUseANSICodes(false), progressbar.OptionSetElapsedTime(false))
	}
	return p
}

// set says that done of total is done. One goroutine may call it.
func (p *progress) set(done int64) {
	p.done = done
	if p.bar != nil {
		_ = p.bar.Set64(done)
		return
	}
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(progressEvery)
	rate := float64(done) / now.Sub(p.start).Seconds()
	eta := "unknown"
	if rate > 0 && p.total > 0 {
		eta = (time.Duration(float64(p.total-done)/rate) * time.Second).String()
	}
	fmt.Fprintf(p.w, "%s  %d %%  %s events  %s events/s  ETA %s\n", p.what, 100*done/max(p.total, 1), grouped(done), grouped(int64(rate)), eta)
}

func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
