package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// metricOrder says how figures are printed, the most telling first.
var metricOrder = []struct {
	metric
	head string
	form string
}{
	{perSecond, "events/s", "%.0f"},
	{recordsSecond, "records/s", "%.0f"},
	{perRecord, "us/Record", "%.3f"},
	{serverCPU, "us/event", "%.2f"},
	{stopCPU, "us/event to stop", "%.2f"},
	{clientCPU, "us/event of client", "%.2f"},
	{diskBytes, "B/event", "%.1f"},
	{perGroup, "events/group", "%.0f"},
	{ackP50, "p50 ms", "%.2f"},
	{ackP99, "p99 ms", "%.2f"},
	{ackMax, "max ms", "%.1f"},
	{ofAllowed, "of the p99 allowed", "%.2f"},
	{fsyncP50, "fsync p50 ms", "%.3f"},
	{fsyncP99, "fsync p99 ms", "%.3f"},
	{rssAnonPeak, "MiB RssAnon", "%.1f"},
	{readySeconds, "s to ready", "%.3f"},
	{readyKilled, "s to ready after kill", "%.3f"},
}

// spell returns x as values of m are printed.
func (m metric) spell(x float64) string {
	for _, o := range metricOrder {
		if o.metric == m {
			return fmt.Sprintf(o.form, x)
		}
	}
	return fmt.Sprint(x)
}

// goal is a figure to reach. With over it is a ratio within each round.
type goal struct {
	Name   string `json:"name"`
	row    string
	metric metric
	over   string
	atMost bool
	want   float64
}

var goals = []goal{
	{"JSON single events against raw JetStream, lazy sync", "json", perSecond, "raw-lazy", false, 1.5},
	{"JSON single events against raw JetStream, sync always", "json", perSecond, "raw-always", false, 60},
	{"batches of 1000 against SQLite, 1000 a transaction", "batch", perSecond, "sqlite-1000", false, 2},
	{"server CPU per JSON event, us", "json", serverCPU, "", true, 3.4},
	{"server CPU per batched event, us", "batch", serverCPU, "", true, 1.0},
	{"bytes on disk per JSON event", "json", diskBytes, "", true, 30},
	{"bytes on disk per batched event", "batch", diskBytes, "", true, 30},
	{"Record in memory, us", "record", perRecord, "", true, 1},
	{"Record in memory without a daemon against with one", "record", perRecord, "record-live", true, 1.2},
	{"Record that is synced, 2,000 goroutines, us", "record-disk", perRecord, "", true, 5},
	{"Record that is synced against append and fsync", "record-disk", perRecord, "append-fsync", true, 0.05},
	{"seats over NATS: p99 of 5 ms, or of 10 fsync p99", "seats", ofAllowed, "", true, 1},
	{"seats over HTTP: the same", "seats-http", ofAllowed, "", true, 1},
	{"records verified per second", "verify", recordsSecond, "", false, 1e6},
	{"memory of the verifier, MiB RssAnon", "verify", rssAnonPeak, "", true, 16},
	{"events rebuilt per second", "rebuild", perSecond, "", false, 1e6},
	{"seconds to ready with the NASA history", "restart", readySeconds, "", true, 1},
	{"seconds to ready after kill -9", "restart", readyKilled, "", true, 1},
}

// spread is the median of the rounds with their extremes.
type spread struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Rounds []float64 `json:"rounds"`
}

func spreadOf(list []float64) spread {
	s := slices.Sorted(slices.Values(list))
	return spread{Median: (s[(len(s)-1)/2] + s[len(s)/2]) / 2, Min: s[0], Max: s[len(s)-1], Rounds: list}
}

// results is the file of a run.
type results struct {
	Time    time.Time         `json:"time"`
	Command string            `json:"command"`
	Commit  string            `json:"commit"`
	Machine map[string]string `json:"machine"`
	Events  int               `json:"events"`
	Rows    []*rowResult      `json:"rows"`
	Goals   []goalResult      `json:"goals"`
}

type rowResult struct {
	Name       string            `json:"name"`
	What       string            `json:"what"`
	Durability string            `json:"durability,omitempty"`
	Figures    map[metric]spread `json:"figures"`

	rounds []values
}

type goalResult struct {
	goal
	Want string `json:"want"`
	spread
	Reached bool `json:"reached"`
}

func newResults(machine map[string]string, o *options) *results {
	return &results{Time: time.Now().UTC().Truncate(time.Second), Command: strings.Join(append([]string{"go run ./bench"}, os.Args[1:]...), " "),
		Commit: commit(), Machine: machine, Events: o.events}
}

func (r *results) add(row *row, v values) {
	i := slices.IndexFunc(r.Rows, func(x *rowResult) bool { return x.Name == row.name })
	if i < 0 {
		i = len(r.Rows)
		r.Rows = append(r.Rows, &rowResult{Name: row.name, What: row.what, Durability: row.durability})
	}
	r.Rows[i].rounds = append(r.Rows[i].rounds, v)
}

// series returns a figure of a row by round.
func (r *results) series(row string, m metric) []float64 {
	var list []float64
	for _, x := range r.Rows {
		for _, v := range x.rounds {
			if f, ok := v[m]; ok && x.Name == row {
				list = append(list, f)
			}
		}
	}
	return list
}

// finish takes medians and compares them with the goals. A ratio is taken
// within each round, so that a slow minute slows both sides of it.
func (r *results) finish() {
	for _, x := range r.Rows {
		x.Figures = map[metric]spread{}
		for _, o := range metricOrder {
			if list := r.series(x.Name, o.metric); len(list) > 0 {
				x.Figures[o.metric] = spreadOf(list)
			}
		}
	}
	for _, g := range goals {
		list := r.series(g.row, g.metric)
		if g.over != "" {
			other := r.series(g.over, g.metric)
			if len(other) != len(list) {
				continue
			}
			for i := range list {
				list[i] /= other[i]
			}
		}
		if len(list) == 0 {
			continue
		}
		s := spreadOf(list)
		res := goalResult{goal: g, spread: s, Reached: s.Median >= g.want, Want: fmt.Sprintf(">= %g", g.want)}
		if g.atMost {
			res.Reached, res.Want = s.Median <= g.want, fmt.Sprintf("<= %g", g.want)
		}
		r.Goals = append(r.Goals, res)
	}
}

// print writes the medians and the goals in 80 columns.
func (r *results) print(w io.Writer) {
	fmt.Fprintf(w, "\n%-15s %12s %9s %9s %9s %9s %9s\n", "ROW", "EVENTS/s", "us/event", "B/event", "ev/group", "p50 ms", "p99 ms")
	for _, x := range r.Rows {
		fmt.Fprintf(w, "%-15s", x.Name)
		for i, m := range []metric{perSecond, serverCPU, diskBytes, perGroup, ackP50, ackP99} {
			width := 9
			if i == 0 {
				width = 12
			}
			s := "-"
			if f, ok := x.Figures[m]; ok {
				s = m.spell(f.Median)
			}
			fmt.Fprintf(w, " %*s", width, s)
		}
		fmt.Fprintln(w)
	}
	for _, x := range r.Rows {
		for _, m := range []metric{recordsSecond, ofAllowed, rssAnonPeak, readySeconds, readyKilled, fsyncP50, fsyncP99} {
			if f, ok := x.Figures[m]; ok {
				fmt.Fprintf(w, "%-15s %12s %s\n", x.Name, m.spell(f.Median), headOf(m))
			}
		}
	}
	fmt.Fprintf(w, "\n%-53s %9s %9s\n", "GOAL", "WANT", "MEDIAN")
	for _, g := range r.Goals {
		verdict := ""
		if !g.Reached {
			verdict = " MISSED"
		}
		fmt.Fprintf(w, "%-53s %9s %9s%s\n", g.Name, g.Want, short(g.Median), verdict)
	}
}

func headOf(m metric) string {
	for _, o := range metricOrder {
		if o.metric == m {
			return o.head
		}
	}
	return ""
}

// short spells x with three digits.
func short(x float64) string {
	if x >= 1000 {
		return fmt.Sprintf("%.0f", x)
	}
	digits := 2 - int(math.Floor(math.Log10(max(x, 1e-3))))
	return fmt.Sprintf("%.*f", max(digits, 0), x)
}

// write keeps the run in folder: as JSON, named by day and commit.
func (r *results) write(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(folder, fmt.Sprintf("%s-%.10s.json", r.Time.Format("2006-01-02"), r.Commit))
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "wrote", path)
	return nil
}

// commit names what was measured; a tree with changes says so.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--abbrev=10", "--dirty", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// machine describes what the run was on.
func (b *bench) machine(ctx context.Context) map[string]string {
	m := map[string]string{"os": runtime.GOOS + "/" + runtime.GOARCH, "go": runtime.Version(), "cores": fmt.Sprint(runtime.NumCPU()), "load_at_start": fmt.Sprintf("%.2f", loadAverage())}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.SplitSeq(string(data), "\n") {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				m["cpu"] = strings.TrimSpace(v)
				break
			}
		}
	}
	if data, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m["kernel"] = strings.TrimSpace(string(data))
	}
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		first, _, _ := strings.Cut(string(data), "\n")
		m["memory"] = strings.TrimSpace(strings.TrimPrefix(first, "MemTotal:"))
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(b.tmp, &fs); err == nil {
		m["file_system"] = fmt.Sprintf("0x%x", fs.Type)
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			switch d.Path {
			case "github.com/nats-io/nats-server/v2", "github.com/cockroachdb/pebble/v2", "modernc.org/sqlite":
				m[d.Path] = d.Version
			}
		}
	}
	return m
}

var errNotASite = errors.New("only rows of a site can be profiled: json, batch or batch-lean")
