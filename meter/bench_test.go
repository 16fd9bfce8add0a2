package meter

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// Memory: Record makes no garbage, with attributes and without.
func TestRecordAllocatesNothing(t *testing.T) {
	m := open(t, Options{Durability: Memory, MaxSpool: 1 << 30})
	for name, record := range map[string]func() error{
		"plain": func() error { return m.Record("pages", 12) },
		"with attributes": func() error {
			return m.Record("pages", 12, User("ana"), Host("ws-7"), Dim("format", "pdf"), Dim("color", "no"))
		},
	} {
		if got := testing.AllocsPerRun(20_000, func() {
			if err := record(); err != nil {
				t.Fatal(err)
			}
		}); got != 0 {
			t.Errorf("Record %s: %v allocations, want 0", name, got)
		}
	}
}

// benchmarkRecord records from many goroutines into a spool that nobody empties.
func benchmarkRecord(b *testing.B, o Options, goroutines int, attrs ...Attr) {
	if o.Durability != Memory {
		o.Dir = filepath.Join(b.TempDir(), "spool")
	}
	o.MaxSpool = 64 << 30
	m := open(b, o)
	b.ReportAllocs()
	b.SetParallelism(goroutines)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := m.Record("pages", 12, attrs...); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// The daemon is dead in all of these.
func BenchmarkRecord(b *testing.B) {
	few := []Attr{User("ana"), Host("ws-7"), Dim("format", "pdf")}
	b.Run("memory", func(b *testing.B) { benchmarkRecord(b, Options{Durability: Memory}, 1) })
	b.Run("memory/attrs", func(b *testing.B) { benchmarkRecord(b, Options{Durability: Memory}, 1, few...) })
	b.Run("process", func(b *testing.B) { benchmarkRecord(b, Options{Durability: Process}, 1) })
	b.Run("process/x64", func(b *testing.B) { benchmarkRecord(b, Options{Durability: Process}, 64) })
	b.Run("disk/x64", func(b *testing.B) { benchmarkRecord(b, Options{Durability: Disk}, 64) })
	b.Run("disk/x1024", func(b *testing.B) { benchmarkRecord(b, Options{Durability: Disk}, 1024) })
}

// What Record is compared with: an append of as many bytes, with and without a
// sync, by one goroutine.
func BenchmarkAppend(b *testing.B) {
	for name, sync := range map[string]bool{"write": false, "write+fsync": true} {
		b.Run(name, func(b *testing.B) {
			f := must(os.Create(filepath.Join(b.TempDir(), "file")))
			defer f.Close()
			buf := make([]byte, 48)
			var at atomic.Int64
			for b.Loop() {
				if _, err := f.WriteAt(buf, at.Add(48)-48); err != nil {
					b.Fatal(err)
				}
				if sync {
					if err := f.Sync(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
