package stream

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"unsafe"

	"github.com/meterseal/meterseal/events"
)

// headroom is left in a group before an event is parsed, since only then its
// size is known; a CloudEvent can give an event per meter.
const headroom = 32 << 10

// source is a subject that events come on.
type source struct {
	kind  sourceKind
	valid bool // the node is the name of a node
	n     *node
	node  string
	meter string
}

type sourceKind uint8

const (
	sourceUsage sourceKind = iota + 1
	sourceBatch
	sourceBeat
)

// sourceOf takes a subject apart; its strings are copies. ok is false if it is
// none of ours.
func sourceOf(subject []byte) (source, bool) {
	kind, rest, _ := strings.Cut(string(subject), ".")
	switch kind {
	case "usage":
		node, meter, ok := strings.Cut(rest, ".")
		return source{kind: sourceUsage, node: node, meter: meter, valid: events.ValidNode(node)}, ok
	case "usage_batch":
		return source{kind: sourceBatch, node: rest, valid: events.ValidNode(rest)}, rest != ""
	case "beat":
		return source{kind: sourceBeat, node: rest, valid: events.ValidNode(rest)}, rest != ""
	}
	return source{}, false
}

// header is the part of a NATS message header that matters here. Its values
// alias the message.
type header struct {
	keys, values []string
}

// get returns the value of the named field without regard to case.
func (h *header) get(name string) string {
	for i, k := range h.keys {
		if strings.EqualFold(k, name) {
			return h.values[i]
		}
	}
	return ""
}

// parse reads "NATS/1.0\r\nName: value\r\n...\r\n".
func (h *header) parse(b []byte) {
	h.keys, h.values = h.keys[:0], h.values[:0]
	for {
		line, rest, ok := bytes.Cut(b, crlf)
		if key, value, found := bytes.Cut(line, colon); found && len(key) > 0 {
			h.keys = append(h.keys, alias(key))
			h.values = append(h.values, alias(bytes.TrimSpace(value)))
		}
		if !ok {
			return
		}
		b = rest
	}
}

var crlf, colon = []byte("\r\n"), []byte(":")

// refusedHeader returns the first field that asks for something which cannot
// be kept for an event in a group.
func (h *header) refusedHeader() string {
	for _, k := range h.keys {
		if len(k) > 5 && strings.EqualFold(k[:5], "Nats-") {
			switch rest := strings.ToLower(k[5:]); {
			case strings.HasPrefix(rest, "expected-"), strings.HasPrefix(rest, "batch-"), rest == "rollup", rest == "incr":
				return k
			}
		}
	}
	return ""
}

// alias makes a string of b without copying.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// receiver turns messages into events. Each source of messages has its own.
type receiver struct {
	g           *Gateway
	parser      events.Parser
	sources     map[string]*source
	last        *source // of the message before, most often of the next one too
	lastSubject string
	hdr         header
	header      func(string) string // h.get, made once
	nowMS       int64
}

func newReceiver(g *Gateway) *receiver {
	r := &receiver{g: g, sources: map[string]*source{}}
	r.header = r.hdr.get
	return r
}

// inboxPrefix is how every subject begins on which a client wants an answer.
const inboxPrefix = "_INBOX"

// isInbox tells whether an answer may go to a subject. The daemon may publish
// anywhere, so a client that could choose freely would have it speak for another
// node, or write into the stream.
func isInbox(reply []byte) bool { return bytes.HasPrefix(reply, []byte(inboxPrefix)) }

// begin takes the lock for some messages; end gives it back.
func (r *receiver) begin() {
	r.g.mu.Lock()
	r.parser.Meters = r.g.opts.Meters()
	r.nowMS = r.g.nowMS()
}

// end wakes the encoder if there is something for it.
func (r *receiver) end() {
	r.g.wakeLocked()
	r.g.mu.Unlock()
}

// message takes one message: between begin and end. The bytes are part of in,
// or of a buffer that is never used again if in is nil.
func (r *receiver) message(subject, reply, hdr, data []byte, in *input) {
	s := r.last
	if s == nil || string(subject) != r.lastSubject {
		s = r.sources[string(subject)]
	}
	if s == nil {
		src, ok := sourceOf(subject)
		if !ok {
			return
		}
		if len(r.sources) >= maxNodes {
			clear(r.sources)
		}
		s = &src
		r.sources[string(subject)] = s
	}
	if s != r.last {
		r.last, r.lastSubject = s, string(subject)
	}
	g := r.g
	astray := len(reply) > 0 && !isInbox(reply)
	if astray {
		reply = nil
	}
	if code := g.unwilling(len(data)); code != nil {
		g.stats.refuse(code.Code)
		if len(reply) > 0 {
			g.intake.reply(alias(reply), appendError(nil, code))
		}
		return
	}
	if !s.valid {
		g.refuseMessage("", s.meter, alias(reply), data, in, &events.Error{Code: events.CodeMalformed, Field: "node",
			Message: "the node in the subject is not the name of a node", Hint: "letters, digits, - and _, at most 128, beginning with a letter or digit"})
		return
	}
	if astray {
		g.refuseMessage(s.node, s.meter, "", data, in, &events.Error{Code: events.CodeMalformed, Cause: "reply", Field: "reply",
			Message: "the answer is wanted on a subject that is no inbox", Hint: "set an inbox prefix that begins with " + inboxPrefix})
		return
	}
	r.hdr.keys = r.hdr.keys[:0]
	if len(hdr) > 0 {
		r.hdr.parse(hdr)
		if k := r.hdr.refusedHeader(); k != "" {
			g.refuseMessage(s.node, s.meter, alias(reply), data, in, &events.Error{Code: events.CodeMalformed,
				Cause: "header", Field: k, Message: "header " + k + " cannot be kept for an event of a group",
				Hint: "publish without it; events are ordered per node and deduplicated by id"})
			return
		}
	}
	if g.opts.NodeRate > 0 && s.kind != sourceBeat {
		if s.n == nil {
			s.n = g.nodeOf(s.node)
		}
		if !g.within(s.n, 1) {
			g.stats.refuse(events.CodeBusy)
			if len(reply) > 0 {
				g.intake.reply(alias(reply), appendError(nil, errRate))
			}
			return
		}
	}
	switch s.kind {
	case sourceUsage:
		r.usage(s, reply, data, in)
	case sourceBatch:
		r.batch(s, reply, data, in)
	case sourceBeat:
		g.beatMessage(s.node, alias(reply), data, in)
	}
}

// What GatewayOptions.Refuse says of a ledger that has ended, and of one that is
// older than what was seen of it.
var (
	RefuseRetired = &events.Error{Code: events.CodeRetired, Message: "this ledger is retired and takes nothing more",
		Hint: "send to the site that took over, or activate anew"}
	RefuseRolledBack = &events.Error{Code: events.CodeRolledBack, Message: "this ledger is older than what was already seen of it",
		Hint: "keep the events and send them again; the operator must restore the ledger"}
)

// refused says why events may not be taken now; nil: they may.
func (g *Gateway) refused() *events.Error {
	if g.opts.Refuse == nil {
		return nil
	}
	return g.opts.Refuse()
}

// unwilling says why nothing can be taken now; nil: it can.
func (g *Gateway) unwilling(bytes int) *events.Error {
	if e := g.refused(); e != nil {
		return e
	}
	switch {
	case g.heldN >= g.opts.PendingEvents || g.heldB+bytes > g.opts.PendingBytes:
		return errBusy
	case g.down.Load() || g.err != nil:
		return errUnavailable
	}
	return nil
}

// within takes n events from what n may send, and says whether there were any
// left: a batch may go beyond, and is waited for then.
func (g *Gateway) within(from *node, n int) bool {
	now, rate := g.opts.Now().UnixNano(), float64(g.opts.NodeRate)
	if from.leftNS == 0 {
		from.left = rate
	} else {
		from.left = min(rate, from.left+rate*float64(max(now-from.leftNS, 0))/1e9)
	}
	if from.leftNS = now; from.left < 1 {
		return false
	}
	from.left -= float64(n)
	return true
}

var (
	errRate = &events.Error{Code: events.CodeBusy, Message: "the node sends more events a second than one may",
		Hint: "send again a little later"}
	errBusy = &events.Error{Code: events.CodeBusy, Message: "more events are pending than may be",
		Hint: "send again a little later, or fewer at once"}
	errUnavailable = &events.Error{Code: events.CodeStoreUnavailable, Message: "the stream cannot be written now",
		Hint: "keep the event and send it again"}
	errFull = &events.Error{Code: events.CodeStoreFull, Message: "the stream is full",
		Hint: "keep the event; the operator must make room"}
)

// usage takes one event of usage.<node>.<meter>.
func (r *receiver) usage(s *source, reply, data []byte, in *input) {
	g := r.g
	input := events.Input{Node: s.node, Meter: s.meter, Data: data}
	if len(r.hdr.keys) > 0 {
		input.ID, input.ContentType, input.Header = r.hdr.get("Nats-Msg-Id"), r.hdr.get("Content-Type"), r.header
	}
	if s.n == nil {
		s.n = g.nodeOf(s.node)
	}
	p := g.current(1, headroom)
	i, fresh := p.runOf(s.n)
	run := &p.group.Runs[i]
	first := len(run.Events)
	_, evs, err := r.parser.Parse(input, run.Events)
	size := 0
	if err == nil {
		for j := first; j < len(evs); j++ {
			e := &evs[j]
			if e.TimeMS > r.nowMS {
				if err = g.checkTime(e, r.nowMS); err != nil {
					break
				}
			}
			if _, err = g.keep(e, r.parser.Meters); err != nil {
				break
			}
			if e.ID == "" {
				p.nameless++
			}
			size += e.EncodedSize()
		}
	}
	if err != nil {
		if run.Events = evs[:first]; fresh {
			p.dropRun(s.n)
		}
		if kept := g.refuseMessage(s.node, s.meter, alias(reply), data, in, asError(err)); kept != nil {
			binary := input.Header != nil && input.Header("ce-specversion") != "" // its fields are headers
			kept.Whole = len(data) > 0 && len(kept.Sample) == len(data) && !binary
			kept.ID, kept.ContentType = strings.Clone(input.ID), strings.Clone(input.ContentType)
		}
		return
	}
	run.Events = evs
	n := len(evs) - first
	p.count += n
	p.use(in)
	if len(reply) > 0 {
		p.answers = append(p.answers, answer{reply: p.subject(reply), run: int32(i), first: int32(first), n: int32(n)})
	}
	g.hold(p, n, size)
}

// batch takes an SDK batch of usage_batch.<node>. Its bytes go into the group
// as they are; all of it is checked first, and all of it refused if one event
// is wrong.
func (r *receiver) batch(s *source, reply, data []byte, in *input) {
	g := r.g
	b, rewrite, err := g.checkBatch(data, r.parser.Meters, r.nowMS)
	for i := 0; err == nil && i < len(b.Events); i++ {
		changed, e := g.keep(&b.Events[i], r.parser.Meters)
		if rewrite = rewrite || changed; e != nil {
			err = asError(e)
		}
	}
	if err == nil && rewrite {
		data, err = restamp(b, r.nowMS)
	}
	if err != nil {
		g.refuseMessage(s.node, "", alias(reply), data, in, err)
		return
	}
	if s.n == nil {
		s.n = g.nodeOf(s.node)
	}
	p := g.current(len(b.Events), len(data)+256)
	run := p.addRun(s.node, events.FormBatch)
	run.Raw, run.Epoch, run.First, run.Last, run.Events = data, b.Epoch, b.First, b.Last, b.Events
	s.n.gather = 0 // events after it form a new run
	if g.opts.NodeRate > 0 {
		s.n.left -= float64(len(b.Events) - 1) // the message itself was taken
	}
	p.count += len(b.Events)
	p.use(in)
	if len(reply) > 0 {
		p.extras = append(p.extras, extra{kind: answerBatch})
		p.answers = append(p.answers, answer{reply: p.subject(reply), run: int32(len(p.group.Runs) - 1),
			n: int32(len(b.Events)), extra: int32(len(p.extras))})
	}
	g.hold(p, len(b.Events), len(data))
}

// maxBatchWire is the largest batch as sent: it must fit a group by itself.
const maxBatchWire = MaxAppendBytes - 1024

// checkBatch decodes a batch and checks every event of it; ahead says that some
// are ahead of the gateway, by less than is refused.
func (g *Gateway) checkBatch(data []byte, meters *events.Meters, nowMS int64) (b *events.Batch, ahead bool, refused *events.Error) {
	if len(data) > maxBatchWire {
		return nil, false, &events.Error{Code: events.CodeTooLarge, Message: "batch is larger than a group can hold",
			Hint: "send fewer events at once, or compress the batch"}
	}
	b, err := events.DecodeBatch(data)
	if err != nil {
		return nil, false, asError(err)
	}
	for i := range b.Events {
		e := b.Events[i] // a copy: what is stored are the bytes as sent
		m := meters.Lookup(e.Meter)
		if m == nil {
			err = &events.Error{Code: events.CodeUnknownMeter, Field: "meter", Message: "meter \"" + e.Meter + "\" is not declared",
				Hint: "declare it in the configuration"}
		} else if err = m.Resolve(&e); err == nil && e.Quantity != b.Events[i].Quantity {
			err = &events.Error{Code: events.CodeBadQuantity, Field: "quantity",
				Message: "quantity is not that of rule book " + m.RuleBook, Hint: "the Go package must use the same rule book"}
		}
		if err == nil {
			err = g.checkTime(&e, nowMS)
		}
		if err != nil {
			refusal := *asError(err)
			refusal.Message = "event " + utoa(b.First+uint64(i)) + " of the batch: " + refusal.Message
			refusal.Field = strings.TrimSuffix("events."+utoa(b.First+uint64(i))+"."+refusal.Field, ".")
			return nil, false, &refusal
		}
		ahead = ahead || e.TimeMS != b.Events[i].TimeMS
	}
	return b, ahead, nil
}

// keep takes from e what is not to be stored.
func (g *Gateway) keep(e *events.Event, meters *events.Meters) (changed bool, err error) {
	if g.opts.Keeping.All() {
		return false, nil
	}
	return g.opts.Keeping.Apply(e, meters.Lookup(e.Meter))
}

// restamp gives the events of b that are ahead of the gateway its time, as plain
// events get it, and returns the batch with that. Clocks are seldom ahead, and
// most sites keep what they are sent, so nearly all batches go into their group as
// they came.
func restamp(b *events.Batch, nowMS int64) ([]byte, *events.Error) {
	for i := range b.Events {
		b.Events[i].TimeMS = min(b.Events[i].TimeMS, nowMS)
	}
	data, err := events.AppendBatch(nil, b, nowMS, true)
	if err != nil {
		return nil, asError(err)
	}
	return data, nil
}

// refuseMessage counts a refusal in the next group and answers with it; mu is
// held. It returns what will be handed to GatewayOptions.Reject, for as long as mu
// is held; nil: nothing.
func (g *Gateway) refuseMessage(node, meter, reply string, data []byte, in *input, e *events.Error) (kept *RejectedEvent) {
	if !events.ValidNode(node) {
		node = "" // cannot be named in the ledger
	}
	p := g.current(1, 1024)
	p.refuse(node, e.Code)
	g.stats.refuse(e.Code)
	if g.opts.Reject != nil {
		r := RejectedEvent{Node: node, Meter: meter, Err: e}
		if g.opts.Keeping.All() {
			r.Sample = bytes.Clone(data[:min(len(data), MaxSampleBytes)])
		} else {
			r.Err = unquoted(e)
		}
		p.rejected = append(p.rejected, r)
		kept = &p.rejected[len(p.rejected)-1]
	}
	size := 64
	if reply != "" {
		body := string(appendError(nil, e))
		p.use(in)
		p.extras = append(p.extras, extra{kind: answerText, body: body})
		p.answers = append(p.answers, answer{reply: reply, extra: int32(len(p.extras))})
		size += len(body)
	}
	g.hold(p, 1, size)
	return kept
}

var quotedText = regexp.MustCompile(`"(?:[^"\\]|\\.)*"…?`)

// unquoted is e without the values of the event that its message quotes, since
// a user may stand in any. Names of meters and nodes are kept anyhow.
func unquoted(e *events.Error) *events.Error {
	if e.Code == events.CodeUnknownMeter || e.Code == events.CodeWrongNode {
		return e
	}
	c := *e
	c.Message = quotedText.ReplaceAllString(e.Message, `"…"`)
	return &c
}

// asError makes an *events.Error of whatever the parser says.
func asError(err error) *events.Error {
	var e *events.Error
	if errors.As(err, &e) {
		return e
	}
	return &events.Error{Code: events.CodeMalformed, Message: err.Error()}
}
