// Command bench measures Meterseal beside what it is compared with: raw
// JetStream and SQLite. One run takes all of them in turn, so that ratios hold
// on any machine, also on one that is busy.
//
//	go run ./bench                      # everything, three rounds
//	go run ./bench -quick               # a look: one round, a tenth of the events
//	go run ./bench -only json,raw-lazy  # some of it
//	go run ./bench -profile json        # where the time goes
//
// What is counted, and how, is in bench/README.md. Results go to bench/results.
// It reads /proc, so it runs on Linux only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	events  int
	rounds  int
	only    []string
	quick   bool
	dir     string // of temporary data
	bin     string // meterseal; empty: built
	out     string // of results; "none": not written
	profile string
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "child" {
		if err := runChild(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[2], err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o, err := parseFlags(os.Args[1:])
	if err == nil {
		err = run(ctx, o)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// runChild is the body of a process that run started: child ROLE JSON.
func runChild(role, arg string) error {
	switch role {
	case "publish":
		return publishChild(arg)
	case "jetstream":
		return jetStreamChild(arg)
	case "sqlite":
		return sqliteChild(arg)
	}
	return fmt.Errorf("unknown role %q", role)
}

func parseFlags(args []string) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&o.events, "events", 1_000_000, "events a round of the fast rows; slow ones take a share of it")
	f.IntVar(&o.rounds, "rounds", 3, "rounds; each takes every row once")
	only := f.String("only", "", "these rows only, separated by commas: "+strings.Join(rowNames(), ", "))
	f.BoolVar(&o.quick, "quick", false, "one round, a tenth of the events, no restart")
	f.StringVar(&o.dir, "dir", "", "folder for temporary data, on the disk to be measured (default the system's)")
	f.StringVar(&o.bin, "bin", "", "meterseal binary to measure (default: built from this tree)")
	f.StringVar(&o.out, "out", "bench/results", `folder for results; "none": print only`)
	f.StringVar(&o.profile, "profile", "", "profile the site instead of measuring: json, batch or batch-lean")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if o.quick {
		o.events, o.rounds = o.events/10, 1
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	for _, name := range append(slices.Clone(o.only), o.profile) {
		if name != "" && rowOf(name) == nil {
			return nil, fmt.Errorf("no row %q; there are %s", name, strings.Join(rowNames(), ", "))
		}
	}
	if o.events < 10_000 || o.rounds < 1 {
		return nil, fmt.Errorf("%d events in %d rounds measure nothing, want at least 10000 in 1", o.events, o.rounds)
	}
	return o, nil
}

// bench is one run.
type bench struct {
	*options
	tmp  string // everything temporary
	bin  string // meterseal
	self string // this program
	n    int    // of temporary folders

	report *reportFile // for verify, made once
	demo   string      // data directory of the demo, made once
	past   *history    // for rebuild, made once
	res    *results
}

func run(ctx context.Context, o *options) (err error) {
	b := &bench{options: o, bin: o.bin}
	if b.tmp, err = os.MkdirTemp(o.dir, "meterseal-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.tmp)
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if o.profile != "" {
		return b.profileSite(ctx, rowOf(o.profile))
	}
	if b.bin == "" {
		if b.bin, err = buildMeterseal(ctx, b.tmp); err != nil {
			return err
		}
	}
	b.res = newResults(b.machine(ctx), o)
	for round := range o.rounds {
		list := b.rows()
		if round%2 == 1 { // so that none always follows the same one
			slices.Reverse(list)
		}
		for _, r := range list {
			if err := b.measure(ctx, r, round); err != nil {
				return fmt.Errorf("%s, round %d: %w", r.name, round+1, err)
			}
		}
	}
	b.res.finish()
	b.res.print(os.Stdout)
	if o.out == "none" {
		return nil
	}
	return b.res.write(o.out)
}

// rows returns the rows that were asked for.
func (b *bench) rows() []*row {
	var list []*row
	for i := range rows {
		r := &rows[i]
		switch {
		case len(b.only) > 0 && !slices.Contains(b.only, r.name):
		case len(b.only) == 0 && (r.extra || b.quick && r.slow):
		default:
			list = append(list, r)
		}
	}
	return list
}

// measure takes one row once and keeps its values.
func (b *bench) measure(ctx context.Context, r *row, round int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	started := time.Now()
	values, err := r.measure(b, ctx, r)
	if err != nil {
		return err
	}
	b.res.add(r, values)
	fmt.Fprintf(os.Stderr, "%s  round %d/%d  %-16s %s  load %.1f\n", time.Since(started).Round(100*time.Millisecond), round+1, b.rounds, r.name, values, loadAverage())
	return nil
}

// folder makes a fresh folder.
func (b *bench) folder() (string, error) {
	b.n++
	dir := filepath.Join(b.tmp, fmt.Sprintf("data-%d", b.n))
	return dir, os.Mkdir(dir, 0o700)
}
