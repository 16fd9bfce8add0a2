package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/postgrestest"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// pageMax is how long a page of a list or a chart may take, of a hundred requests
// all but one.
const pageMax = 100 * time.Millisecond

// speedPages are the lists and charts, with what people ask of them.
func speedPages(x portaltest.Seeded) []string {
	id, origin := x.License, url.QueryEscape(x.Origin)
	return []string{
		"/", "/customers", "/customers?q=0077", "/customers?q=customer", "/customers/" + x.Customer,
		"/licenses", "/licenses?state=active", "/licenses?state=overdue", "/licenses?state=ending", "/licenses?q=0123", "/licenses?customer=" + x.Customer, "/licenses/" + id,
		"/sites", "/sites?state=overdue", "/sites?q=plant", "/ledgers/" + x.LedgerID,
		"/reports", "/reports?state=accepted", "/reports?state=refused", "/reports?q=0456", "/reports?customer=" + x.Customer, "/reports?license=" + id, "/reports/" + x.Report,
		"/alerts", "/alerts?state=open", "/audit", "/audit?q=license", "/findings", "/products", "/policies",
		"/usage", "/usage?range=365", "/usage?range=7&step=hour", "/usage?zone=Asia%2FKolkata&range=90", "/usage?range=365&step=day&zone=America%2FNew_York&meter=render.pages",
		"/usage?customer=" + x.Customer, "/usage?license=" + id + "&range=365&step=day&zone=Europe%2FBerlin", "/usage?origin=" + origin + "&step=hour&range=30",
	}
}

// BenchmarkPages asks every list and chart, signed in, of a vendor with 1,000
// customers, 10,000 reports and 100 million usage records: on SQLite and on
// PostgreSQL. The table goes to METERSEAL_SPEED, if that names a file.
func BenchmarkPages(b *testing.B) {
	for _, store := range []string{"sqlite", "postgres"} {
		b.Run(store, func(b *testing.B) {
			dsn := ""
			if store == "postgres" {
				dsn = postgrestest.Database(b)
			}
			began := time.Now()
			v := portaltest.New(b, dsn)
			x := portaltest.Seed(b, v, portaltest.FullLoad)
			b.Logf("seeded in %v", time.Since(began).Round(time.Second))
			h := pages(b, v)
			for b.Loop() {
				slowest, text := timePages(b, h, speedPages(x))
				b.ReportMetric(float64(slowest)/float64(time.Millisecond), "p99-ms")
				b.Log("\n" + text)
				record(b, store, text)
				if slowest > pageMax {
					b.Errorf("the slowest page takes %v (p99), want at most %v", slowest, pageMax)
				}
			}
		})
	}
}

// timePages asks each page a hundred times, one after the other.
func timePages(t testing.TB, h http.Handler, paths []string) (slowest time.Duration, text string) {
	var out strings.Builder
	fmt.Fprintf(&out, "%8s %8s %8s  page\n", "p50 ms", "p99 ms", "max ms")
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	for _, path := range paths {
		var took []time.Duration
		for range 101 { // the first one finds cold caches, as after a start
			r := httptest.NewRequest("GET", path, nil)
			w := httptest.NewRecorder()
			began := time.Now()
			h.ServeHTTP(w, r.WithContext(gate.WithCaller(r.Context(), admin)))
			took = append(took, time.Since(began))
			if w.Code != 200 {
				t.Fatalf("GET %s = %d: %s", path, w.Code, w.Body)
			}
		}
		slices.Sort(took)
		p99 := took[len(took)-2]
		slowest = max(slowest, p99)
		fmt.Fprintf(&out, "%8.1f %8.1f %8.1f  %s\n", ms(took[50]), ms(p99), ms(took[100]), path)
	}
	return slowest, out.String()
}

// record appends a table to the file that METERSEAL_SPEED names.
func record(t testing.TB, store, text string) {
	path := os.Getenv("METERSEAL_SPEED")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = fmt.Fprintf(f, "%s\n%s\n", store, text)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// The pages of the benchmark stand, on a load of a few customers.
func TestPagesOfManyCustomers(t *testing.T) {
	v := portaltest.New(t, "")
	x := portaltest.Seed(t, v, portaltest.Load{Customers: 12, Reports: 2, Days: 10, Audits: 50})
	if x.Records == 0 {
		t.Fatal("no records were seeded")
	}
	h := pages(t, v)
	for _, path := range speedPages(x) {
		body(t, ask(t, h, admin, path), 200)
	}
	if s := body(t, ask(t, h, admin, "/usage?range=30"), 200); !strings.Contains(s, "Customer 00007") || strings.Contains(s, "No use in this range") {
		t.Errorf("the page of usage does not show the customers: %s", s)
	}
}
