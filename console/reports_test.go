package console_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/export"
)

// noReports is where the routes of reports end here: what they say is tested with
// the daemon.
type noReports struct{}

func (noReports) Preview(context.Context, *uint64) (console.ReportPreview, error) {
	return console.ReportPreview{Level: "standard", Meters: []console.PreviewMeter{}, Pools: []export.PoolTotal{}, Gaps: []export.Gap{}, Findings: []export.Finding{},
		LeftOut: []console.LeftOut{}, Kinds: map[string]int{}}, nil
}

func (noReports) Lines(_ context.Context, o console.ReportOptions, _, limit uint64) (console.ReportLines, error) {
	return console.ReportLines{Level: o.Level, Next: limit, Lines: []export.Line{}}, nil
}

// Verify tells how much came.
func (noReports) Verify(_ context.Context, r io.Reader) (console.Verified, error) {
	n, err := io.Copy(io.Discard, r)
	return console.Verified{Kind: "report", Bytes: n, Checks: []export.Check{}, Findings: []export.Finding{}, Totals: []export.MeterTotal{}}, err
}

func (noReports) Exported(context.Context) ([]console.ExportedReport, error) { return nil, nil }
func (noReports) KeepExported(console.ExportedReport) error                  { return nil }

// A document to be verified may be larger than other bodies, a page of lines is
// bounded, and of many documents at once some wait outside.
func TestVerifyBounds(t *testing.T) {
	s := newSite(t, func(o *console.Options) { o.Reports = noReports{} })
	const octets = "application/octet-stream"
	var v console.Verified
	s.post(console.VerifyPath, octets, strings.Repeat("x", 3*console.MaxBodyBytes)).is(http.StatusOK).into(&v)
	if v.Bytes != 3*console.MaxBodyBytes {
		t.Errorf("verified %d bytes, want %d", v.Bytes, 3*console.MaxBodyBytes)
	}
	s.post("/v1/events", "application/json", strings.Repeat(" ", console.MaxBodyBytes+1)).is(http.StatusRequestEntityTooLarge)
	s.get("/v1/report/lines?limit=2001").refusedAs(http.StatusBadRequest, "malformed")

	// Two that do not end take both places; the third is told so.
	var ends []*io.PipeWriter
	answers := make(chan error)
	for range 2 {
		r, w := io.Pipe()
		ends = append(ends, w)
		req, err := http.NewRequest(http.MethodPost, s.srv.URL+console.VerifyPath, r)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", octets)
		go func() {
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err == nil {
				err = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					err = errors.New(resp.Status)
				}
			}
			answers <- err
		}()
		// More than buffers on the way hold: it is being read.
		if _, err := w.Write(bytes.Repeat([]byte("x"), 16<<20)); err != nil {
			t.Fatal(err)
		}
	}
	s.post(console.VerifyPath, octets, "x").refusedAs(http.StatusTooManyRequests, "busy")
	for _, w := range ends {
		w.Close()
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	s.post(console.VerifyPath, octets, "x").is(http.StatusOK)
}
