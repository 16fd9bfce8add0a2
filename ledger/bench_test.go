package ledger_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

// BenchmarkEvent is the cost of sealing one event: salts, private line, event
// line, leaf, and the inner nodes of the cell's tree.
func BenchmarkEvent(b *testing.B) {
	secrets := vectors.Secrets()
	salts := secrets.CellSalts(ledger.Cell{Kind: "usage", Node: "node-01", Meter: "render.pages", From: 1793700900, To: 1793701800})
	tagger := secrets.Tagger()
	var h ledger.EventHasher
	var tree ledger.Frontier
	public := []events.Dimension{{Name: "format", Value: "pdf"}}
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		e := ledger.EventLine{TimeMS: 1793700903000 + int64(i), Quantity: 12, Tagged: true, Tag: tagger.Tag("ana"), Public: public}
		p := ledger.PrivateLine{Host: "ws-7", ID: "9f2c-1", IP: "10.0.0.7", User: "ana"}
		tree.Append(h.Leaf(salts, i, &e, &p))
	}
}

// BenchmarkEventPlain is the same for an event of which only the id is kept.
func BenchmarkEventPlain(b *testing.B) {
	salts := vectors.Secrets().CellSalts(ledger.Cell{Kind: "usage", Node: "node-01", Meter: "render.pages", From: 1793700900, To: 1793701800})
	var h ledger.EventHasher
	var tree ledger.Frontier
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		e := ledger.EventLine{TimeMS: 1793700903000 + int64(i), Quantity: 1}
		p := ledger.PrivateLine{ID: "9f2c-1"}
		tree.Append(h.Leaf(salts, i, &e, &p))
	}
}

func BenchmarkSalts(b *testing.B) {
	salts := vectors.Secrets().CellSalts(ledger.Cell{Kind: "usage"})
	var both [32]byte
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		salts.Event(i, &both)
	}
}

// usageLines are windows of 100 nodes with 3 meters each.
func usageLines(n int) (lines [][]byte) {
	for w := int64(1); len(lines) < n; w++ {
		for node := range 100 {
			for m := range 3 {
				u := &ledger.Usage{Node: fmt.Sprintf("node-%02d", node), Meter: [...]string{"api.calls", "llm.tokens", "render.pages"}[m], Aggregation: events.Sum,
					From: 1793606400 + (w-1)*900, To: 1793606400 + w*900, Count: 7, Value: 4711, Q0: uint64(w-1)*21 + uint64(m)*7, Q1: uint64(w-1)*21 + uint64(m+1)*7,
					Root: ledger.LeafHash([]byte{byte(w)})}
				lines = append(lines, u.AppendLine(nil))
			}
		}
	}
	return lines[:n]
}

// BenchmarkAuditUsage is the fold of one usage record, without hashing.
func BenchmarkAuditUsage(b *testing.B) { benchmarkAudit(b, false) }

// BenchmarkAuditAndHash is what a verifier does per usage record: fold, leaf and
// inner nodes.
func BenchmarkAuditAndHash(b *testing.B) { benchmarkAudit(b, true) }

// BenchmarkVerify is that with the digest of the file's bytes.
func BenchmarkVerify(b *testing.B) {
	lines := usageLines(300_000)
	digest := sha256.New()
	b.ReportAllocs()
	b.ResetTimer()
	var a *ledger.Audit
	var f ledger.Frontier
	for i, k := 0, len(lines); b.Loop(); i, k = i+1, k+1 {
		if k == len(lines) {
			a, f, k = newUsageAudit(), ledger.Frontier{}, 0
		}
		digest.Write(lines[k])
		a.Add(a.Next(), lines[k])
		f.Append(ledger.LeafHash(lines[k]))
	}
}

func newUsageAudit() *ledger.Audit {
	return ledger.NewAudit(5, &ledger.CloseEnd{No: 1, Time: 1793606400, Until: 1793606400})
}

func benchmarkAudit(b *testing.B, hash bool) {
	lines := usageLines(300_000)
	b.ReportAllocs()
	b.ResetTimer()
	var a *ledger.Audit
	var f ledger.Frontier
	for i, k := 0, len(lines); b.Loop(); i, k = i+1, k+1 {
		if k == len(lines) {
			if a != nil && a.FindingCount() > 0 {
				b.Fatal(a.Findings()[0])
			}
			a, f, k = newUsageAudit(), ledger.Frontier{}, 0
		}
		a.Add(a.Next(), lines[k])
		if hash {
			f.Append(ledger.LeafHash(lines[k]))
		}
	}
}

func BenchmarkLeafHash(b *testing.B) {
	line := usageLines(1)[0]
	b.ReportAllocs()
	for b.Loop() {
		ledger.LeafHash(line)
	}
}

func BenchmarkAppendLine(b *testing.B) {
	r, err := ledger.ParseRecord(string(usageLines(1)[0]))
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf = r.AppendLine(buf[:0])
	}
}

func BenchmarkParseRecord(b *testing.B) {
	line := string(usageLines(1)[0])
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ledger.ParseRecord(line); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTiler(b *testing.B) {
	t := ledger.NewTiler()
	leaf := ledger.LeafHash([]byte("x"))
	b.ReportAllocs()
	for b.Loop() {
		t.Append(leaf)
		t.Tiles()
	}
}
