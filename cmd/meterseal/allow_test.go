package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/projections"
)

const pages = "render.pages"

// newLimitedSite returns a running site with an activated license that limits
// render.pages, LIMIT:OVERAGE:RESET.
func newLimitedSite(t *testing.T, enforcement, limit string, more ...string) *licensedSite {
	t.Helper()
	terms := append([]string{"--meter", pages + ":sum", "--limit", pages + ":" + limit, "--enforcement", enforcement}, more...)
	l := newLicensedSite(t, terms...)
	l.start()
	l.send("first")
	l.report("first", terms...)
	l.imports("first")
	return l
}

// answered is the answer to a question, over HTTP or NATS.
type answered struct {
	Status           int
	Allowed          bool
	Code             string
	Warnings         []string
	Remaining        *int64
	OverageRemaining *int64 `json:"overage_remaining"`
	Alert            int
	ID               string
	HeldUntil        *time.Time `json:"held_until"`
	Result           string
	Seq              uint64
	Error            *struct {
		Code        int
		Description string
	}
	Hint string
}

// asker asks a site, also one that was started again meanwhile.
type asker struct {
	http, nats string
	nc         *nats.Conn
}

func (s *testSite) asker(t *testing.T) *asker {
	t.Helper()
	nc, err := nats.Connect(s.nats, nats.MaxReconnects(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return &asker{s.http, s.nats, nc}
}

// request asks over NATS.
func (a *asker) request(node, body string) (out answered, err error) {
	m, err := a.nc.Request("allow."+node, []byte(body), 30*time.Second)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(m.Data, &out); err != nil {
		return out, fmt.Errorf("%w in %s", err, m.Data)
	}
	if out.Error != nil {
		out.Status = out.Error.Code
		out.Code, _, _ = strings.Cut(out.Error.Description, ":")
	}
	return out, nil
}

// do asks over HTTP.
func (a *asker) do(method, path, body string) (out answered, err error) {
	req, err := http.NewRequest(method, a.http+path, strings.NewReader(body))
	if err != nil {
		return out, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && len(b) > 0 {
		err = json.Unmarshal(b, &out)
	}
	out.Status = resp.StatusCode
	return out, err
}

// consume uses one page, by NATS or HTTP.
func (a *asker) consume(overNATS bool, node, id string) (answered, error) {
	if overNATS {
		return a.request(node, fmt.Sprintf(`{"consume":true,"meter":%q,"quantity":1,"id":%q}`, pages, id))
	}
	return a.do(http.MethodPost, "/v1/consume?node="+node, fmt.Sprintf(`{"id":%q,"meter":%q}`, id, pages))
}

// L-16, X-06, requirements 3.3: a hundred clients at once, over NATS and HTTP, never get more
// than the license allows, and get all of that. What was refused is not counted.
func TestL16ConsumeAtOnce(t *testing.T) {
	for _, tc := range []struct {
		enforcement, limit string
		granted, warned    int64
	}{
		{"hard", "1000:none:monthly", 1000, 0},
		{"hard", "900:150:none", 1050, 150},
		{"soft", "900:50:daily", 1500, 600},
		{"advisory", "900:none:none", 1500, 600},
	} {
		t.Run(tc.enforcement+"/"+tc.limit, func(t *testing.T) {
			t.Parallel()
			l := newLimitedSite(t, tc.enforcement, tc.limit)
			a := l.asker(t)
			var granted, warned, refused atomic.Int64
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() {
					for j := range 15 {
						got, err := a.consume(i%2 == 0, fmt.Sprint("n", i%7), fmt.Sprint(i, "-", j))
						switch {
						case err != nil:
							t.Error(err)
							return
						case got.Status == http.StatusOK && got.Allowed && got.Result == "stored":
							granted.Add(1)
							warned.Add(int64(len(got.Warnings)))
						case got.Status == http.StatusForbidden && got.Code == "limit_reached" && got.Seq == 0:
							refused.Add(1)
						default:
							t.Errorf("consume = %+v, want yes and stored, or limit_reached", got)
							return
						}
					}
				})
			}
			wg.Wait()
			if g, r := granted.Load(), refused.Load(); g != tc.granted || r != 1500-tc.granted {
				t.Errorf("granted %d, refused %d, want %d and %d", g, r, tc.granted, 1500-tc.granted)
			}
			if got := l.total(pages); got != tc.granted {
				t.Errorf("counted = %d, want %d", got, tc.granted)
			}
			if got := warned.Load(); got != tc.warned {
				t.Errorf("warned = %d, want %d", got, tc.warned)
			}
			l.stop()
			mustProgram(t, "ledger", "check", "--data", l.dir)
		})
	}
}

// L-16, P-10: the same while the daemon is killed. Who has no answer asks again
// with the same id, so it is still exactly the limit.
func TestL16ConsumeWhileKilled(t *testing.T) {
	l := newLimitedSite(t, "hard", "1000:none:none")
	kills := 4
	if testing.Short() {
		kills = 2
	}
	var now atomic.Pointer[asker]
	now.Store(l.asker(t))
	var granted, refused atomic.Int64
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			for j := range 15 {
				id, node := fmt.Sprint(i, "-", j), fmt.Sprint("n", i%7)
				for done := false; !done; {
					a := now.Load()
					got, err := a.consume(i%2 == 0, node, id)
					switch {
					case err == nil && got.Status == http.StatusOK:
						granted.Add(1)
						done = true
					case err == nil && got.Status == http.StatusForbidden:
						refused.Add(1)
						done = true
					case err == nil && got.Status != http.StatusServiceUnavailable:
						t.Errorf("consume = %+v, want 200, 403 or 503", got)
						return
					case err != nil: // until there is another daemon
						for now.Load() == a && !t.Failed() {
							time.Sleep(time.Millisecond)
						}
					}
				}
			}
		})
	}
	for k := range kills {
		want := int64((k + 1) * 900 / (kills + 1))
		crashtest.Eventually(t, "consumption to go on", func() (bool, string) {
			got := granted.Load()
			return got >= want, fmt.Sprint("granted ", got)
		})
		l.proc.Kill()
		l.start()
		now.Store(l.asker(t))
	}
	wg.Wait()
	if g, r := granted.Load(), refused.Load(); g != 1000 || r != 500 {
		t.Errorf("granted %d, refused %d, want 1000 and 500", g, r)
	}
	if got := l.total(pages); got != 1000 {
		t.Errorf("counted = %d, want 1000", got)
	}
	l.stop()
	mustProgram(t, "ledger", "check", "--data", l.dir)
}

// must fails the test unless the answer has that status and code.
func (a answered) must(t *testing.T, err error, status int, code string) answered {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if a.Status != status || a.Code != code {
		b, _ := json.Marshal(a)
		t.Fatalf("answer = %d %s, want %d %s: %s", a.Status, a.Code, status, code, bytes.TrimSpace(b))
	}
	return a
}

// Nobody can reserve of a meter that is not declared, also where no license says
// what may be used.
func TestReserveWithoutLicense(t *testing.T) {
	s := newTestSite(t)
	s.start()
	a := s.asker(t)
	for meter, want := range map[string]answered{"documents.processed": {Status: 403, Code: "license_none"}, "nope": {Status: 422, Code: "unknown_meter"}} {
		got, err := a.request("n1", fmt.Sprintf(`{"meter":%q,"hold":"5s"}`, meter))
		if err != nil || got.Status != want.Status || got.Code != want.Code {
			t.Errorf("reserve of %s: %d %s, %v, want %d %s", meter, got.Status, got.Code, err, want.Status, want.Code)
		}
	}
}

// A node that reserves as much as it may takes nothing from the others, nor what
// it consumes itself.
func TestReservationsOfOneNode(t *testing.T) {
	l := newLimitedSite(t, "hard", "10:none:monthly")
	a := l.asker(t)
	reserve := func(node, id string) (answered, error) {
		return a.request(node, fmt.Sprintf(`{"meter":%q,"quantity":0,"id":%q,"hold":"1h"}`, pages, id))
	}
	const each = 16
	var all sync.WaitGroup
	for i := range projections.MaxNodeHolds / each {
		all.Go(func() {
			for j := range each {
				if got, err := reserve("n1", fmt.Sprint("r", i, "-", j)); err != nil || got.Status != 200 {
					t.Errorf("reservation %d-%d: %d %s, %v, want 200", i, j, got.Status, got.Code, err)
				}
			}
		})
	}
	all.Wait()
	got, err := reserve("n1", "more")
	got.must(t, err, 429, "busy")
	got, err = reserve("n2", "one")
	got.must(t, err, 200, "ok")
	got, err = a.consume(true, "n1", "c1")
	got.must(t, err, 200, "ok")
}

// Requirements 3.3: an amount that is reserved is nobody else's, over NATS and
// HTTP, also after kill -9, until its event comes, it is given back, or it ends.
func TestReservations(t *testing.T) {
	l := newLimitedSite(t, "hard", "10:none:monthly")
	a := l.asker(t)
	ask := func(node, id string, n int, hold string) (answered, error) {
		return a.request(node, fmt.Sprintf(`{"meter":%q,"quantity":%d,"id":%q,"hold":%q}`, pages, n, id, hold))
	}
	got, err := ask("n1", "r1", 6, "1h")
	if got = got.must(t, err, 200, "ok"); got.ID != "r1" || got.HeldUntil == nil || got.HeldUntil.Before(time.Now().Add(59*time.Minute)) || *got.Remaining != 10 {
		t.Fatalf("reservation = %+v, want r1 for an hour", got)
	}
	first := *got.HeldUntil
	for _, tc := range []struct {
		what   string
		answer func() (answered, error)
		status int
		code   string
	}{
		{"the same again", func() (answered, error) { return ask("n1", "r1", 6, "1h") }, 200, "ok"},
		{"another amount of that name", func() (answered, error) { return ask("n1", "r1", 5, "1h") }, 409, "id_conflict"},
		{"too much for another", func() (answered, error) { return ask("n2", "r1", 5, "1h") }, 403, "limit_reached"},
		{"too much without hold", func() (answered, error) {
			return a.do("GET", "/v1/allow?meter="+pages+"&quantity=5&node=n2", "")
		}, 403, "limit_reached"},
		{"what is left", func() (answered, error) {
			return a.do("GET", "/v1/allow?meter="+pages+"&quantity=4&node=n2&hold=3600&id=r2", "")
		}, 200, "ok"},
		{"too much to consume", func() (answered, error) { return a.consume(true, "n3", "c0") }, 403, "limit_reached"},
		{"longer than a day", func() (answered, error) { return ask("n1", "r9", 0, "25h") }, 400, "malformed"},
		{"over HTTP too", func() (answered, error) { return a.do("GET", "/v1/allow?meter="+pages+"&hold=86401", "") }, 400, "malformed"},
		{"an id that is no text", func() (answered, error) {
			return a.do("GET", "/v1/allow?meter="+pages+"&quantity=0&node=n2&hold=60&id=a%ff", "")
		}, 400, "malformed"},
		{"of a feature", func() (answered, error) { return a.request("n1", `{"feature":"x","hold":"5s"}`) }, 400, "malformed"},
		{"an unknown field", func() (answered, error) { return a.request("n1", `{"metre":"x"}`) }, 400, "malformed"},
		{"a field twice", func() (answered, error) { return a.request("n1", `{"meter":"`+pages+`","quantity":1,"quantity":0}`) }, 400, "malformed"},
		{"nothing", func() (answered, error) { return a.request("n1", `{}`) }, 400, "malformed"},
		{"no JSON", func() (answered, error) { return a.request("n1", `meter`) }, 400, "malformed"},
		{"an event without consume", func() (answered, error) { return a.request("n1", `{"meter":"x","user":"ana"}`) }, 400, "malformed"},
		{"what nobody declared", func() (answered, error) { return a.request("n1", `{"consume":true,"meter":"nope"}`) }, 422, "unknown_meter"},
	} {
		got, err := tc.answer()
		if err != nil || got.Status != tc.status || got.Code != tc.code {
			t.Errorf("%s: %d %s, %v, want %d %s", tc.what, got.Status, got.Code, err, tc.status, tc.code)
		}
	}
	l.proc.Kill()
	l.start()
	a = l.asker(t)
	got, err = ask("n1", "r1", 6, "1h")
	if got.must(t, err, 200, "ok"); !got.HeldUntil.Equal(first) {
		t.Errorf("after a kill it is held until %v, want %v", got.HeldUntil, first)
	}
	got, err = a.consume(false, "n3", "c0")
	got.must(t, err, 403, "limit_reached")

	// Its event ends it, whatever its amount is; what was not used is free.
	got, err = a.request("n1", fmt.Sprintf(`{"consume":true,"meter":%q,"quantity":5,"id":"r1","user":"ana","dimensions":{"x":"y"}}`, pages))
	if got.must(t, err, 200, "ok"); got.Result != "stored" {
		t.Errorf("consume what was reserved = %+v, want stored", got)
	}
	got, err = a.consume(true, "n3", "c0")
	got.must(t, err, 200, "ok")
	got, err = a.consume(false, "n3", "c1")
	got.must(t, err, 403, "limit_reached")
	got, err = a.request("n2", `{"release":"r2"}`)
	got.must(t, err, 200, "")
	got, err = a.consume(false, "n3", "c1")
	got.must(t, err, 200, "ok")
	if got, err := a.do(http.MethodDelete, "/v1/allow?node=n2&id=r2", ""); err != nil || got.Status != http.StatusNoContent {
		t.Errorf("DELETE of one that is given back = %d, %v, want 204", got.Status, err)
	}
	// The end of its time does too.
	got, err = ask("n1", "short", 3, "1s")
	got.must(t, err, 200, "ok")
	crashtest.Eventually(t, "the reservation to end", func() (bool, string) {
		got, err := a.request("n2", fmt.Sprintf(`{"meter":%q,"quantity":3}`, pages))
		return err == nil && got.Allowed, fmt.Sprintf("%+v %v", got, err)
	})
	if got := l.total(pages); got != 7 {
		t.Errorf("counted = %d, want 7", got)
	}
	l.stop()
	mustProgram(t, "ledger", "check", "--data", l.dir)
}

// O-20: each part of a limit is one line of the log in its period, before the
// first refusal, and not again after a restart; metrics, status and answers say
// it too.
func TestO20Alerts(t *testing.T) {
	l := newLimitedSite(t, "hard", "10:none:monthly", "--limit", "documents.processed:1000:none:none")
	a := l.asker(t)
	var log strings.Builder
	lines := func() (list []string) {
		for line := range strings.Lines(log.String() + l.proc.Output()) {
			var x struct {
				Msg, Meter string
				Percent    int
			}
			if json.Unmarshal([]byte(line), &x) == nil && x.Msg == "limit reached in part" {
				list = append(list, fmt.Sprint(x.Meter, " ", x.Percent))
			}
		}
		return list
	}
	for i := range 11 {
		if i == 8 { // a restart in between
			l.stop()
			log.WriteString(l.proc.Output() + "\n")
			l.start()
			a = l.asker(t)
		}
		got, err := a.consume(i%2 == 0, "n1", fmt.Sprint("e", i))
		if err != nil || got.Allowed != (i < 10) {
			t.Fatalf("consume %d = %+v, %v, want yes for the first 10", i, got, err)
		}
		if want := []int{0, 0, 0, 0, 0, 50, 50, 50, 80, 90, 100}[i]; got.Alert != want {
			t.Errorf("alert of consume %d = %d, want %d", i, got.Alert, want)
		}
	}
	l.stop()
	want := []string{pages + " 50", pages + " 80", pages + " 90", pages + " 100"}
	if got := lines(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("log lines = %v, want %v", got, want)
	}
	log.WriteString(l.proc.Output() + "\n")
	l.start()
	resp, err := http.Get(l.http + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`meterseal_limit_units{meter="render.pages"} 10`, `meterseal_usage_units{meter="render.pages",span="period"} 10`,
		`meterseal_remaining_units{meter="render.pages"} 0`, `meterseal_overage_remaining_units{meter="render.pages"} 0`, "meterseal_allow_seconds_count 0"} {
		if !strings.Contains(string(metrics), line+"\n") {
			t.Errorf("/metrics has no %s", line)
		}
	}
	got, err := l.asker(t).request("n1", fmt.Sprintf(`{"meter":%q}`, pages))
	got.must(t, err, 403, "limit_reached")
	if got := lines(); len(got) != 4 {
		t.Errorf("log lines after a restart = %v, want no more", got)
	}
	l.stop()
}

// Limits of features: a feature is used by the events of the meter of its name.
func TestFeatureLimit(t *testing.T) {
	terms := []string{"--meter", "pdf:count", "--feature", "pdf", "--limit", "feature/pdf:3:none:daily", "--enforcement", "hard"}
	l := newLicensedSite(t, terms...)
	l.start()
	l.send("first")
	l.report("first", terms...)
	l.imports("first")
	a := l.asker(t)
	for i := range 4 {
		got, err := a.request("n1", fmt.Sprintf(`{"consume":true,"meter":"pdf","feature":"pdf","id":"f%d"}`, i))
		want := 200
		if i == 3 {
			want = 403
		}
		if err != nil || got.Status != want {
			t.Errorf("use %d of the feature = %+v, %v, want %d", i, got, err, want)
		}
	}
	got, err := a.do("GET", "/v1/allow?feature=pdf", "")
	if got.must(t, err, 403, "limit_reached"); *got.Remaining != 0 {
		t.Errorf("remaining = %d, want 0", *got.Remaining)
	}
	l.stop()
}
