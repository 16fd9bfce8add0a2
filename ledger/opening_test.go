package ledger_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

// cellOfEvents returns a usage record of a cell with these events, its lines and
// leaves. Value is left to the caller.
func cellOfEvents(agg events.Aggregation, list []ledger.EventLine) (*ledger.Usage, []ledger.SaltedLine, []ledger.Hash) {
	r := &ledger.Usage{Node: "n", Meter: "m", Aggregation: agg, From: 1793606400, To: 1793607300, Count: uint64(len(list)), Q1: uint64(len(list))}
	salts := vectors.Secrets().CellSalts(ledger.Cell{Kind: "usage", Node: "n", Meter: "m", From: r.From, To: r.To})
	var tree ledger.Frontier
	var lines []ledger.SaltedLine
	var leaves []ledger.Hash
	for i := range list {
		var both [32]byte
		salts.Event(uint64(i), &both)
		l := ledger.SaltedLine{Salt: [16]byte(both[:16]), Line: string(list[i].AppendLine(nil))}
		tree.Append(l.Leaf())
		lines, leaves = append(lines, l), append(leaves, l.Leaf())
	}
	r.Root = tree.Root()
	return r, lines, leaves
}

// exampleOpening opens the second event of node-01's first cell of the vectors.
func exampleOpening(t testing.TB) (ledger.Opening, []ledger.Hash) {
	t.Helper()
	lines := exampleLedger(t)[:17]
	m := &memory{}
	for _, l := range lines {
		m.lines, m.hash = append(m.lines, []byte(l)), append(m.hash, ledger.LeafHash([]byte(l)))
	}
	index := find(t, lines, "usage node-01")
	o := ledger.Opening{Pos: 1, Record: lines[index], Index: uint64(index), Checkpoint: readReport(t, "c.usage").old}
	o.Proof = must(ledger.NewTree(m, 17).InclusionProof(uint64(index), 17))(t)
	var leaves []ledger.Hash
	for _, l := range readReport(t, "b.usage").body {
		kind, rest, _ := strings.Cut(l, " ")
		b16, body, _ := strings.Cut(rest, " ")
		switch salt, _ := ledger.ParseB16(b16); kind {
		case "usage":
			if len(leaves) > 0 {
				return o, leaves
			}
		case ">":
			o.Event = ledger.SaltedLine{Salt: salt, Line: body}
			leaves = append(leaves, o.Event.Leaf())
		case ">>":
			o.Private = &ledger.SaltedLine{Salt: salt, Line: body}
		}
	}
	return o, leaves
}

func TestOpening(t *testing.T) {
	o, leaves := exampleOpening(t)
	b := must(ledger.WriteOpening(o, leaves))(t)
	for _, roles := range [][]ledger.Role{{ledger.RoleSite}, {ledger.RoleReceipt}, {ledger.RoleSite, ledger.RoleReceipt}} {
		got := must(ledger.VerifyOpening(b, verifier(t, roles[0]), verifier(t, roles[len(roles)-1])))(t)
		if !bytes.Equal(got.Bytes(), b) || got.Pos != 1 || got.Count != 2 {
			t.Errorf("opening comes back as %+v", got)
		}
	}
	proof := must(ledger.ParseRecordProof(o.RecordProof().Bytes()))(t)
	if _, err := proof.Verify(o.Record, verifier(t, ledger.RoleSite)); err != nil {
		t.Error(err)
	}
	if _, err := proof.Verify(o.Record+"x", verifier(t, ledger.RoleSite)); !errors.Is(err, ledger.ErrProof) {
		t.Errorf("another record: %v", err)
	}
	if _, err := ledger.VerifyOpening(b, verifier(t, ledger.RoleNode)); !errors.Is(err, ledger.ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	if _, err := ledger.VerifyOpening(b); !errors.Is(err, ledger.ErrSignature) {
		t.Errorf("no key: %v", err)
	}
	for _, c := range []struct{ name, old, new string }{
		{"event edited", " 3 VUgs", " 4 VUgs"}, {"private line edited", "user=lee", "user=leo"}, {"record edited", " 2 15 0 2 ", " 2 16 0 2 "},
		{"position", "event 1 2", "event 0 2"}, {"count", "event 1 2", "event 1 3"}, {"index", "index 7", "index 8"}, {"index spelled 07", "index 7", "index 07"},
		{"version", "opening/v1", "opening/v2"}, {"crlf", "\n", "\r\n"}, {"checkpoint", "\n17\n", "\n18\n"}, {"proof version", "proof@v1", "proof@v2"},
	} {
		if !bytes.Contains(b, []byte(c.old)) {
			t.Fatalf("%s: no %q in\n%s", c.name, c.old, b)
		}
		if _, err := ledger.VerifyOpening(bytes.ReplaceAll(b, []byte(c.old), []byte(c.new)), verifier(t, ledger.RoleSite)); err == nil {
			t.Errorf("%s: accepted", c.name)
		}
	}
	if _, err := ledger.WriteOpening(o, leaves[:1]); err == nil {
		t.Error("an opening of half a cell is written")
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if _, err := ledger.VerifyOpening(bad, verifier(t, ledger.RoleSite), verifier(t, ledger.RoleReceipt)); err == nil {
			t.Errorf("bit flip at %d is accepted: %q", i, bad[max(0, i-20):i+1])
		}
	}
}

// Paths of cells of all sizes, against the tree's own proofs.
func TestOpeningsOfCellsOfAllSizes(t *testing.T) {
	for n := 1; n < 40; n++ {
		list := make([]ledger.EventLine, n)
		for i := range list {
			list[i] = ledger.EventLine{TimeMS: 1793606400_000 + int64(i), Quantity: 1}
		}
		r, lines, leaves := cellOfEvents(events.Sum, list)
		r.Value = int64(n)
		cp := ledger.Checkpoint{Origin: vectors.Origin, Size: 1, Root: ledger.LeafHash([]byte(ledger.Line(r)))}
		note := must(ledger.SignCheckpoint(cp, must(vectors.Key(ledger.RoleSite).Signer(nil))(t)))(t)
		for i := range n {
			b := must(ledger.WriteOpening(ledger.Opening{Pos: uint64(i), Record: ledger.Line(r), Event: lines[i], Checkpoint: note}, leaves))(t)
			if _, err := ledger.VerifyOpening(b, verifier(t, ledger.RoleSite)); err != nil {
				t.Errorf("event %d of %d: %v", i, n, err)
			}
		}
	}
}

func FuzzParseOpening(f *testing.F) {
	o, leaves := exampleOpening(f)
	b := must(ledger.WriteOpening(o, leaves))(f)
	f.Add(b)
	f.Add(o.RecordProof().Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := ledger.ParseOpening(b); err == nil && !bytes.Equal(o.Bytes(), b) {
			t.Errorf("re-encoded %q, want %q", o.Bytes(), b)
		}
		if p, err := ledger.ParseRecordProof(b); err == nil && !bytes.Equal(p.Bytes(), b) {
			t.Errorf("re-encoded %q, want %q", p.Bytes(), b)
		}
	})
}
