package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/meterseal/meterseal/events"
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
a file can be loaded again after its session was reverted. For traces of the past start the daemon with
--clock trace: its time then follows the data.

Formats: counts (one number per second: that many events), csv (a header
line; one event per line and --meter ID=COLUMN), jsonl (one event per line, as
in docs/formats/events.md, with node and meter unless --node, --meter give them).`,
		Example: `  meterseal replay --format counts --start 1995-07-01T04:00:01Z --meter documents.processed --nodes 3 nasa-http-1995.txt.gz
  meterseal replay --format csv --time-column TIMESTAMP --meter llm.context_tokens=ContextTokens --node n1 azure-llm-code-2023.csv.gz`,
		Args: cobra.ExactArgs(1),
	}
	serverFlag(cmd)
	outputFlags(cmd)
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
		form, err := outputForm(cmd)
		if err != nil {
			return err
		}
		res, err := a.replay(cmd.Context(), fileTrace(args[0]), o)
		if err != nil {
			return err
		}
		if form == "json" {
			err = printJSON(a.out, res)
		} else {
			err = res.print(a.out)
		}
		if err == nil && res.refusedCount() > 0 {
			return fail(exitError, "events_refused", `see "meterseal status" and GET /v1/rejected`, "%s events were refused", grouped(res.refusedCount()))
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
		return fail(exitUsage, "config_invalid", "1 to 64", "--nodes %d", nodes)
	default:
		for i := range nodes {
			o.nodes = append(o.nodes, "n"+strconv.Itoa(i+1))
		}
	}
	if o.window < 1 || o.window > 1<<20 {
		return fail(exitUsage, "config_invalid", "1 to 1048576", "--window %d", o.window)
	}
	if o.session != "" && !events.ValidSession(o.session) {
		return fail(exitUsage, "config_invalid", "letters, digits, \".\", \"_\" and \"-\", 64 at most", "--session %q is not the name of a session", o.session)
	}
	switch o.format {
	case "counts":
		t, err := time.Parse(time.RFC3339, start)
		if err != nil {
			return fail(exitUsage, "config_invalid", "--start 1995-07-01T04:00:01Z", "--start %q is no RFC 3339 time", start)
		}
		o.start = t
		if len(o.meters) != 1 || o.meters[0].column != "" {
			return fail(exitUsage, "config_invalid", "give --meter ID once", "the format counts has one meter")
		}
	case "csv":
		if o.timeColumn == "" || len(o.meters) == 0 {
			return fail(exitUsage, "config_invalid", "give --time-column NAME and --meter ID=COLUMN", "csv needs a time column and a meter")
		}
	case "jsonl":
	default:
		return fail(exitUsage, "config_invalid", "use counts, csv or jsonl", "--format %q is no format", o.format)
	}
	return nil
}

// traceEvent is one event of a trace.
type traceEvent struct {
	line, index uint64
	timeMS      int64
	subject     string
	quantity    string // decimal text; "": 1
	raw         []byte // jsonl: the event as it stands
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
	fmt.Fprintf(w, "sent       %s events from %d nodes in %.1f s, %s/s\n", grouped(r.Events), len(r.Nodes), r.Seconds, grouped(int64(r.PerSecond)))
	_, err := fmt.Fprintf(w, "stored     %s\nduplicate  %s\n", grouped(r.Stored), grouped(r.Duplicates))
	for code, n := range r.Refused {
		_, err = fmt.Fprintf(w, "%-10s %s\n", code, grouped(n))
	}
	return err
}

// traceFile is where a trace comes from; it is read twice.
type traceFile struct {
	name string
	open func() (io.ReadCloser, error)
}

func fileTrace(path string) traceFile {
	return traceFile{name: path, open: func() (io.ReadCloser, error) { return os.Open(path) }}
}

// replay sends the trace and waits for every answer.
func (a *app) replay(ctx context.Context, file traceFile, o replayOptions) (*replayResult, error) {
	digest, total, err := inspectTrace(file, o)
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
		if err := s.announce(ctx, o.start); err != nil {
			return nil, err
		}
	}
	bar := a.progress("replay", total)
	started := time.Now()
	var done atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range senders {
		g.Go(func() error { return s.publish(ctx) })
		g.Go(func() error { return s.collect(ctx, &done) })
	}
	g.Go(func() error { return dispatch(ctx, file, o, senders) })
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
		if err := s.leave(); err != nil {
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

// traceSender is one node: a connection of its own, a window of events in
// flight.
type traceSender struct {
	node    string
	prefix  string
	session string
	nc      *nats.Conn
	js      jetstream.JetStream
	in      chan []traceEvent
	futures chan jetstream.PubAckFuture

	lastBeatMS         int64
	stored, duplicates int64
	refused            map[string]int64
}

func newTraceSender(o replayOptions, node, prefix string) (*traceSender, error) {
	nc, err := connect(o.server, "meterseal replay "+node)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(2*o.window))
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &traceSender{node: node, prefix: prefix, session: o.session, nc: nc, js: js, in: make(chan []traceEvent, 16),
		futures: make(chan jetstream.PubAckFuture, o.window), refused: map[string]int64{}}, nil
}

func (s *traceSender) announce(ctx context.Context, at time.Time) error {
	data := []byte("{}")
	if !at.IsZero() {
		data = fmt.Appendf(nil, `{"time":%q}`, at.UTC().Format(time.RFC3339))
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if _, err := s.nc.RequestWithContext(ctx, "beat."+s.node, data); err != nil {
		return refusal(fmt.Errorf("announce node %s: %w", s.node, err))
	}
	return nil
}

func (s *traceSender) leave() error {
	if _, err := s.nc.Request("beat."+s.node, []byte(`{"leaving":true}`), 30*time.Second); err != nil {
		return fmt.Errorf("sign off node %s: %w", s.node, err)
	}
	return nil
}

// beatEvery is how much trace time passes at most between two signs of life.
const beatEvery = 5 * 60 * 1000

// publish sends what dispatch gives, one message per event.
func (s *traceSender) publish(ctx context.Context) error {
	defer close(s.futures)
	var buf []byte
	for {
		var batch []traceEvent
		var ok bool
		select {
		case batch, ok = <-s.in:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !ok {
			return nil
		}
		for i := range batch {
			e := &batch[i]
			if e.timeMS-s.lastBeatMS > beatEvery {
				s.lastBeatMS = e.timeMS
				beat := fmt.Appendf(nil, `{"time":%q}`, time.UnixMilli(e.timeMS).UTC().Format(time.RFC3339))
				if err := s.nc.Publish("beat."+s.node, beat); err != nil {
					return err
				}
			}
			if e.subject == "" {
				continue // a sign of life only
			}
			buf = s.payload(buf[:0], e)
			msg := &nats.Msg{Subject: e.subject, Data: append([]byte(nil), buf...)}
			if e.raw != nil {
				msg.Header = nats.Header{nats.MsgIdHdr: {s.id(e)}}
			}
			f, err := s.js.PublishMsgAsync(msg)
			if err != nil {
				return fmt.Errorf("publish: %w", err)
			}
			select {
			case s.futures <- f:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

func (s *traceSender) id(e *traceEvent) string {
	return fmt.Sprintf("%s-%d-%d", s.prefix, e.line, e.index)
}

func (s *traceSender) payload(b []byte, e *traceEvent) []byte {
	if e.raw != nil {
		return appendWithSession(b, e.raw, s.session)
	}
	b = append(b, `{"id":"`...)
	b = append(append(b, s.prefix...), '-')
	b = append(strconv.AppendUint(b, e.line, 10), '-')
	b = append(strconv.AppendUint(b, e.index, 10), `","time":"`...)
	b = time.UnixMilli(e.timeMS).UTC().AppendFormat(b, "2006-01-02T15:04:05.999Z")
	b = append(b, '"')
	if e.quantity != "" {
		b = append(append(b, `,"quantity":`...), e.quantity...)
	}
	if s.session != "" {
		b = append(append(append(b, `,"session":"`...), s.session...), '"')
	}
	return append(b, '}')
}

// appendWithSession appends a JSON object with the field session before its
// others. One that names a session itself is refused by the daemon.
func appendWithSession(b, object []byte, session string) []byte {
	rest, ok := bytes.CutPrefix(bytes.TrimLeft(object, " \t\r\n"), []byte("{"))
	if session == "" || !ok {
		return append(b, object...)
	}
	b = append(append(append(b, `{"session":"`...), session...), '"')
	if !bytes.HasPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte("}")) {
		b = append(b, ',')
	}
	return append(b, rest...)
}

// collect reads the answers in the order of sending.
func (s *traceSender) collect(ctx context.Context, done *atomic.Int64) error {
	for f := range s.futures {
		var err error
		var ack *jetstream.PubAck
		select {
		case ack = <-f.Ok():
		case err = <-f.Err():
		case <-ctx.Done():
			return ctx.Err()
		}
		// Busy, or an answer lost on the way: send again. The id makes sure
		// that it counts once.
		for try := 0; err != nil && again(err) && try < 100; try++ {
			time.Sleep(time.Duration(min(try+1, 20)) * 10 * time.Millisecond)
			ack, err = s.js.PublishMsg(ctx, f.Msg())
		}
		switch {
		case err != nil:
			var fl *failure
			if !errors.As(refusal(err), &fl) || fl.Code == "" {
				return fmt.Errorf("publish: %w", err)
			}
			s.refused[fl.Code]++
		case ack.Duplicate:
			s.duplicates++
		default:
			s.stored++
		}
		done.Add(1)
	}
	return nil
}

func again(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code == 429 || api.Code == 503
	}
	return errors.Is(err, jetstream.ErrAsyncPublishTimeout) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrNoResponders)
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
		return fail(exitError, "malformed", "correct the file", "line %d is no JSON object: %v", e.line, err)
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

// inspectTrace returns what the ids of the file begin with and how many events
// it holds.
func inspectTrace(file traceFile, o replayOptions) (digest string, total int64, err error) {
	f, err := file.open()
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", 0, fmt.Errorf("read %s: %w", file.name, err)
	}
	err = readTrace(file, o, func(_ traceEvent, meter int) error {
		if meter >= 0 {
			total++
		}
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)[:4]), total, err
}

// readTrace calls yield for each event with the index of its meter, and with -1
// for a line that stands for a moment without events.
func readTrace(file traceFile, o replayOptions, yield func(e traceEvent, meter int) error) error {
	f, err := file.open()
	if err != nil {
		return err
	}
	defer f.Close()
	var r io.Reader = bufio.NewReaderSize(f, 1<<20)
	if strings.HasSuffix(file.name, ".gz") {
		gz, err := gzip.NewReader(r)
		if err != nil {
			return fmt.Errorf("read %s: %w", file.name, err)
		}
		r = bufio.NewReaderSize(gz, 1<<20)
	}
	switch o.format {
	case "counts":
		err = readCounts(r, o, yield)
	case "csv":
		err = readCSV(r, o, yield)
	default:
		err = readJSONL(r, yield)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file.name, err)
	}
	return nil
}

func readCounts(r io.Reader, o replayOptions, yield func(traceEvent, int) error) error {
	sc := bufio.NewScanner(r)
	sc.Split(bufio.ScanWords)
	for line := uint64(1); sc.Scan(); line++ {
		n, err := strconv.ParseUint(sc.Text(), 10, 31)
		if err != nil {
			return fail(exitError, "malformed", "the format counts has one number per second", "number %d: %q", line, sc.Text())
		}
		e := traceEvent{line: line, timeMS: o.start.UnixMilli() + int64(line-1)*1000}
		if n == 0 {
			if err := yield(e, -1); err != nil {
				return err
			}
		}
		for i := range n {
			e.index = i
			if err := yield(e, 0); err != nil {
				return err
			}
		}
	}
	return sc.Err()
}

func readCSV(r io.Reader, o replayOptions, yield func(traceEvent, int) error) error {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	head, err := c.Read()
	if err != nil {
		return err
	}
	column := func(name string) (int, error) {
		for i, h := range head {
			if strings.TrimPrefix(h, "\ufeff") == name {
				return i, nil
			}
		}
		return 0, fail(exitUsage, "config_invalid", "columns: "+strings.TrimPrefix(strings.Join(head, ", "), "\ufeff"), "there is no column %q", name)
	}
	at, err := column(o.timeColumn)
	if err != nil {
		return err
	}
	cols := make([]int, len(o.meters))
	for i, m := range o.meters {
		if m.column == "" {
			cols[i] = -1
		} else if cols[i], err = column(m.column); err != nil {
			return err
		}
	}
	for line := uint64(2); ; line++ {
		rec, err := c.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		t, err := parseTraceTime(rec[at])
		if err != nil {
			return fail(exitError, "malformed", "times like 2023-11-16 18:17:03.98 or RFC 3339", "line %d: time %q", line, rec[at])
		}
		for i, col := range cols {
			e := traceEvent{line: line, index: uint64(i), timeMS: t.UnixMilli()}
			if col >= 0 {
				e.quantity = strings.Clone(rec[col])
			}
			if err := yield(e, i); err != nil {
				return err
			}
		}
	}
}

func parseTraceTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("not a time")
}

func readJSONL(r io.Reader, yield func(traceEvent, int) error) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 64<<10+1)
	for line := uint64(1); sc.Scan(); line++ {
		if len(sc.Bytes()) == 0 {
			continue
		}
		var at struct{ Time time.Time }
		_ = json.Unmarshal(sc.Bytes(), &at) // the daemon says what is wrong with it
		e := traceEvent{line: line, raw: append([]byte(nil), sc.Bytes()...)}
		if !at.Time.IsZero() {
			e.timeMS = at.Time.UnixMilli()
		}
		if err := yield(e, 0); err != nil {
			return err
		}
	}
	return sc.Err()
}
