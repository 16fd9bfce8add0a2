// Package nodetest plays a node by hand, for tests of the daemon: it numbers its
// events, is told what is counted, holds the newest checkpoint, and says so. It
// checks what it is told as a node has to, and fails the test where that does not
// hold.
package nodetest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// wait is how long a daemon may take for anything.
const wait = time.Minute

// Node is a node of a site. Its fields may be copied and put back: then it has
// forgotten, or remembers, as a disk does that is put back.
type Node struct {
	Name  string
	Meter string
	Now   func() time.Time // of its events
	State

	t    testing.TB
	nc   *nats.Conn
	news chan *nats.Msg
}

// State is what a node keeps.
type State struct {
	Epoch, Next uint64 // of the next event
	Counted     uint64 // it was told; events below may be forgotten
	Note        []byte // newest checkpoint; nil: none
	Checkpoint  ledger.Checkpoint
	Key         string          // vkey of the site, as it was first told
	Restore     json.RawMessage // shows that Checkpoint holds the newest restore
	Adopted     uint64          // index of that restore, plus 1
}

// Told is a message on counted.<node>.
type Told struct {
	Epoch, Seq, Accepted uint64
	Checkpoint           string
	From                 uint64
	Proof                []string
	Key                  string
	Restore              json.RawMessage
}

// New is a node that has never met a site.
func New(t testing.TB, name, meter string, epoch uint64) *Node {
	return &Node{Name: name, Meter: meter, Now: time.Now, State: State{Epoch: epoch}, t: t}
}

// Connect connects to a daemon, again if need be, and says what it holds, so that
// what it is told follows from that.
func (n *Node) Connect(url string) {
	n.t.Helper()
	if n.nc != nil {
		n.nc.Close()
	}
	var err error
	if n.nc, err = nats.Connect(url); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(n.nc.Close)
	n.news = make(chan *nats.Msg, 1024)
	if _, err = n.nc.ChanSubscribe("counted."+n.Name, n.news); err == nil {
		err = n.nc.Flush()
	}
	if err != nil {
		n.t.Fatal(err)
	}
	if n.Note != nil {
		n.Says()
	}
}

// Answer is what a batch was answered with.
type Answer struct {
	Count, Duplicates int
	Next              uint64
	Error             *struct{ Description string }
}

// Batch sends events numbered from first on, each with a quantity of 1.
func (n *Node) Batch(first uint64, count int) (a Answer) {
	n.t.Helper()
	b := &events.Batch{Epoch: n.Epoch, First: first}
	for range count {
		b.Events = append(b.Events, events.Event{Meter: n.Meter, Quantity: 1})
	}
	data, err := events.AppendBatch(nil, b, n.Now().UnixMilli(), false)
	if err != nil {
		n.t.Fatal(err)
	}
	m := n.ask("usage_batch."+n.Name, data)
	if err := json.Unmarshal(m, &a); err != nil {
		n.t.Fatal(err)
	}
	return a
}

// Use sends new events, which must be stored.
func (n *Node) Use(count int) {
	n.t.Helper()
	if a := n.Batch(n.Next, count); a.Error != nil || a.Count != count || a.Duplicates != 0 {
		n.t.Fatalf("batch of %d events from %d: %+v, want all stored", count, n.Next, a)
	}
	n.Next += uint64(count)
}

// Loses declares the next events lost, as a node does whose spool was damaged.
func (n *Node) Loses(count int) {
	n.t.Helper()
	after := n.Next + uint64(count)
	answer := n.ask("beat."+n.Name, fmt.Appendf(nil, `{"lost":{"epoch":%d,"first":%d,"after":%d}}`, n.Epoch, n.Next, after))
	if strings.Contains(string(answer), "error") {
		n.t.Fatalf("lost events: %s", answer)
	}
	n.Next = after
}

func (n *Node) ask(subject string, data []byte) []byte {
	n.t.Helper()
	m, err := n.nc.Request(subject, data, wait)
	if err != nil {
		n.t.Fatalf("%s: %v", subject, err)
	}
	return m.Data
}

// AwaitCounted reads what it is told until all its events are counted.
func (n *Node) AwaitCounted() {
	n.t.Helper()
	for n.Counted < n.Next {
		n.Hear()
	}
}

// Hear takes the next message on counted.<node> and returns it.
func (n *Node) Hear() Told {
	n.t.Helper()
	select {
	case m := <-n.news:
		return n.take(m.Data)
	case <-time.After(wait):
		n.t.Fatalf("node %s is told nothing", n.Name)
	}
	panic("unreachable")
}

// take checks a message as a node has to, and remembers what it holds.
func (n *Node) take(data []byte) (told Told) {
	n.t.Helper()
	if err := json.Unmarshal(data, &told); err != nil {
		n.t.Fatalf("counted: %v: %s", err, data)
	}
	if n.Key == "" {
		n.Key = told.Key
	}
	if err := n.follow(&told); err != nil {
		n.t.Fatalf("node %s is told %s: %v", n.Name, data, err)
	}
	if told.Epoch == n.Epoch {
		n.Counted = told.Seq
	}
	return told
}

// follow takes the checkpoint of a message if it may.
func (n *Node) follow(told *Told) error {
	cp, err := n.open(told.Checkpoint)
	if err != nil {
		return err
	}
	restored, index := n.restored(told.Restore, cp.Checkpoint)
	switch was := n.Checkpoint; {
	case n.Note == nil, cp.Size == was.Size && cp.Root == was.Root:
	case restored && index >= n.Adopted: // explains whatever went before
	case told.From != was.Size:
		return nil // it is of a size that this node does not hold: it says so, and is told again
	default:
		proof := make([]ledger.Hash, len(told.Proof))
		for i, s := range told.Proof {
			if proof[i], err = ledger.ParseHash(s); err != nil {
				return err
			}
		}
		if err := ledger.CheckConsistency(was.Size, was.Root, cp.Size, cp.Root, proof); err != nil {
			return err
		}
	}
	n.Note, n.Checkpoint = []byte(told.Checkpoint), cp.Checkpoint
	if restored {
		n.Restore, n.Adopted = told.Restore, index+1
	}
	return nil
}

func (n *Node) open(note string) (*ledger.SignedCheckpoint, error) {
	v, err := ledger.ParseVerifier(n.Key, ledger.RoleSite)
	if err != nil {
		return nil, err
	}
	return ledger.ParseCheckpoint([]byte(note), v)
}

// restored checks that a checkpoint holds the restore record that comes with it.
func (n *Node) restored(shown json.RawMessage, cp ledger.Checkpoint) (ok bool, index uint64) {
	n.t.Helper()
	if shown == nil {
		return false, 0
	}
	var r struct {
		Index uint64
		Line  string
		Proof []string
	}
	if err := json.Unmarshal(shown, &r); err != nil {
		n.t.Fatal(err)
	}
	var proof []ledger.Hash
	for _, s := range r.Proof {
		h, err := ledger.ParseHash(s)
		if err != nil {
			n.t.Fatal(err)
		}
		proof = append(proof, h)
	}
	rec, err := ledger.ParseRecord(r.Line)
	if err == nil {
		err = ledger.CheckInclusion(ledger.LeafHash([]byte(r.Line)), r.Index, cp.Size, cp.Root, proof)
	}
	if _, is := rec.(*ledger.Restore); err != nil || !is {
		n.t.Fatalf("restore %s: %v", shown, err)
	}
	return true, r.Index
}

// Says tells the daemon what it holds and returns the answer, and the message if
// it is one on counted.<node>.
func (n *Node) Says() (answer string, told *Told) {
	n.t.Helper()
	m := map[string]any{}
	if n.Note != nil {
		m = map[string]any{"epoch": n.Epoch, "seq": n.Counted, "checkpoint": string(n.Note)}
	}
	if n.Restore != nil {
		m["restore"] = n.Restore
	}
	return n.SaysThat(m)
}

// SaysThat tells the daemon anything.
func (n *Node) SaysThat(m map[string]any) (answer string, told *Told) {
	n.t.Helper()
	data, err := json.Marshal(m)
	if err != nil {
		n.t.Fatal(err)
	}
	b := n.ask("seen."+n.Name, data)
	var t Told
	if err := json.Unmarshal(b, &t); err != nil || t.Checkpoint == "" {
		return string(b), nil
	}
	t = n.take(b)
	return string(b), &t
}

// String names it, for messages.
func (n *Node) String() string {
	return fmt.Sprintf("node %s at %d of epoch %d, counted %d, size %d", n.Name, n.Next, n.Epoch, n.Counted, n.Checkpoint.Size)
}
