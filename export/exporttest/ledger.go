// Package exporttest holds a ledger in memory, for tests of packages that write
// or verify usage reports.
//
// A [Ledger] is an [export.Source]. It comes from reports that were written
// before ([FromReports]) or is made record by record ([Site]). What a Site signs
// adds up; a test that needs a ledger that does not appends the records itself.
package exporttest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"iter"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
)

// A Ledger holds all records of a ledger, their events, and the notes that were
// signed. It is an [export.Source].
type Ledger struct {
	Name        string // the origin
	Lines       []string
	Notes       map[uint64][]byte
	Events      map[uint64][]export.CellEvent
	OpeningKeys []string
}

var _ export.Source = (*Ledger)(nil)

// NewLedger returns an empty ledger of that origin, opened by that vkey.
func NewLedger(origin, vkey string) *Ledger {
	return &Ledger{Name: origin, Notes: map[uint64][]byte{}, Events: map[uint64][]export.CellEvent{}, OpeningKeys: []string{vkey}}
}

// FromReports returns the ledger that consecutive reports from 0 on give. Their
// signatures are checked with the keys that they bring.
func FromReports(reports ...[]byte) (*Ledger, error) {
	l := NewLedger("", "")
	for i, text := range reports {
		r, err := export.VerifyReport(bytes.NewReader(text), export.VerifyOptions{TrustFile: true,
			Visit: func(v *export.Visited) error {
				if v.Index != uint64(len(l.Lines)) {
					return fmt.Errorf("record %d where %d is due", v.Index, len(l.Lines))
				}
				l.Lines = append(l.Lines, string(v.Line))
				return nil
			},
			VisitEvent: func(e export.VisitedEvent) error {
				c, err := ParseEvent(e)
				l.Events[e.Index] = append(l.Events[e.Index], c)
				return err
			}})
		if err != nil {
			return nil, fmt.Errorf("report %d: %w", i, err)
		}
		if l.Name == "" {
			l.Name, l.OpeningKeys = r.Origin, r.Keys
		}
		if r.BaseNote != nil {
			l.Notes[r.BaseSize] = r.BaseNote
		}
		l.Notes[r.Size] = r.Note
	}
	return l, nil
}

// ParseEvent splits an event that was visited into salts and lines.
func ParseEvent(e export.VisitedEvent) (c export.CellEvent, err error) {
	if salt, line, ok := strings.Cut(e.Line, " "); ok {
		if c.Salt, err = ledger.ParseB16(salt); err != nil {
			return c, err
		}
		c.Line = line
	}
	salt, line, ok := strings.Cut(e.Private, " ")
	if !ok {
		return c, nil
	}
	if c.Private = line; salt != "-" {
		c.PrivateSalt, err = ledger.ParseB16(salt)
	}
	return c, err
}

// Size returns the number of records.
func (l *Ledger) Size() uint64 { return uint64(len(l.Lines)) }

// Origin returns the origin.
func (l *Ledger) Origin() string { return l.Name }

// Keys returns the site's keys after the first size records.
func (l *Ledger) Keys(size uint64) ([]string, error) {
	keys := append([]string(nil), l.OpeningKeys...)
	for _, line := range l.Lines[:size] {
		f := strings.Fields(line)
		if f[0] != "key" || len(f) < 5 || f[3] != "add" {
			continue
		}
		switch {
		case f[2] == "site":
			keys[0] = f[4]
		case f[2] == "site-pq":
			keys = append(keys[:1], f[4])
		}
	}
	return keys, nil
}

// Checkpoint returns the note that was signed for a size.
func (l *Ledger) Checkpoint(size uint64) ([]byte, error) {
	if n, ok := l.Notes[size]; ok {
		return n, nil
	}
	return nil, export.ErrNoCheckpoint
}

// Frontier returns the frontier of a size.
func (l *Ledger) Frontier(size uint64) ([]ledger.Hash, error) {
	return l.frontier(size).Hashes(), nil
}

func (l *Ledger) frontier(size uint64) *ledger.Frontier {
	f := new(ledger.Frontier)
	for _, line := range l.Lines[:size] {
		f.Append(ledger.LeafHash([]byte(line)))
	}
	return f
}

// Root returns the root of a size.
func (l *Ledger) Root(size uint64) ledger.Hash { return l.frontier(size).Root() }

// At returns the checkpoint of a size, unsigned.
func (l *Ledger) At(size uint64) ledger.Checkpoint {
	return ledger.Checkpoint{Origin: l.Name, Size: size, Root: l.Root(size)}
}

// Records yields the records [from, to).
func (l *Ledger) Records(from, to uint64) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, line := range l.Lines[from:to] {
			if !yield(line, nil) {
				return
			}
		}
	}
}

// CellEvents yields the events of a record.
func (l *Ledger) CellEvents(index uint64) iter.Seq2[export.CellEvent, error] {
	return func(yield func(export.CellEvent, error) bool) {
		for _, e := range l.Events[index] {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Clone returns a copy of the first size records of l, with the notes and events
// that belong to them.
func (l *Ledger) Clone(size uint64) *Ledger {
	c := NewLedger(l.Name, l.OpeningKeys[0])
	c.Lines = append(c.Lines, l.Lines[:size]...)
	for n, note := range l.Notes {
		if n <= size {
			c.Notes[n] = note
		}
	}
	for n, e := range l.Events {
		if n < size {
			c.Events[n] = e
		}
	}
	return c
}

// Sign signs the checkpoint of all records of l as it is, whether or not they
// add up.
func (l *Ledger) Sign(signers ...note.Signer) {
	b, err := ledger.SignCheckpoint(l.At(l.Size()), signers...)
	if err != nil {
		panic(err)
	}
	l.Notes[l.Size()] = b
}

// Regroup corrects GROUP of the close ends among lines, so that an edited close
// is what a site would have written.
func Regroup(lines []string) []string {
	var h ledger.GroupHasher
	out := append([]string(nil), lines...)
	for i, line := range out {
		switch {
		case strings.HasPrefix(line, "close end "):
			if f := strings.Split(line, " "); len(f) > 9 { // else it is no close end, and nothing is to be corrected
				f[9] = h.Sum().String()
				out[i] = strings.Join(f, " ")
			}
			h = ledger.GroupHasher{}
		case strings.HasPrefix(line, "close "):
			h.Add(line)
		}
	}
	return out
}

// Redigest corrects the hash of the end line of a report or reply, so that only what it
// says is wrong with it.
func Redigest(text []byte) []byte {
	i := bytes.LastIndex(text, []byte("\nend ")) + 1
	sum := ledger.Hash(sha256.Sum256(text[:i]))
	size, _, ok := strings.Cut(string(text[i+len("end "):]), " ")
	if !ok { // a reply
		return fmt.Appendf(text[:i:i], "end %v\n", sum)
	}
	return fmt.Appendf(text[:i:i], "end %s %v\n", size, sum)
}
