package console_test

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/meterseal/meterseal/console"
)

// Who watches sees what came and what became of it; who was too slow is told how many
// lines are missing, and who waits is answered as soon as something comes.
func TestTail(t *testing.T) { // P-26
	s := newSite(t)
	s.stores(`[{"id":"a","node":"n1","meter":"renders"},{"id":"a","node":"n1","meter":"renders"}]`)
	read := func(query string) (a console.TailAnswer) {
		t.Helper()
		s.get("/v1/events/tail" + query).is(http.StatusOK).into(&a)
		return a
	}
	a := read("")
	if len(a.Events) != 2 || a.Events[0].Code != "stored" || a.Events[1].Code != "duplicate" || a.Missed != 0 {
		t.Fatalf("tail = %+v, want one stored, one duplicate", a)
	}
	s.opts.Tail.Counted(s.seq)
	if got := read("").Events[0].Code; got != "counted" {
		t.Errorf("after it was counted the code is %s, want counted", got)
	}
	answered := make(chan console.TailAnswer)
	go func() { answered <- read("?wait=20&after=" + strconv.FormatUint(a.Next, 10)) }()
	s.stores(`{"id":"b","node":"n1","meter":"renders"}`)
	if got := <-answered; len(got.Events) != 1 || got.Events[0].ID != "b" {
		t.Errorf("who waited got %+v, want the event that came", got)
	}
	for i := range 5000 {
		s.opts.Tail.Refused(testStart, "n1", "", "unknown_meter", uint64(i))
	}
	if got := read("?limit=2000&after=" + strconv.FormatUint(a.Next, 10)); len(got.Events) != 2000 || got.Missed != 3001 {
		t.Errorf("slow reader got %d lines and missed %d, want 2000 and 3001", len(got.Events), got.Missed)
	}
}
