package web_test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/console"
)

// O-13: what became of one event is the same on the page, over HTTP and on the
// command line, while the daemon runs. O-27: its proof, written by the running daemon,
// verifies with the key of the site and shows no other event.
func TestFindAndProveEvent(t *testing.T) {
	s := start(t, siteConfig)
	s.uses("renderer-1", "a1", "12.5")
	s.uses("renderer-1", "a2", "3")
	s.uses("renderer-1", "a2", "3") // again
	if page := s.page("/events/find?node=renderer-1&id=a2"); !strings.Contains(page, "not closed yet") {
		t.Error("an event of an open window: the page does not say so")
	}
	s.reported()
	s.ask("GET", "/v1/status", nil, nil)

	var found console.EventTrace
	s.ask("GET", "/v1/events/find?node=renderer-1&id=a2", nil, &found)
	if found.Code != "counted" || len(found.Events) != 2 || found.Events[0].Code != "duplicate" || found.Events[1].Record == nil || found.Events[1].Position != 1 || found.Events[1].Quantity != 300 {
		t.Fatalf("find(a2) = %+v, want a duplicate, and event 1 of a record with 300", found)
	}
	page := s.page("/events/find?node=renderer-1&id=a2")
	for _, want := range []string{found.Words, "Download the proof", "event find renderer-1 a2", "3.00 page", "duplicate"} {
		if !strings.Contains(page, want) {
			t.Errorf("page has no %q", want)
		}
	}
	if page := s.page("/events/find?node=renderer-1&id=a9"); !strings.Contains(page, "There is no such event") {
		t.Error("an event that nobody sent: the page does not say so")
	}
	if out := s.says("event", "find", "renderer-1", "a2"); !strings.Contains(out, found.Words) {
		t.Errorf("event find = %q, want %q in it", out, found.Words)
	}
	var again console.EventTrace
	if err := json.Unmarshal([]byte(s.says("event", "find", "renderer-1", "a2", "--json")), &again); err != nil || again.Words != found.Words {
		t.Errorf("event find --json = %+v, %v, want %q", again, err, found.Words)
	}

	opening := s.says("ledger", "prove", "--node", "renderer-1", "--id", "a2")
	for _, hidden := range []string{"kim", "a2", "a1", "12.5", "1250"} {
		if strings.Contains(opening, hidden) {
			t.Errorf("the proof shows %q:\n%s", hidden, opening)
		}
	}
	s.says("report", "open", "--node", "renderer-1", "--id", "a2", "--private", "--out", "a2.opening")
	s.write("a2.plain", opening)
	s.write("site.pub", s.run("meterseal", "keys", "show", "--data", "data"))
	s.run("meterseal", "ledger", "prove", "--check", "a2.plain", "--site-key", "@site.pub")
	if out := s.run("meterseal", "ledger", "prove", "--check", "a2.opening", "--site-key", "@site.pub"); !strings.Contains(out, "id=a2") || !strings.Contains(out, "user=kim") {
		t.Errorf("the private proof = %q, want id and user", out)
	}
	private, err := os.ReadFile(s.path("a2.opening"))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.ask("GET", "/v1/events/proof?node=renderer-1&id=a2&private=true", nil, nil); got != string(private) {
		t.Errorf("the proof of the API and that of the command differ:\n%s\n%s", got, private)
	}
}

// A browser that is not signed in may look, and gives no proof away.
func TestProofNeedsTheRightToReport(t *testing.T) {
	s := start(t, siteConfig)
	s.uses("renderer-1", "a1", "12.5")
	for path, want := range map[string]int{"/v1/events/find?node=renderer-1&id=a1": http.StatusOK, "/v1/events/proof?record=1&event=0": http.StatusUnauthorized} {
		r, err := http.NewRequest("GET", s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s of a browser = %d, want %d", path, resp.StatusCode, want)
		}
	}
}
