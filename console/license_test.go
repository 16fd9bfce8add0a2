package console_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/license"
)

// licensed is a site whose license and facts a test sets; what they come to is
// package license's.
type licensed struct {
	license *license.License
	facts   license.Facts
	now     func() time.Time
	used    license.Use
	meters  map[string]console.MeterLimit
	doc     string // what Import got
	err     error
}

func (l *licensed) License() console.License {
	s := l.license.State(l.facts, l.now())
	return console.License{Status: s, ExitCode: s.Exit, Meters: l.meters}
}

func (l *licensed) Describe() console.LicenseDetail {
	return console.LicenseDetail{License: l.License(), Dates: []console.LicenseDate{{Name: "end", UTC: l.license.End, Local: "x", Then: "grace"}},
		Fields: []console.LicenseField{{Name: "note", Value: "hello"}}}
}

func (l *licensed) History(context.Context) ([]console.LicenseEvent, error) {
	return []console.LicenseEvent{{Kind: "license", Time: testStart, ID: "L-1", Serial: 1, Digest: "x"}}, l.err
}

func (l *licensed) Allow(_ context.Context, q console.AllowRequest) (console.Allowed, error) {
	u := l.used
	u.NodeKnown = q.Node == "n1"
	out := console.Allowed{Decision: l.license.Decide(q.Request, u, l.facts, l.now())}
	if q.Hold > 0 {
		until := l.now().Add(q.Hold)
		out.ID, out.HeldUntil = q.ID, &until
	}
	return out, l.err
}

func (l *licensed) Consume(_ context.Context, node string, e events.Event, q license.Request) (console.Consumed, error) {
	q.Meter, q.Quantity = e.Meter, e.Quantity
	out := console.Consumed{Decision: l.license.Decide(q, l.used, l.facts, l.now())}
	if out.Allowed {
		out.ID, out.Seq, out.Result = node+"/"+e.ID, 7, "stored"
	}
	return out, l.err
}

func (l *licensed) Release(_ context.Context, node, id string) error {
	l.doc = node + "/" + id
	return l.err
}

func (l *licensed) Import(_ context.Context, doc []byte, dryRun bool) (console.Imported, error) {
	l.doc = string(doc)
	return console.Imported{Used: true, DryRun: dryRun, Kind: "reply", Result: "accepted"}, l.err
}

func (l *licensed) ActivationCode(_ context.Context, init string) (string, error) {
	return "answers " + init, l.err
}

func (l *licensed) ImportCode(_ context.Context, code string, dryRun bool) (console.Imported, error) {
	l.doc = "code " + code
	return console.Imported{Used: true, DryRun: dryRun, Kind: "license"}, l.err
}

func (l *licensed) Deactivate(_ context.Context, o console.DeactivateOptions) (string, func(io.Writer) error, error) {
	return "x.usage", func(w io.Writer) error { _, err := fmt.Fprintf(w, "retire %s\n", o.SolutionName); return err }, l.err
}

func (l *licensed) Prune(context.Context, bool) (console.Pruned, error) {
	return console.Pruned{Receipt: 5}, l.err
}

func (l *licensed) RotateKey(context.Context) (console.KeyRotation, error) {
	return console.KeyRotation{Key: "old", Next: "new", Record: 7}, l.err
}

// newLicensed returns a site whose license starts, ends and must be reported on
// days around testStart.
func newLicensed(t *testing.T, enforcement license.Enforcement) (*site, *licensed) {
	t.Helper()
	l := &licensed{license: &license.License{ID: "L-1", SolutionName: "renderd", Type: license.TimeLimited, Enforcement: enforcement,
		Start: testStart.Add(-time.Hour), End: testStart.Add(10 * 24 * time.Hour), Features: []string{"sso"},
		Meters: []license.Meter{{ID: "renders"}}, Limits: []license.Limit{{Name: "renders", Limit: 10, Reset: license.ResetMonthly}}}}
	l.facts = license.Facts{Opened: testStart, Activated: true}
	s := newSite(t, func(o *console.Options) { o.Licensing = l })
	l.now = s.clock
	return s, l
}

// P-24, P-27: the columns healthz, readyz, ?licensed=1 and events of the table of
// states, over HTTP.
func TestP24LicenseStates(t *testing.T) {
	refused := func(code string) *license.Error { return &license.Error{Code: code, Message: "no", Hint: "do"} }
	for _, tt := range []struct {
		name                    string
		facts                   license.Facts
		health, ready, licensed int
		hardLicensed            int
		events                  int
		code                    string
	}{
		{"rolled_back", license.Facts{Opened: testStart, RolledBack: "behind_node"}, 500, 503, 503, 503, 503, "behind_node"},
		{"deactivated", license.Facts{Opened: testStart, Retired: true}, 200, 503, 503, 503, 410, "deactivated"},
		{"invalid", license.Facts{Opened: testStart, Refused: refused("license_invalid")}, 500, 503, 503, 503, 503, "license_invalid"},
		{"mismatch", license.Facts{Opened: testStart, Refused: refused("solution_name_mismatch")}, 500, 503, 503, 503, 503, "solution_name_mismatch"},
		{"superseded", license.Facts{Opened: testStart, Activated: true, Superseded: true}, 200, 200, 200, 503, 202, "license_superseded"},
		{"inactive", license.Facts{Opened: testStart}, 200, 200, 200, 200, 202, "license_inactive"},
		{"active", license.Facts{Opened: testStart, Activated: true}, 200, 200, 200, 200, 202, "ok"},
	} {
		for _, e := range []license.Enforcement{license.Soft, license.Hard} {
			t.Run(tt.name+"/"+string(e), func(t *testing.T) {
				s, l := newLicensed(t, e)
				l.facts = tt.facts
				s.get("/healthz").is(tt.health)
				s.get("/readyz").is(tt.ready)
				want := tt.licensed
				if e == license.Hard {
					want = tt.hardLicensed
				}
				if a := s.get("/readyz?licensed=1").is(want); want != http.StatusOK {
					a.refusedAs(want, tt.code)
				}
				s.post("/v1/events", "application/json", `{"id":"1","meter":"renders"}`).is(tt.events)
				var st struct{ License struct{ Code, Status string } }
				s.get("/v1/status").is(http.StatusOK).into(&st)
				if st.License.Code != tt.code {
					t.Errorf("code = %s, want %s", st.License.Code, tt.code)
				}
			})
		}
	}
}

// Requirements 4.4: 200 yes, 403 no, 503 cannot tell; O-20: what is left as two
// numbers.
func TestAllow(t *testing.T) {
	s, l := newLicensed(t, license.Hard)
	l.used = license.Use{Used: 9}
	var d struct {
		Allowed   bool
		Code      string
		Remaining *int64
		Overage   *int64 `json:"overage_remaining"`
		ResetsAt  string `json:"resets_at"`
		Until     string `json:"valid_until"`
	}
	s.get("/v1/allow?meter=renders").is(http.StatusOK).into(&d)
	if !d.Allowed || d.Remaining == nil || *d.Remaining != 1 || d.Overage == nil || *d.Overage != 0 || d.ResetsAt != "2022-11-01T00:00:00Z" || d.Until != "2022-10-06T08:15:00Z" {
		t.Errorf("answer = %+v, want yes, 1 and 0 left, until 1 November, for 15 minutes", d)
	}
	s.get("/v1/allow?meter=renders&quantity=2").is(http.StatusForbidden).into(&d)
	if d.Allowed || d.Code != "limit_reached" {
		t.Errorf("answer = %+v, want no, limit_reached", d)
	}
	s.get("/v1/allow?feature=sso").is(http.StatusOK)
	s.get("/v1/allow?feature=pdf").is(http.StatusForbidden)
	for _, path := range []string{"/v1/allow", "/v1/allow?meter=renders&hold=86401", "/v1/allow?meter=renders&node=a.b", "/v1/allow?meter=renders&quantity=-1", "/v1/allow?feature=sso&built=monday"} {
		s.get(path).refusedAs(http.StatusBadRequest, "malformed")
	}
	s.get("/v1/allow?feature=sso&built=2022-10-06").is(http.StatusOK)
	l.license.MaintenanceEnd = testStart.Add(-48 * time.Hour)
	s.get("/v1/allow?feature=sso&built=2022-10-06").is(http.StatusForbidden)

	down := errors.New("disk is gone")
	s, _ = newLicensed(t, license.Hard)
	s.opts.Ready = func() error { return down }
	s.srv.Config.Handler = console.New(s.opts)
	s.get("/v1/allow?feature=sso").is(http.StatusServiceUnavailable)
}

// What is imported, answered and refused goes through as it is, with the codes of
// the packages that decide.
func TestLicenseRoutes(t *testing.T) {
	s, l := newLicensed(t, license.Soft)
	s.post("/v1/reply", "text/plain", "meterseal-reply/v1\n").is(http.StatusOK)
	if l.doc != "meterseal-reply/v1\n" {
		t.Errorf("Import got %q", l.doc)
	}
	s.post("/v1/reply?code=true&dry_run=true", "text/plain", "ROWS").is(http.StatusOK)
	if l.doc != "code ROWS" {
		t.Errorf("ImportCode got %q", l.doc)
	}
	s.post("/v1/reply", "text/plain", "").refusedAs(http.StatusBadRequest, "malformed")
	s.post("/v1/reply", "text/plain", strings.Repeat("x", console.MaxBodyBytes+1)).refusedAs(http.StatusRequestEntityTooLarge, "event_too_large")
	s.get("/v1/license").is(http.StatusOK)
	s.get("/v1/license/history").is(http.StatusOK)
	s.post("/v1/prune?dry_run=true", "", "").is(http.StatusOK)
	if got := s.post("/v1/activation", "application/json", `{"code":"AB"}`).is(http.StatusOK).body; !strings.Contains(got, "answers AB") {
		t.Errorf("activation = %s", got)
	}
	if got := s.post("/v1/deactivate", "application/json", `{"solution_name":"renderd"}`).is(http.StatusOK).body; got != "retire renderd\n" {
		t.Errorf("last report = %q", got)
	}
	if got := s.post("/v1/keys/rotate", "", "").is(http.StatusOK).body; got != `{"key":"old","new_key":"new","record":7}`+"\n" {
		t.Errorf("rotation = %q", got)
	}
	s.post("/v1/deactivate", "application/json", "").refusedAs(http.StatusBadRequest, "malformed")
	l.err = &license.Error{Code: license.CodeWrongSiteKey, Message: "is for another", Hint: "carry it there"}
	for _, path := range []string{"/v1/reply", "/v1/reply?code=true"} {
		if p := s.post(path, "text/plain", "x").refusedAs(http.StatusUnprocessableEntity, "wrong_site_key"); p.Message != "is for another" {
			t.Errorf("message = %q, want it without its code", p.Message)
		}
	}
	l.err = &events.Error{Code: events.CodeStoreUnavailable, Message: "later", Hint: "again"}
	s.post("/v1/reply", "text/plain", "x").refusedAs(http.StatusServiceUnavailable, "store_unavailable")
}

// L-18, Y-14: per meter what is used since the receipt, in the period and in all,
// beside limit and what is left.
func TestL18MeterLimits(t *testing.T) {
	s, l := newLicensed(t, license.Soft)
	limit, left, resets := int64(10), int64(7), testStart.Add(time.Hour)
	l.meters = map[string]console.MeterLimit{"renders": {Licensed: true, Limit: &limit, SinceReceipt: 2, Period: 3, Remaining: &left, ResetsAt: &resets}}
	var st struct{ Meters []map[string]any }
	s.get("/v1/status").is(http.StatusOK).into(&st)
	for _, m := range st.Meters {
		if m["id"] != "renders" {
			continue
		}
		for k, want := range map[string]any{"licensed": true, "used_since_receipt": 2.0, "used_period": 3.0, "limit": 10.0, "remaining": 7.0, "used_total": 0.0} {
			if m[k] != want {
				t.Errorf("%s = %v, want %v (%v)", k, m[k], want, m)
			}
		}
		return
	}
	t.Errorf("meters = %v, want renders", st.Meters)
}

// A start that was refused and holds: status, health and documents say why, every
// other route answers it.
func TestHold(t *testing.T) {
	_, l := newLicensed(t, license.Soft)
	l.license, l.facts = nil, license.Facts{Refused: &license.Error{Code: "upgrade_needed", Message: "needs 2", Hint: "install 2"}}
	s := newSite(t, func(o *console.Options) {
		*o = console.Options{Licensing: l, Version: "1", Started: testStart, Now: o.Now,
			Refused: &console.Problem{Status: 503, Code: "upgrade_needed", Message: "needs 2", Hint: "install 2"}}
	})
	s.get("/healthz").is(http.StatusInternalServerError)
	s.get("/readyz").refusedAs(http.StatusServiceUnavailable, "upgrade_needed")
	if got := s.get("/v1/status").is(http.StatusOK).body; !strings.Contains(got, `"service_status":"unhealthy"`) || !strings.Contains(got, `"state":"invalid"`) || !strings.Contains(got, "needs 2") {
		t.Errorf("status = %s, want unhealthy, invalid and why", got)
	}
	s.get("/docs/errors/upgrade_needed").is(http.StatusOK)
	s.get("/v1/usage").refusedAs(http.StatusServiceUnavailable, "upgrade_needed")
	s.post("/v1/events", "application/json", `{"meter":"renders"}`).refusedAs(http.StatusServiceUnavailable, "upgrade_needed")
}
