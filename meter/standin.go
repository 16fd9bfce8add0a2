package meter

import (
	"fmt"
	"time"

	"github.com/meterseal/meterseal/events"
)

// A StandIn takes the place of the daemon, and of spool and network, in tests of
// applications. Package metertest has one.
type StandIn interface {
	// Record takes an event that was found right; its error is that of
	// [Meter.Record].
	Record(events.Event) error
	// Answer answers a request as the daemon would: subject and body are those of
	// NATS. nil: the daemon is out of reach.
	Answer(subject string, body []byte) []byte
}

// openStandIn makes a Meter without spool and sender.
func openStandIn(o Options, m *Meter) (*Meter, error) {
	s, _, err := openSpool("", false, o.MaxSpool, 1<<10, m.now())
	if err != nil {
		return nil, err
	}
	m.spool, m.unobserve = s, func() error { return nil }
	close(m.ended)
	return m, m.allow.start(m)
}

// standIn hands e, which is the spool's scratch, to the stand-in; the spool's mu is
// held, and given back.
func (m *Meter) standIn(e *events.Event) error {
	s := m.spool
	_, err := events.AppendEvent(nil, e)
	if s.closed {
		err = ErrClosed
	}
	event := cloneEvent(*e)
	s.mu.Unlock()
	if err == nil {
		err = m.o.StandIn.Record(event)
	}
	if err != nil {
		m.failed(err)
		return err
	}
	s.mu.Lock()
	s.next++
	s.committed, s.synced = s.next, s.next
	next := s.next
	s.mu.Unlock()
	m.stats.recorded.Add(1)
	m.moved(next, next)
	return nil
}

// answerStandIn asks the stand-in.
func (m *Meter) answerStandIn(subject string, body []byte) ([]byte, error) {
	if b := m.o.StandIn.Answer(subject, body); b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("%w: ask %s", ErrUnreachable, subject)
}

// connected tells whether the daemon can be reached, as far as is known.
func (m *Meter) connected() bool {
	if m.o.StandIn != nil {
		return m.o.StandIn.Answer("beat."+m.o.Node, nil) != nil
	}
	return m.nc.IsConnected()
}

// hangUp ends the sender and the connection.
func (m *Meter) hangUp() {
	close(m.leave)
	if m.o.StandIn != nil {
		return
	}
	select {
	case <-m.ended:
	case <-time.After(2 * time.Second): // it writes to a peer that does not read
	}
	m.nc.Close()
	<-m.ended
}
