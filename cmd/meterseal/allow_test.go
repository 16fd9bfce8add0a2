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
