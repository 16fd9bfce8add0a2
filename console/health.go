package console

import (
	"net/http"
	"time"

	"github.com/meterseal/meterseal/internal/access"
)

// Health is the answer of GET /v1/health: what the daemon looks at of itself.
type Health struct {
	State  string        `json:"state" enum:"ok,warn,bad" doc:"the worst of the checks"`
	Time   time.Time     `json:"time"`
	Checks []HealthCheck `json:"checks" nullable:"false"`
}

// HealthCheck is one thing that was looked at.
type HealthCheck struct {
	Name  string `json:"name" enum:"service,license,ledger,stream,disk,count,clock,backup,exports,peers"`
	State string `json:"state" enum:"ok,warn,bad"`
	Words string `json:"words" doc:"what was found, one sentence"`
	Hint  string `json:"hint,omitempty" doc:"the way out, if it is not ok"`
	Code  string `json:"code,omitempty" doc:"as in the reference of errors"`
}

// States of a check, the better first.
const (
	HealthOK   = "ok"
	HealthWarn = "warn"
	HealthBad  = "bad"
)

func (s *server) checkRoutes() []route {
	var list []route
	if s.Support != nil {
		list = append(list, route{
			Method: http.MethodPost, Path: "/v1/support", ID: "writeSupport", Right: access.Admin,
			Summary: "Write a bundle for whoever is asked for help",
			Doc:     "A tar.gz of text files: status, settings, metrics, newest lines of the log, versions. Nodes and meters have other names in it, and there are no secrets and no events: read it before it leaves.",
			Answers: []content{{Status: http.StatusOK, MediaType: supportType, Doc: "The bundle"}},
			Serve: func(w http.ResponseWriter, _ *http.Request, _ values) error {
				_, err := s.stream(w, supportType, "meterseal-support-"+s.Now().UTC().Format("20060102T150405Z")+".tar.gz", s.Support)
				return err
			},
		})
	}
	if s.Health == nil {
		return list
	}
	return append(list, route{
		Method: http.MethodGet, Path: "/v1/health", ID: "getChecks", Right: access.Read,
		Summary: "What the daemon looks at of itself, each with its state in words",
		Doc:     "Service, license, ledger, stream, disk, count, clock, backup, exports, peers. /healthz and /readyz are for programs that look at the status only.",
		Answers: []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "The checks", Of: Health{}}},
		Serve: func(w http.ResponseWriter, _ *http.Request, _ values) error {
			out := Health{State: HealthOK, Time: s.Now().UTC(), Checks: []HealthCheck{s.serviceCheck()}}
			out.Checks = append(out.Checks, s.Health()...)
			for _, c := range out.Checks {
				if c.State == HealthBad || c.State == HealthWarn && out.State == HealthOK {
					out.State = c.State
				}
			}
			return s.answer(w, http.StatusOK, out)
		},
	})
}

const supportType = "application/gzip"

// serviceCheck says whether events are taken.
func (s *server) serviceCheck() HealthCheck {
	state, reason := s.service()
	if state == "running" {
		return HealthCheck{Name: "service", State: HealthOK, Words: "events are taken"}
	}
	return HealthCheck{Name: "service", State: HealthBad, Words: "events are not taken: " + reason, Hint: "nodes keep theirs meanwhile; the other checks say what is wrong"}
}
