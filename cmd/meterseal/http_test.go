package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/internal/cli"
)

// Y-04: an event of a batch that the fold refuses does not hold up the others,
// and the answer says of each what became of it.
func TestY04RefusedInBatch(t *testing.T) {
	dir := t.TempDir()
	s := &sessionSite{t: t, data: filepath.Join(dir, "data"), file: filepath.Join(dir, "meterseal.yaml")}
	s.write("meterseal.yaml", "store: {max_size: 1GiB}\nmeters:\n  - {id: render.pages, aggregation: sum}\n")
	s.start()
	defer s.end()
	resp, err := http.Post(s.http+"/v1/events?node=n1", "application/json", strings.NewReader(
		`[{"id":"a","meter":"render.pages","quantity":1},{"id":"a","meter":"render.pages","quantity":2},{"id":"b","meter":"render.pages","quantity":4}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := string(body)
	if resp.StatusCode != http.StatusAccepted || strings.Count(got, `"stored"`) != 2 || !strings.Contains(got, `"code":"id_conflict"`) || !strings.Contains(got, `"status":409`) {
		t.Errorf("answer %d %s, want 202 with stored, id_conflict (409) and stored", resp.StatusCode, got)
	}
	if got := s.says(cli.ExitOK, "usage", "--http", s.http, "--window", "total", "-o", "csv"); !strings.Contains(got, "render.pages,5,2,") {
		t.Errorf("usage\n%s\nwant 5 of 2 events", got)
	}
}

// What the gateway refuses for now is told as such, and not as a fault.
func TestGatewayErrorHasItsStatus(t *testing.T) {
	for err, want := range map[error]string{
		stream.ErrBusy: events.CodeBusy, stream.ErrFull: events.CodeStoreFull, stream.ErrClosed: events.CodeStoreUnavailable, stream.ErrUnknown: events.CodeStoreUnavailable,
	} {
		var e *events.Error
		if got := gatewayError(err); !errors.As(got, &e) || e.Code != want || e.Hint == "" {
			t.Errorf("gatewayError(%v) = %v, want code %s with a hint", err, got, want)
		}
		// Of a report, an import or a deactivation nobody has events to send again.
		if got := reportProblem(fmt.Errorf("close ledger: %w", err)); !errors.As(got, &e) || e.Code != want || strings.Contains(e.Hint, "events") {
			t.Errorf("reportProblem(%v) = %v, want code %s and a hint for people", err, got, want)
		}
	}
	if got := gatewayError(context.Canceled); got != context.Canceled {
		t.Errorf("gatewayError(canceled) = %v, want it as it is", got)
	}
}
