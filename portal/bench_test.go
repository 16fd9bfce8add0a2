package portal_test

import (
	"os"
	"testing"

	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/internal/postgrestest"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/portal"
)

// Intake of a report of a million records: read, kept, verified, booked,
// answered.
func BenchmarkAccept(b *testing.B) {
	const records = 1_000_000
	path, size, _, err := exporttest.LargeReport(b.TempDir(), records)
	if err != nil {
		b.Fatal(err)
	}
	for _, store := range []string{"sqlite", "postgres"} {
		b.Run(store, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				p := benchPortal(b, store)
				f, err := os.Open(path)
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				a, err := p.Accept(b.Context(), f, portal.AcceptOptions{})
				b.StopTimer()
				if err != nil || a.Refusal != nil || a.Size != size {
					b.Fatalf("Accept = %+v, %v", a, err)
				}
				f.Close()
				p.Close()
				b.StartTimer()
			}
			b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func benchPortal(b *testing.B, store string) *portal.Portal {
	o := portal.Options{Dir: b.TempDir(), Domain: domain, KeyWorkFactor: workFactor, Passphrase: func() (string, error) { return "correct horse", nil }}
	if store == "postgres" {
		o.DSN = postgrestest.Database(b)
	}
	p, err := portal.Init(b.Context(), o, "2026")
	if err != nil {
		b.Fatal(err)
	}
	if err := p.AddExampleLicense(b.Context(), vectors.Read("unbound.license")); err != nil {
		b.Fatal(err)
	}
	return p
}
