package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// config is how the stream is created.
func (s *Stream) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: StreamName, Description: "meterseal usage events, one group per message",
		Subjects:  []string{groupSubject}, // not usage.>: each event would be fsynced by itself
		Storage:   jetstream.FileStorage,
		Replicas:  s.opts.Replicas,
		Retention: jetstream.LimitsPolicy,
		// The shortest there is; a restart reads all messages of this window.
		Duplicates: 100 * time.Millisecond,
		Discard:    jetstream.DiscardNew, MaxBytes: s.maxBytes(),
		MaxAge: 0, MaxMsgs: -1, MaxMsgsPerSubject: -1, MaxConsumers: -1, MaxMsgSize: -1,
		FirstSeq:   s.opts.First,
		DenyDelete: true, DenyPurge: false, // raw events leave by sequence
		AllowDirect: false, // a replica behind the leader must not answer
		Compression: jetstream.NoCompression,
	}
}

// maxBytes is the size at which the stream refuses more. What the disk has room
// for is asked before every append, since others fill it too.
func (s *Stream) maxBytes() int64 {
	switch {
	case s.opts.MaxBytes > 0:
		return s.opts.MaxBytes
	case s.srv != nil:
		return 1 << 50
	}
	return 64 << 30
}

// checkRoom refuses while the disk of the embedded server has too little.
func (s *Stream) checkRoom() error {
	if s.srv == nil {
		return nil
	}
	free, err := FreeBytes(s.opts.Dir)
	if err == nil && free < s.opts.keptFree {
		return fmt.Errorf("%w: the disk of %s has %d MiB free, %d are kept", ErrFull, s.opts.Dir, free>>20, s.opts.keptFree>>20)
	}
	return nil // a disk that cannot be asked is written, and says what is wrong
}

// Room is what there is to store groups in, in bytes.
type Room struct {
	Size, Max int64 // of the stream, and what it may hold
}

// Room asks the server for the size of the stream.
func (s *Stream) Room(ctx context.Context) (Room, error) {
	info, err := s.str.Info(ctx)
	if err != nil {
		return Room{}, s.apiError("ask for the size of the stream "+StreamName, err)
	}
	return Room{Size: int64(info.State.Bytes), Max: info.Config.MaxBytes}, nil
}

// atItsSize tells whether the stream has no room for a whole group, or of a small
// one an eighth of its size. It asks the
// server, so it is for those who know that an append was refused: what was purged
// since, or a larger size, ends that.
func (s *Stream) atItsSize() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	info, err := s.str.Info(ctx)
	if err != nil {
		return true
	}
	size := info.Config.MaxBytes
	return int64(info.State.Bytes)+min(maxPayload, size/8) > size
}

// resize gives an existing stream the size that is asked for now. It never
// becomes smaller than what it holds: JetStream would delete the oldest groups.
func (s *Stream) resize(ctx context.Context) error {
	info := s.str.CachedInfo()
	want := max(s.maxBytes(), int64(info.State.Bytes)+1)
	if want == info.Config.MaxBytes {
		return nil
	}
	cfg := info.Config
	cfg.MaxBytes = want
	str, err := s.js.UpdateStream(ctx, cfg)
	if err != nil {
		return s.apiError("resize the stream "+StreamName, err)
	}
	s.str = str
	return nil
}

// openStream creates the stream or checks the one that is there.
func (s *Stream) openStream(ctx context.Context) error {
	js, err := jetstream.New(s.nc)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	s.js = js
	s.str, err = s.lookup(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if s.srv == nil && !s.opts.SyncAlways {
			return errSyncUnknown
		}
		if s.str, err = js.CreateStream(ctx, s.config()); err != nil {
			return s.apiError("create the stream "+StreamName, err)
		}
		return nil
	}
	if err != nil {
		return s.apiError("open the stream "+StreamName, err)
	}
	if err := s.checkSettings(); err != nil || s.srv == nil {
		return err // an external server's operator decides about its size
	}
	return s.resize(ctx)
}

// lookup finds the stream, waiting for a JetStream that is still starting. A
// single try is short, so that a missing right shows before the wait is over.
func (s *Stream) lookup(ctx context.Context) (jetstream.Stream, error) {
	for {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		str, err := s.js.Stream(try, StreamName)
		cancel()
		s.mu.Lock()
		denied := s.denied != ""
		s.mu.Unlock()
		if err == nil || denied || errors.Is(err, jetstream.ErrStreamNotFound) || ctx.Err() != nil {
			return str, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(250 * time.Millisecond):
		}
	}
}

var errSyncUnknown = fmt.Errorf("%w: whether the server has jetstream { sync_interval: always } cannot be seen by a client; "+
	`look at "sync_always" in its /jsz, set it, then state it in the configuration`, ErrSettingsUnsafe)

// checkSettings refuses a stream that could lose or delete what it
// acknowledged, and says how to set it right.
func (s *Stream) checkSettings() error {
	if s.srv == nil && !s.opts.SyncAlways {
		return errSyncUnknown
	}
	c := s.str.CachedInfo().Config
	var wrong, fix []string
	need := func(ok bool, what, flag string) {
		if !ok {
			wrong = append(wrong, what)
			if flag != "" {
				fix = append(fix, flag)
			}
		}
	}
	need(len(c.Subjects) == 1 && c.Subjects[0] == groupSubject, "its only subject must be "+groupSubject, "--subjects="+groupSubject)
	need(c.Discard == jetstream.DiscardNew, "discard must be new", "--discard=new")
	need(c.MaxAge == 0, "a maximum age deletes acknowledged events", "--max-age=0")
	need(c.MaxMsgs <= 0, "a maximum of messages must not be set", "--max-msgs=-1")
	need(c.MaxMsgsPerSubject <= 0, "a maximum per subject must not be set", "--max-msgs-per-subject=-1")
	need(c.MaxMsgSize <= 0 || c.MaxMsgSize >= maxPayload, "messages of 1 MiB must be allowed", "--max-msg-size=-1")
	need(c.MaxBytes > 0, "a size must be set", "--max-bytes=64GiB")
	need(c.DenyDelete, "deletion must be denied", "--deny-delete")
	fixed := len(wrong) == len(fix)
	need(c.Storage == jetstream.FileStorage, "storage must be file", "")
	need(c.Retention == jetstream.LimitsPolicy, "retention must be limits", "")
	need(!c.Sealed && !c.NoAck, "it must neither be sealed nor without acks", "")
	need(!c.AllowRollup && !c.AllowMsgTTL && !c.AllowMsgCounter, "roll-ups, TTLs and counters must be off", "")
	need(c.Mirror == nil && len(c.Sources) == 0 && c.SubjectTransform == nil, "it must take messages from the gateway only", "")
	need(c.PersistMode == jetstream.DefaultPersistMode, "it must store before it acknowledges", "")
	if len(wrong) == 0 {
		return nil
	}
	command := "nats stream edit " + StreamName + " " + strings.Join(fix, " ")
	if !fixed || len(fix) != len(wrong) {
		command = "nats stream backup " + StreamName + " DIR, then remove the stream and let meterseal create it"
	}
	return fmt.Errorf("%w: %s: %s; run: %s", ErrSettingsUnsafe, StreamName, strings.Join(wrong, ", "), command)
}
