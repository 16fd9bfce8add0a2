package stream

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// StreamName is the name of the stream in JetStream, and in every answer.
const StreamName = "USAGE"

// MaxAppendBytes is the largest message that Append takes: 1 MiB, the payload
// limit of a NATS server by default, less room for headers.
const MaxAppendBytes = 1<<20 - 512

// Options says where the stream is and how it is kept. Either Dir or URL is
// set.
type Options struct {
	// Dir is the directory of the embedded server; it is made if it is missing.
	Dir string
	// Listen is the address at which the embedded server takes clients. Empty:
	// 127.0.0.1:4222. Port 0: any free one, see [Stream.Addr].
	Listen string
	// InProcess makes the embedded server listen nowhere; clients come through
	// [Stream.ConnectClient]. For tests in virtual time.
	InProcess bool
	// Authorize decides about clients of the embedded server; nil: those of
	// this machine may speak for any node, nobody else may connect.
	Authorize Authorize
	// Refused is told what the embedded server refused; it must not wait. nil:
	// nobody is.
	Refused func(Refusal)
	// TLS is offered to clients of the embedded server; nil: none is.
	TLS *tls.Config
	// Strangers is how many connections of one address may be there that have not
	// shown yet who they are; 0: any, as for clients of this machine alone.
	Strangers int
	// MaxConnections is how many clients the embedded server has at most; 0: 10,000.
	MaxConnections int

	// URL is an existing NATS server with JetStream, such as
	// nats://nats.example:4222; then nothing is embedded. Credentials in the
	// URL are used.
	URL string
	// Credentials is the path of a NATS credentials file; empty: none.
	Credentials string
	// SyncAlways states that the server at URL has sync_interval: always,
	// which a client cannot see. Without it Open refuses.
	SyncAlways bool
	// First is the position of the first group of a stream that has to be made; 0:
	// 1. A restored one begins where the groups of its backup do.
	First uint64
	// Replicas of the stream at URL; 0: 1.
	Replicas int

	// MaxBytes is the size at which the stream refuses to take more. Embedded:
	// 0 is what the disk has room for, which is the limit in any case. Otherwise
	// it is that of a new stream, 0 being 64 GiB; an existing one keeps its own.
	MaxBytes int64
	// StartWait is how long Open waits for the server; 0: 30 s.
	StartWait time.Duration
	// AppendWait is how long Append tries to learn an outcome; 0: 10 s.
	AppendWait time.Duration
	// Logger gets the words of the server; nil: discarded.
	Logger *slog.Logger

	// keptFree is what stays free on the disk; 0: 256 MiB.
	keptFree int64
}

// Stream is the durable order of groups. It may be used from several
// goroutines; of several appends that name the same predecessor one succeeds.
type Stream struct {
	opts Options
	srv  *embedded // nil: external
	nc   *nats.Conn
	js   jetstream.JetStream
	str  jetstream.Stream

	mu     sync.Mutex // protects denied
	denied string     // the newest permissions violation of our connection
}

// Open starts the embedded server in o.Dir, or connects to o.URL, creates the
// stream if there is none, and checks its settings.
//
// Errors: [ErrUnreachable], [ErrNoPermission], [ErrAddressInUse], [ErrInUse],
// [ErrSettingsUnsafe], each with what to do in its text.
func Open(ctx context.Context, o Options) (*Stream, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Stream{opts: o}
	if o.URL == "" {
		if s.srv, err = startEmbedded(o); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, o.StartWait)
	defer cancel()
	if s.nc, err = s.connect(ctx); err == nil {
		err = s.openStream(ctx)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (o Options) withDefaults() (Options, error) {
	if (o.Dir == "") == (o.URL == "") {
		return o, errors.New("stream options: set either Dir or URL")
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:4222"
	}
	if o.keptFree == 0 {
		o.keptFree = keptFree
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = maxConnections
	}
	if o.StartWait == 0 {
		o.StartWait = 30 * time.Second
	}
	if o.AppendWait == 0 {
		o.AppendWait = 10 * time.Second
	}
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	if o.Logger == nil {
		o.Logger = discardLog()
	}
	return o, nil
}

// connect makes a connection of the daemon's own, with all rights, waiting for
// a server that is still starting.
func (s *Stream) connect(ctx context.Context) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name("meterseal"), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond),
		nats.Timeout(5 * time.Second), nats.NoEcho(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				s.mu.Lock()
				s.denied = err.Error()
				s.mu.Unlock()
			}
			s.opts.Logger.Warn("nats connection", "err", err)
		}),
	}
	url := s.opts.URL
	switch {
	case s.srv == nil && s.opts.Credentials != "":
		opts = append(opts, nats.UserCredentials(s.opts.Credentials))
	case s.srv != nil && s.opts.InProcess:
		opts = append(opts, nats.InProcessServer(s.srv.srv), nats.Token(s.srv.door.token))
	case s.srv != nil:
		url = "nats://" + s.srv.dialAddr()
		opts = append(opts, nats.Token(s.srv.door.token))
	}
	for {
		nc, err := nats.Connect(url, opts...)
		if err == nil {
			return nc, nil
		}
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) {
			return nil, fmt.Errorf("%w: connect to %s: %w; check the credentials", ErrNoPermission, url, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: connect to %s: %w; start the server or correct the URL", ErrUnreachable, url, err)
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// Addr is the address at which clients of the embedded server connect, or the
// URL of the external one; "" when InProcess.
func (s *Stream) Addr() string {
	if s.srv == nil {
		return s.opts.URL
	}
	return s.srv.addr()
}

// ConnectClient connects as an ordinary application would, with its
// permissions, from inside the process; for tests, and for InProcess the only
// way in.
func (s *Stream) ConnectClient(opts ...nats.Option) (*nats.Conn, error) {
	switch {
	case s.srv == nil:
		return nats.Connect(s.opts.URL, opts...)
	case s.opts.InProcess:
		return nats.Connect("", append(opts, nats.InProcessServer(s.srv.srv))...)
	}
	return nats.Connect("nats://"+s.srv.addr(), opts...)
}

// Close ends the connection and the embedded server. What was appended is
// already on disk.
func (s *Stream) Close() error {
	if s.nc != nil {
		s.nc.Close()
	}
	if s.srv != nil {
		s.srv.close()
	}
	return nil
}

// Warnings counts what the embedded server warned of since its start. JetStream
// says little about damage, so any is worth a look.
func (s *Stream) Warnings() uint64 {
	if s.srv == nil {
		return 0
	}
	return s.srv.log.warnings.Load()
}

// position returns the first and last sequence that the stream claims to hold.
func (s *Stream) position(ctx context.Context) (first, last uint64, err error) {
	info, err := s.str.Info(ctx)
	if err != nil {
		return 0, 0, s.apiError("read the state of the stream", err)
	}
	return info.State.FirstSeq, info.State.LastSeq, nil
}

// Last returns the newest group, or the zero Stored of an empty stream.
//
// Errors: [ErrDamaged] if it cannot be read or decoded, [ErrUnreachable].
func (s *Stream) Last(ctx context.Context) (Stored, error) {
	_, last, err := s.position(ctx)
	if err != nil || last == 0 {
		return Stored{}, err
	}
	return s.get(ctx, last)
}

// get reads and decodes one group.
func (s *Stream) get(ctx context.Context, seq uint64) (Stored, error) {
	m, err := s.str.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Stored{}, fmt.Errorf("%w: group at %d cannot be read", ErrDamaged, seq)
	}
	if err != nil {
		return Stored{}, s.apiError("read group "+strconv.FormatUint(seq, 10), err)
	}
	return decode(Raw{Seq: m.Sequence, Data: m.Data})
}

// Read yields the groups after a position in order, up to the newest at the
// time of the call, and checks that they follow one another. It yields one
// error at most, as the last element: one of the family [ErrStreamDamaged], or
// [ErrUnreachable]. A position beyond the end is [ErrTruncated]; one whose
// successor was purged is [ErrHole].
func (s *Stream) Read(ctx context.Context, after uint64) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		first, last, err := s.position(ctx)
		if err != nil {
			yield(Stored{}, err)
			return
		}
		prev := Stored{Seq: after}
		if after > last {
			yield(Stored{}, fmt.Errorf("%w: last group is %d, want %d or later", ErrTruncated, last, after))
			return
		}
		if after > 0 && after >= first {
			if prev, err = s.get(ctx, after); err != nil {
				yield(Stored{}, err)
				return
			}
		}
		if after == last {
			return
		}
		Verify(prev, last, s.raw(ctx, after, last))(yield)
	}
}

// ReadKept yields all groups that are kept, as [Stream.Read] does. The oldest need
// not be the first there ever was: groups leave by [Stream.Purge]. Whoever reads
// them knows up to where they may have left.
func (s *Stream) ReadKept(ctx context.Context) iter.Seq2[Stored, error] {
	first, err := s.First(ctx)
	if err != nil {
		return func(yield func(Stored, error) bool) { yield(Stored{}, err) }
	}
	return s.Read(ctx, max(first, 1)-1)
}

// First returns the position of the oldest group that is kept, or of the first
// one to come in an empty stream.
func (s *Stream) First(ctx context.Context) (uint64, error) {
	first, last, err := s.position(ctx)
	if err == nil && first == 0 {
		first = last + 1
	}
	return first, err
}

// stallWait is how long a reader waits for the next message before it asks
// whether there is one.
const stallWait = 5 * time.Second

// raw hands out messages after a position as an ordered consumer gives them:
// without acknowledgements and without state on the server.
func (s *Stream) raw(ctx context.Context, after, last uint64) iter.Seq2[Raw, error] {
	return func(yield func(Raw, error) bool) {
		fail := func(err error) { yield(Raw{}, s.apiError("read the stream", err)) }
		c, err := s.js.OrderedConsumer(ctx, StreamName, jetstream.OrderedConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1})
		if err != nil {
			fail(err)
			return
		}
		it, err := c.Messages(jetstream.PullMaxMessages(64), jetstream.StopAfter(int(last-after)))
		if err != nil {
			fail(err)
			return
		}
		defer it.Stop()
		for at := after; at < last; {
			m, err := it.Next(jetstream.NextMaxWait(stallWait))
			if errors.Is(err, nats.ErrTimeout) && ctx.Err() == nil {
				if _, err := s.get(ctx, at+1); err != nil {
					yield(Raw{}, err) // it is not there, or damaged
					return
				}
				continue
			}
			if err != nil {
				fail(err)
				return
			}
			meta, err := m.Metadata()
			if err != nil {
				fail(err)
				return
			}
			at = meta.Sequence.Stream
			if !yield(Raw{Seq: at, Data: m.Data()}, nil) {
				return
			}
		}
	}
}

// Append stores data, an encoded group, as the message after position prev and
// returns its position, which is prev+1.
//
// When it returns nil, data was fsynced (by a quorum with several replicas)
// and survives power loss. If the answer is lost, Append reads the last
// message and decides by its bytes, or tries again, until Options.AppendWait
// is over. Errors: [ErrFenced], [ErrFull] (nothing was stored), [ErrUnknown]
// (append the same bytes again, or stop).
func (s *Stream) Append(ctx context.Context, prev uint64, data []byte) (uint64, error) {
	if len(data) > MaxAppendBytes {
		return 0, fmt.Errorf("append %d bytes after %d: larger than %d", len(data), prev, MaxAppendBytes)
	}
	if err := s.checkRoom(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.AppendWait)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		seq, err := s.appendOnce(ctx, prev, data)
		if err == nil || errors.Is(err, ErrFenced) || errors.Is(err, ErrFull) {
			return seq, err
		}
		s.opts.Logger.Warn("append to the stream", "err", err, "seq", prev+1)
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: append after %d: %w", ErrUnknown, prev, err)
		case <-time.After(wait):
		}
	}
}

// appendOnce publishes once. Its error is ErrFenced, ErrFull, or anything else
// if the outcome is unknown.
func (s *Stream) appendOnce(ctx context.Context, prev uint64, data []byte) (uint64, error) {
	m := &nats.Msg{Subject: groupSubject, Data: data, Header: nats.Header{
		"Nats-Expected-Last-Sequence": {strconv.FormatUint(prev, 10)}, "Nats-Expected-Stream": {StreamName}}}
	ctx1, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ack, err := s.js.PublishMsg(ctx1, m, jetstream.WithRetryAttempts(0))
	var api *jetstream.APIError
	switch {
	case err == nil && ack.Stream == StreamName && ack.Sequence == prev+1:
		return ack.Sequence, nil
	case err == nil:
		return 0, fmt.Errorf("%w: stored in %s at %d, want %s at %d", ErrFenced, ack.Stream, ack.Sequence, StreamName, prev+1)
	case errors.As(err, &api):
		switch api.ErrorCode {
		case 10023, 10047, 10077: // resources, storage, maximum bytes
			return 0, fmt.Errorf("%w: %s", ErrFull, api.Description)
		}
	}
	// No answer, or "wrong last sequence", which may be about an earlier try
	// of ours that arrived after all.
	return s.outcome(ctx, prev, data, err)
}

// outcome decides by the last message whether data was stored.
func (s *Stream) outcome(ctx context.Context, prev uint64, data []byte, cause error) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, last, err := s.position(ctx)
	if err != nil {
		return 0, errors.Join(cause, err)
	}
	if last == prev {
		return 0, cause // not there, but it may still come
	}
	if last == prev+1 {
		m, err := s.str.GetMsg(ctx, last)
		if err != nil {
			return 0, errors.Join(cause, err)
		}
		if bytes.Equal(m.Data, data) {
			return last, nil
		}
	}
	return 0, fmt.Errorf("%w: last position is %d, want %d", ErrFenced, last, prev)
}

// Purge removes the groups before seq, which must lie behind the synced cursor
// and an accepted receipt. The newest group always stays, since the next one
// names it.
func (s *Stream) Purge(ctx context.Context, seq uint64) error {
	_, last, err := s.position(ctx)
	if err != nil {
		return err
	}
	if seq = min(seq, last); seq <= 1 {
		return nil
	}
	if err := s.str.Purge(ctx, jetstream.WithPurgeSequence(seq)); err != nil {
		return s.apiError("purge the stream", err)
	}
	return nil
}

// apiError turns an error of NATS into one of ours.
func (s *Stream) apiError(what string, err error) error {
	s.mu.Lock()
	denied := s.denied
	s.mu.Unlock()
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrStreamDamaged):
		return err
	case denied != "" && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)):
		return fmt.Errorf("%w: %s: %s; grant it", ErrNoPermission, what, denied)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w: %s: %w; enable JetStream on the server", ErrUnreachable, what, err)
	case errors.As(err, &api) && (api.ErrorCode == 10023 || api.ErrorCode == 10047):
		return fmt.Errorf("%w: %s: %w", ErrFull, what, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrUnreachable, what, err)
}

// dialIntake opens the connection over which the gateway takes events: bytes
// of the NATS protocol, to be spoken by the caller. ok is false for an
// external server, which may want TLS and credentials.
func (s *Stream) dialIntake(ctx context.Context) (c net.Conn, token string, ok bool, err error) {
	switch {
	case s.srv == nil:
		return nil, "", false, nil
	case s.opts.InProcess:
		c, err = s.srv.srv.InProcessConn()
	default:
		c, err = (&net.Dialer{}).DialContext(ctx, "tcp", s.srv.dialAddr())
	}
	return c, s.srv.door.token, true, err
}
