package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/events/stream/streamtest"
	"github.com/meterseal/meterseal/internal/crashtest"
)

// P-07: a store that is lost after the start acknowledges nothing; the daemon stays
// up, says so, and goes on when the store is back. What had no answer is sent again and counts once.
func TestP07StoreLostAfterStart(t *testing.T) {
	store := t.TempDir()
	url, stop := streamtest.ServerIn(t, streamtest.ServerOptions{}, store, "127.0.0.1:0")
	l := newLicensedSite(t)
	l.args = append(l.args, "--nats-url", url, "--store-sync-always", "true")
	l.start()
	post := func(id string) (status int, code, retry string) {
		t.Helper()
		resp, err := http.Post(l.http+"/v1/events?node=n1", "application/json", strings.NewReader(fmt.Sprintf(`{"id":%q,"meter":%q}`, id, documents)))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var answer struct{ Code string }
		b, err := io.ReadAll(resp.Body)
		if err == nil {
			err = json.Unmarshal(b, &answer)
		}
		if err != nil {
			t.Fatalf("POST /v1/events: %v in %s", err, b)
		}
		return resp.StatusCode, answer.Code, resp.Header.Get("Retry-After")
	}
	health := func(path string) int {
		t.Helper()
		resp, err := http.Get(l.http + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if status, _, _ := post("before"); status != http.StatusAccepted {
		t.Fatalf("POST /v1/events = %d, want 202", status)
	}
	if got := health("/readyz"); got != http.StatusOK {
		t.Fatalf("/readyz = %d, want 200", got)
	}

	stop()
	// The one that is under way when the store goes has no answer until the store
	// says what became of it; whoever comes then is refused at once.
	waiting := make(chan int, 1)
	go func() {
		resp, err := http.Post(l.http+"/v1/events?node=n1", "application/json", strings.NewReader(fmt.Sprintf(`{"id":"during","meter":%q}`, documents)))
		if err != nil {
			waiting <- 0
			return
		}
		resp.Body.Close()
		waiting <- resp.StatusCode
	}()
	crashtest.Eventually(t, "the daemon to notice", func() (bool, string) {
		got := health("/readyz")
		return got == http.StatusServiceUnavailable, fmt.Sprint("/readyz = ", got)
	})
	if status, code, retry := post("after"); status != http.StatusServiceUnavailable || code != "store_unavailable" || retry == "" {
		t.Errorf("POST /v1/events without store = %d %s, Retry-After %q, want 503 store_unavailable and when to try again", status, code, retry)
	}
	select {
	case status := <-waiting: // within 15 s it is told to send again
		if status != http.StatusServiceUnavailable {
			t.Errorf("POST /v1/events that was under way = %d before the store is back, want no answer or 503", status)
		}
		waiting <- status
	default:
	}
	for path, want := range map[string]int{"/healthz": 500, "/readyz": 503, "/readyz?licensed=1": 503} {
		if got := health(path); got != want {
			t.Errorf("%s without store = %d, want %d", path, got, want)
		}
	}

	streamtest.ServerIn(t, streamtest.ServerOptions{}, store, strings.TrimPrefix(url, "nats://"))
	crashtest.Eventually(t, "the store to be back", func() (bool, string) {
		got := health("/readyz")
		return got == http.StatusOK, fmt.Sprint("/readyz = ", got)
	})
	if status := <-waiting; status != http.StatusAccepted && status != http.StatusServiceUnavailable {
		t.Errorf("POST /v1/events that was under way = %d, want 202 or 503", status)
	}
	for _, id := range []string{"before", "during", "after"} { // a node sends again what it has no answer for
		if status, code, _ := post(id); status != http.StatusAccepted {
			t.Errorf("POST /v1/events of %q = %d %s, want 202", id, status, code)
		}
	}
	l.counted(3)
	l.stop()
	mustProgram(t, "ledger", "check", "--data", l.dir)
}
