package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events/stream/streamtest"
)

// seatSite is a daemon with pools and no license.
func seatSite(t *testing.T, pools ...string) *testSite {
	t.Helper()
	args := []string{"--meter", "documents.processed:count", "--store-max-size", "1GiB"}
	for _, p := range pools {
		args = append(args, "--seats", p)
	}
	return newTestSite(t, args...)
}

// seat asks the daemon over HTTP.
func (s *testSite) seat(method, holder, body string) (status int, out console.SeatAnswer) {
	s.t.Helper()
	r, err := http.NewRequest(method, s.http+"/v1/seats/editor/"+url.PathEscape(holder)+"?node=n1", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(data) > 0 {
		if err := json.Unmarshal(data, &out); err != nil {
			s.t.Fatalf("%s: %v", data, err)
		}
	}
	return resp.StatusCode, out
}

// takes claims or renews a seat over HTTP and wants a status.
func (s *testSite) takes(status int, holder, body string) console.SeatAnswer {
	s.t.Helper()
	got, out := s.seat(http.MethodPut, holder, body)
	if got != status {
		s.t.Fatalf("PUT of %s = %d %+v, want %d", holder, got, out, status)
	}
	return out
}

// pool returns the pool editor.
func (s *testSite) pool() (p console.PoolStatus) {
	s.t.Helper()
	if err := (&httpClient{base: s.http, http: http.DefaultClient, timeout: time.Minute}).getJSON(context.Background(), "/v1/seats/editor", nil, &p); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// holders of the pool, in the order in which they took their seats.
func (s *testSite) holders() (list []string) {
	s.t.Helper()
	for _, x := range s.pool().Seats {
		list = append(list, x.Holder)
	}
	return list
}

// asks sends a request over NATS.
func (s *testSite) asks(nc *nats.Conn, subject, body string) (out console.SeatAnswer) {
	s.t.Helper()
	m, err := nc.Request(subject, []byte(body), 30*time.Second)
	if err != nil {
		s.t.Fatalf("ask %s: %v", subject, err)
	}
	if err := json.Unmarshal(m.Data, &out); err != nil {
		s.t.Fatalf("%s: %v", m.Data, err)
	}
	return out
}

func (s *testSite) connect() *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect(s.nats)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

// until waits for a condition.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for tick := time.NewTicker(20 * time.Millisecond); !is(); <-tick.C {
		if time.Now().After(deadline) {
			tick.Stop()
			t.Fatalf("%s: not after a minute", what)
		}
	}
}

// Y-10, O-17: NATS and HTTP are two doors to the same seats, with the same answers.
func TestY10O17SeatsOverNATS(t *testing.T) {
	s := seatSite(t, "editor:2")
	s.start()
	defer s.stop()
	nc := s.connect()
	const checkout = `{"action":"checkout","holder":"a","user":"kim","host":"pc1","ip":"10.0.0.7"}`
	for _, c := range []struct {
		subject, body string
		status        int
		code          string
	}{
		{"seat.n1.editor", checkout, 201, "claimed"},
		{"seat.n1.editor", checkout, 202, "renewed"},
		{"seat.n2.editor", checkout, 409, "held_by_another"},
		{"seat.n2.editor", `{"action":"checkin","holder":"a"}`, 409, "held_by_another"},
		{"seat.n2.editor", `{"action":"checkout","holder":"b","lease":"90s"}`, 201, "claimed"},
		{"seat.n2.editor", `{"action":"checkout","holder":"c"}`, 410, "no_seat"},
		{"seat.n1.nope", checkout, 400, "unknown_pool"},
		{"seat.n1.editor", `{"action":"checkin","holder":"d"}`, 404, "seat_unknown"},
		{"seat.n1.editor", `{"action":"checkout","holder":"a","node":"n2"}`, 400, "malformed"},
		{"seat.n1.editor", `{"action":"steal","holder":"a"}`, 400, "malformed"},
		{"seat.n1.editor", `{"action":"list"}`, 200, "ok"},
		{"seat.n1.editor", `{"action":"checkin","holder":"a"}`, 204, "returned"},
	} {
		got := s.asks(nc, c.subject, c.body)
		if got.Status != c.status || got.Code != c.code {
			t.Errorf("%s %s = %+v, want %d %s", c.subject, c.body, got, c.status, c.code)
		}
		if got.Status >= 300 && (got.Message == "" || got.Hint == "") {
			t.Errorf("%s %s = %+v, want message and hint", c.subject, c.body, got)
		}
		if c.code == "no_seat" && (got.NextEnd == nil || len(got.Seats) != 2 || got.Seats[0].Holder != "b" || got.Seats[1].User != "kim") {
			t.Errorf("no seat: %+v, want who holds both, b first, and when it ends", got)
		}
	}
	s.takes(http.StatusCreated, "e/1", "")
	if got := s.asks(nc, "seat.n1.editor", `{"action":"checkout","holder":"e/1"}`); got.Code != "renewed" {
		t.Errorf("NATS about a seat that HTTP took: %+v, want renewed", got)
	}
}

// YD-9: a daemon that is killed has the same seats when it is back: holders, since
// when, and until when, held and borrowed ones, and a full pool stays full.
func TestYD9SeatsSurviveKill(t *testing.T) {
	s := seatSite(t, "editor:3:24h")
	s.start()
	s.takes(201, "a/b ü", `{"user":"kim","host":"pc1","ip":"10.0.0.7"}`)
	s.takes(201, "b", `{"lease":"2h"}`)
	s.takes(201, "c", `{"linger":"5h"}`)
	s.takes(202, "a/b ü", "")
	s.seat(http.MethodDelete, "c", "")
	s.takes(410, "d", `{"user":"lee"}`)
	before := s.pool()
	for range 3 {
		s.proc.Kill()
		s.start()
		after := s.pool()
		if diff := cmp.Diff(before, after); diff != "" {
			t.Fatalf("pool after the kill (-before +after):\n%s", diff)
		}
	}
	s.takes(410, "d", `{"user":"lee"}`)
	s.takes(202, "b", "")
	s.takes(201, "c2", "") // its owner, under whatever name
	s.stop()
	mustProgram(t, "ledger", "check", "--data", s.dir)
}

// The order of requests that come at once does not matter to the count: of a
// hundred that ask for five seats exactly five get one.
func TestSeatsUnderConcurrency(t *testing.T) {
	s := seatSite(t, "editor:5")
	s.start()
	defer s.stop()
	nc := s.connect()
	codes := make(chan string, 100)
	for i := range 100 {
		go func() {
			m, err := nc.Request("seat.n1.editor", fmt.Appendf(nil, `{"action":"checkout","holder":"h%d"}`, i), 30*time.Second)
			if err != nil {
				codes <- err.Error()
				return
			}
			var a console.SeatAnswer
			_ = json.Unmarshal(m.Data, &a)
			codes <- a.Code
		}()
	}
	got := map[string]int{}
	for range 100 {
		got[<-codes]++
	}
	if diff := cmp.Diff(map[string]int{"claimed": 5, "no_seat": 95}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if p := s.pool(); p.Taken != 5 || p.Denied != 95 || p.Peak != 5 {
		t.Errorf("pool = %+v, want 5 taken, 95 denied", p)
	}
	if m := s.metrics(); !bytes.Contains(m, []byte(`meterseal_seats_in_use{pool="editor"} 5`)) || !bytes.Contains(m, []byte(`meterseal_seats_limit{pool="editor"} 5`)) ||
		!bytes.Contains(m, []byte(`meterseal_seat_denials_total{pool="editor"} 95`)) {
		t.Errorf("metrics = %s, want in use, limit and denials", m)
	}
}

func (s *testSite) metrics() []byte {
	s.t.Helper()
	resp, err := http.Get(s.http + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// Two daemons never give away the same last seat: both follow one stream, whose
// order decides. The second one takes the lead, and what the first one still
// promises has to get into that order too, or it is no promise.
func TestTwoDaemonsOneLastSeat(t *testing.T) {
	url := streamtest.Server(t, streamtest.ServerOptions{})
	first := seatSite(t, "editor:2:1h")
	first.args = append(first.args, "--nats-url", url, "--store-sync-always", "true")
	first.start()
	first.takes(201, "a", "")
	first.stop()
	second := seatSite(t)
	second.args = first.args
	copyTree(t, first.dir, second.dir)
	first.start()

	var done sync.WaitGroup
	var mu sync.Mutex
	claimed := map[string]bool{}
	stop := make(chan struct{})
	ask := func(s *testSite, name string) {
		for i := 0; ; i++ {
			holder := fmt.Sprintf("%s-%d", name, i)
			r, err := http.NewRequest(http.MethodPut, s.http+"/v1/seats/editor/"+holder+"?node=n2", nil)
			if err != nil {
				panic(err)
			}
			resp, err := http.DefaultClient.Do(r)
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode/100 == 2 {
					mu.Lock()
					claimed[holder] = true
					mu.Unlock()
				}
			}
			select {
			case <-stop:
				return
			default:
			}
			if err != nil { // that daemon has ended
				return
			}
		}
	}
	second.start()
	if !first.proc.Running() {
		t.Fatal("the first daemon has ended before anybody asked it")
	}
	for i := range 4 {
		done.Go(func() { ask(first, fmt.Sprint("first", i)) })
		done.Go(func() { ask(second, fmt.Sprint("second", i)) })
	}
	until(t, "the last seat, and the end of the first daemon", func() bool { return len(second.holders()) == 2 && !first.proc.Running() })
	close(stop)
	done.Wait()
	got := second.holders()
	if len(got) != 2 || got[0] != "a" || len(claimed) != 1 || !claimed[got[1]] {
		t.Errorf("holders are %v, and %v were told that they have the last seat; want a and the one", got, claimed)
	}
	second.stop()
}
