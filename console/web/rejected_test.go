package web_test

import (
	"strings"
	"testing"

	"github.com/meterseal/meterseal/console"
)

// A refused event is shown with what it means, escaped, and replayed by the command
// in a real daemon: over NATS with the meter of its subject and the id of its header.
func TestRejectedPages(t *testing.T) { // P-26
	s := start(t, siteConfig)
	s.ask("POST", "/v1/events", `[{"id":"x","node":"n1","meter":"<b>nope"},{"id":"y","node":"n1","meter":"render.pages","quantity":"many"}]`, nil)
	var list console.RejectedAnswer
	for len(list.Rejected) < 2 { // they are kept with their group
		s.ask("GET", "/v1/rejected", nil, &list)
	}
	page := s.page("/rejected")
	for _, want := range []string{`<a href="/docs/errors/bad_quantity">`, `value="1"`, "meterseal rejected list", "for 90 days"} {
		if !strings.Contains(page, want) {
			t.Errorf("page has no %q", want)
		}
	}
	one := s.page("/rejected/1")
	if !strings.Contains(one, "&lt;b&gt;nope") || strings.Contains(one, "<b>nope") {
		t.Errorf("the sample is not shown escaped: %s", one)
	}
	if got := s.says("rejected", "replay", "2"); !strings.Contains(got, "bad_quantity") {
		t.Errorf("rejected replay 2 = %q, want bad_quantity again", got)
	}
	if got := s.says("rejected", "list", "--code", "bad_quantity", "-o", "csv"); !strings.Contains(got, ",bad_quantity,bad_quantity,") {
		t.Errorf("rejected list = %q, want what the replay said", got)
	}
}

// The page of events shows what came, and the command the same; a test event and its
// correction are sent from the page.
func TestEventsPage(t *testing.T) { // P-26
	s := start(t, siteConfig)
	s.uses("renderer-1", "a1", "12.5")
	page := s.page("/events")
	for _, want := range []string{"renderer-1", ">a1<", "Send a test event", "meterseal event tail"} {
		if !strings.Contains(page, want) {
			t.Errorf("page has no %q", want)
		}
	}
	for got := ""; !strings.Contains(got, "counted"); { // it is soon
		if got = s.says("event", "tail", "--follow=false"); !strings.Contains(got, "renderer-1  render.pages  1250  a1") {
			t.Fatalf("event tail = %q, want the event", got)
		}
	}
}
