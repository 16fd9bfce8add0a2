package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/cli"
)

// replayOptions say what a trace means and where it goes.
type replayOptions struct {
	server     string
	format     string
	start      time.Time
	timeColumn string
	meters     []replayMeter
	nodes      []string
	freshIDs   bool
	session    string
	window     int
}

// replayMeter is a meter and, for csv, the column of its quantity.
type replayMeter struct{ id, column string }

func (a *app) replayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay FILE[.gz]",
		Short: "Send a recorded trace, one event per message",
		Long: `Send a recorded trace as events, one per message, with ordinary JetStream
publish calls. Each event has an id derived from file, line and index, so a
second run changes nothing. With --session they are of the session too, so that
a file can be loaded again after its session was reverted. For traces of the
past start the daemon with --clock trace: its time then follows the data.

Formats: counts (one number per second: that many events), csv (a header
line; one event per line and --meter ID=COLUMN), jsonl (one event per line, as
in docs/formats/events.md, with node and meter unless --node and --meter give
them).`,
		Example: `  meterseal replay --format counts --start 1995-07-01T04:00:01Z \
      --meter documents.processed --nodes 3 nasa-http-1995.txt.gz
  meterseal replay --format csv --time-column TIMESTAMP --node n1 \
      --meter llm.context_tokens=ContextTokens azure-llm-code-2023.csv.gz`,
		Args: cobra.ExactArgs(1),
	}
	serverFlag(cmd)
	cli.FormFlags(cmd)
	f := cmd.Flags()
	var o replayOptions
	f.StringVar(&o.format, "format", "", "counts, csv or jsonl")
	start := f.String("start", "", "counts: instant of the first line (RFC 3339)")
	f.StringVar(&o.timeColumn, "time-column", "", "csv: column of the time")
	meters := f.StringArray("meter", nil, "meter, or METER=COLUMN for csv; may repeat")
	nodes := f.Int("nodes", 1, "spread the events over so many nodes, n1, n2, ...")
	node := f.String("node", "", "name of the one node")
	f.BoolVar(&o.freshIDs, "fresh-ids", false, "new ids: every run counts again")
	f.StringVar(&o.session, "session", "", "backfill session of the events: \"meterseal event revert\" takes it back")
	f.IntVar(&o.window, "window", 8192, "events in flight per node")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.server, _ = f.GetString("server")
		if err := o.complete(*start, *meters, *nodes, *node); err != nil {
			return err
		}
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		res, err := a.replay(cmd.Context(), fileTrace(args[0]), o)
		if err != nil {
			return err
		}
		if form == "json" {
			err = cli.PrintJSON(a.Out, res)
		} else {
			err = res.print(a.Out)
		}
		if err == nil && res.refusedCount() > 0 {
			return cli.Fail(cli.ExitError, "events_refused", `see "meterseal status" and GET /v1/rejected`, "%s events were refused", cli.Grouped(res.refusedCount()))
		}
		return err
	}
	return cmd
}

func (o *replayOptions) complete(start string, meters []string, nodes int, node string) error {
	for _, m := range meters {
		id, column, _ := strings.Cut(m, "=")
		o.meters = append(o.meters, replayMeter{id, column})
	}
	switch {
	case node != "":
		o.nodes = []string{node}
	case nodes < 1 || nodes > 64:
		return cli.Fail(cli.ExitUsage, "config_invalid", "1 to 64", "--nodes %d", nodes)
	default:
		for i := range nodes {
			o.nodes = append(o.nodes, "n"+strconv.Itoa(i+1))
		}
	}
	if o.window < 1 || o.window > 1<<20 {
		return cli.Fail(cli.ExitUsage, "config_invalid", "1 to 1048576", "--window %d", o.window)
	}
	if o.session != "" && !events.ValidSession(o.session) {
		return cli.Fail(cli.ExitUsage, "config_invalid", "letters, digits, \".\", \"_\" and \"-\", 64 at most", "--session %q is not the name of a session", o.session)
	}
	switch o.format {
	case "counts":
		t, err := time.Parse(time.RFC3339, start)
		if err != nil {
			return cli.Fail(cli.ExitUsage, "config_invalid", "give the instant of the first number: --start 1995-07-01T04:00:01Z", "--start %q is no RFC 3339 time", start)
		}
		o.start = t
		if len(o.meters) != 1 || o.meters[0].column != "" {
			return cli.Fail(cli.ExitUsage, "config_invalid", "give --meter ID once", "the format counts has one meter")
		}
	case "csv":
		if o.timeColumn == "" || len(o.meters) == 0 {
			return cli.Fail(cli.ExitUsage, "config_invalid", "give --time-column NAME and --meter ID=COLUMN", "csv needs a time column and a meter")
		}
	case "jsonl":
	default:
		return cli.Fail(cli.ExitUsage, "config_invalid", "use counts, csv or jsonl", "--format %q is no format", o.format)
	}
	return nil
}

// replayResult counts what the daemon answered.
type replayResult struct {
	Events     int64            `json:"events"`
	Stored     int64            `json:"stored"`
	Duplicates int64            `json:"duplicates"`
	Refused    map[string]int64 `json:"refused,omitempty"`
	Seconds    float64          `json:"seconds"`
	PerSecond  float64          `json:"events_per_second"`
	Nodes      []string         `json:"nodes"`
}

func (r *replayResult) refusedCount() (n int64) {
	for _, c := range r.Refused {
		n += c
	}
	return n
}

func (r *replayResult) print(w io.Writer) error {
	fmt.Fprintf(w, "sent       %s from %s in %.1f s, %s/s\n", cli.Plural(r.Events, "event"), cli.Plural(len(r.Nodes), "node"), r.Seconds, cli.Grouped(int64(r.PerSecond)))
	_, err := fmt.Fprintf(w, "stored     %s\nduplicate  %s\n", cli.Grouped(r.Stored), cli.Grouped(r.Duplicates))
	for code, n := range r.Refused {
		_, err = fmt.Fprintf(w, "%-10s %s\n", code, cli.Grouped(n))
	}
	return err
}

// replay sends the trace and waits for every answer.
func (a *app) replay(ctx context.Context, file traceFile, o replayOptions) (*replayResult, error) {
	digest, total, first, err := inspectTrace(file, o)
	if err != nil {
		return nil, err
	}
	prefix := digest
	if o.session != "" {
		prefix += "-" + o.session
	}
	if o.freshIDs {
		prefix += "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	}
	senders := make([]*traceSender, len(o.nodes))
	for i, n := range o.nodes {
		if senders[i], err = newTraceSender(o, n, prefix); err != nil {
			return nil, err
		}
		defer senders[i].nc.Close()
	}
	// Every node announces itself before the first event: a trace clock waits
	// for the slowest of them.
	for _, s := range senders {
		if err := s.announce(ctx, first); err != nil {
			return nil, err
		}
	}
	bar := a.progress("replay", "events", total)
	started := time.Now()
	var done atomic.Int64
	g, sending := errgroup.WithContext(ctx)
	for _, s := range senders {
		g.Go(func() error { return s.publish(sending) })
		g.Go(func() error { return s.collect(sending, &done) })
	}
	g.Go(func() error { return dispatch(sending, file, o, senders) })
	stop := make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				bar.set(done.Load())
			case <-stop:
				bar.finish()
				return
			}
		}
	})
	err = g.Wait()
	close(stop)
	ticking.Wait()
	if err != nil {
		return nil, err
	}
	res := &replayResult{Refused: map[string]int64{}, Nodes: o.nodes, Seconds: time.Since(started).Seconds()}
	for _, s := range senders {
		if err := s.leave(ctx); err != nil {
			return nil, err
		}
		res.Stored += s.stored
		res.Duplicates += s.duplicates
		for code, n := range s.refused {
			res.Refused[code] += n
		}
	}
	res.Events = res.Stored + res.Duplicates + res.refusedCount()
	res.PerSecond = float64(res.Events) / res.Seconds
	return res, nil
}

// dispatch reads the trace and deals its events out to the nodes in turn, so
// that an event always comes from the same node.
func dispatch(ctx context.Context, file traceFile, o replayOptions, senders []*traceSender) error {
	const batchSize = 256
	batches := make([][]traceEvent, len(senders))
	send := func(i int) error {
		select {
		case senders[i].in <- batches[i]:
			batches[i] = make([]traceEvent, 0, batchSize)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	subjects := make([][]string, len(senders))
	for i, s := range senders {
		for _, m := range o.meters {
			subjects[i] = append(subjects[i], "usage."+s.node+"."+m.id)
		}
	}
	n := 0
	quietSince := int64(0)
	err := readTrace(file, o, func(e traceEvent, meter int) error {
		if meter < 0 { // a silent moment: every node says that it is alive
			if e.timeMS-quietSince < beatEvery {
				return nil
			}
			for i := range senders {
				batches[i] = append(batches[i], traceEvent{timeMS: e.timeMS})
			}
			quietSince = e.timeMS
			return nil
		}
		i := n % len(senders)
		n++
		if e.raw == nil {
			e.subject = subjects[i][meter]
		} else if err := e.address(senders[i].node, o); err != nil {
			return err
		}
		if batches[i] = append(batches[i], e); len(batches[i]) >= batchSize {
			return send(i)
		}
		return nil
	})
	for i := range senders {
		if err == nil {
			err = send(i)
		}
		close(senders[i].in)
	}
	return err
}

// address finds the subject of a jsonl event.
func (e *traceEvent) address(node string, o replayOptions) error {
	var to struct{ Node, Meter string }
	if err := json.Unmarshal(e.raw, &to); err != nil {
		return cli.Fail(cli.ExitError, "malformed", "correct the file", "line %d is no JSON object: %v", e.line, err)
	}
	if to.Node == "" {
		to.Node = node
	}
	if to.Meter == "" && len(o.meters) == 1 {
		to.Meter = o.meters[0].id
	}
	e.subject = "usage." + to.Node + "." + to.Meter
	return nil
}
