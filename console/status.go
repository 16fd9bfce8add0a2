package console

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/projections"
)

func (s *server) statusRoutes() []route {
	return []route{{
		Method: http.MethodGet, Path: "/v1/status", ID: "getStatus", Right: access.Read,
		Summary:  "State of daemon, license, ledger, nodes and meters",
		Params:   []param{{Name: "brief", Kind: httpapi.Flag, Doc: "leave out nodes, meters, pools and variables"}},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "Counts are since the ledger was opened", Of: Status{}}},
		Problems: []int{400},
		Serve:    s.getStatus,
	}, {
		Method: http.MethodGet, Path: "/v1/checkpoint", ID: "getCheckpoint", Right: access.Read,
		Summary:  "The newest signed checkpoint of the ledger",
		Doc:      "A signed note as transparency logs use it: origin, size, root, signature. What it covers is on disk.",
		Answers:  []content{{Status: http.StatusOK, MediaType: textType, Doc: "The signed note"}},
		Problems: []int{404, 503},
		Serve:    s.getCheckpoint,
	}}
}

func (s *server) healthRoutes() []route {
	list := []route{{
		Method: http.MethodGet, Path: "/healthz", ID: "getHealth", Right: access.Public,
		Summary: "Is the daemon healthy",
		Answers: []content{
			{Status: http.StatusOK, MediaType: textType, Doc: "OK"},
			{Status: http.StatusInternalServerError, Doc: "It is not, or still starts; no body"},
		},
		Serve: s.getHealth,
	}, {
		Method: http.MethodGet, Path: "/readyz", ID: "getReady", Right: access.Public,
		Summary:  "Are events taken",
		Params:   []param{{Name: "licensed", Kind: httpapi.Flag, Doc: "also ask whether the license gives service"}},
		Answers:  []content{{Status: http.StatusOK, MediaType: textType, Doc: "OK"}},
		Problems: []int{400, 503},
		Serve:    s.getReady,
	}, {
		Method: http.MethodGet, Path: "/openapi.json", ID: "getOpenAPI", Right: access.Public,
		Summary: "This document",
		Answers: []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "OpenAPI 3.1", Of: map[string]any{}}},
		Serve: func(w http.ResponseWriter, _ *http.Request, _ values) error {
			return s.text(w, jsonType, string(s.spec))
		},
	}}
	if s.Metrics == nil {
		return list
	}
	return append(list, route{
		Method: http.MethodGet, Path: "/metrics", ID: "getMetrics", Right: access.Read,
		Summary:  "Metrics in the Prometheus text format",
		Doc:      "Not for billing: use the report.",
		AnyQuery: true,
		Answers:  []content{{Status: http.StatusOK, MediaType: "text/plain", Doc: "Metrics"}},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			s.Metrics.ServeHTTP(w, r)
			return nil
		},
	})
}

// Status is the answer of GET /v1/status. Fields are only added.
type Status struct {
	ServiceStatus string            `json:"service_status" enum:"starting,running,unhealthy"`
	Reason        string            `json:"reason,omitempty" doc:"why it is not running"`
	Site          string            `json:"site,omitempty" doc:"label of the cluster"`
	Version       string            `json:"version"`
	Time          time.Time         `json:"time" doc:"of the daemon"`
	License       License           `json:"license"`
	Instances     []InstanceStatus  `json:"instances" nullable:"false" doc:"every daemon of the cluster"`
	Ledger        *LedgerStatus     `json:"ledger,omitempty" doc:"absent without a store"`
	Behind        *BehindStatus     `json:"behind,omitempty" doc:"a node holds a checkpoint that this ledger does not lead to"`
	Settings      *SettingsStatus   `json:"settings,omitempty"`
	Nodes         []NodeStatus      `json:"nodes" nullable:"false"`
	Meters        []MeterStatus     `json:"meters" nullable:"false"`
	Pools         []PoolStatus      `json:"pools" nullable:"false" doc:"of floating seats; GET /v1/seats has the holders"`
	Variables     map[string]string `json:"variables,omitempty" doc:"device variables, which the next boot record carries"`
	Rejected      map[string]int64  `json:"rejected" doc:"refusals that are not yet in a record, by reason"`
	RejectedToday int               `json:"rejected_today" doc:"refused events of this UTC day that are kept, at most 1,000; GET /v1/rejected shows them"`
	Rate          *Rate             `json:"rate,omitempty" doc:"how fast events are counted"`
	LastHeard     *time.Time        `json:"last_heard,omitempty" doc:"when something of any node was stored last"`
	Refused       *Refusal          `json:"refused,omitempty" doc:"why the daemon refused to start and only holds"`
	Store         map[string]int64  `json:"store,omitempty" doc:"sizes in bytes"`
	Exports       []ExportStatus    `json:"exports" nullable:"false" doc:"by a schedule; GET /v1/exports has their runs"`
}

// Rate is how many events a second were counted, on average.
type Rate struct {
	TenSeconds float64 `json:"last_10s"`
	Minute     float64 `json:"last_60s"`
}

// Refusal is why a daemon that holds did not start, and the way out.
type Refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

// InstanceStatus is one daemon of the cluster.
type InstanceStatus struct {
	Name          string    `json:"name"`
	ServiceStatus string    `json:"service_status" enum:"starting,running,unhealthy"`
	Version       string    `json:"version"`
	Started       time.Time `json:"started"`
}

// LedgerStatus is the ledger of GET /v1/status.
type LedgerStatus struct {
	Origin      string     `json:"origin"`
	Opened      *time.Time `json:"opened,omitempty"`
	Records     uint64     `json:"records"`
	Root        string     `json:"root" doc:"base64"`
	Time        *time.Time `json:"time,omitempty" doc:"of the last group"`
	ClosedUntil *time.Time `json:"closed_until,omitempty" doc:"windows up to here are closed"`
	Cursor      uint64     `json:"cursor" doc:"last group of the stream that is counted"`
	Events      uint64     `json:"events" doc:"in the stream up to the cursor"`
	IDs         uint64     `json:"ids" doc:"event ids that are remembered"`
	Boots       uint64     `json:"boots"`
	Closes      uint64     `json:"closes"`
	Retired     bool       `json:"retired"`
	Restores    int        `json:"restores" doc:"how often it was restored"`
	RuleBook    string     `json:"rulebook,omitempty"`
}

// BehindStatus is why a ledger is rolled_back with the code behind_node.
type BehindStatus struct {
	Node   string     `json:"node"`
	Size   uint64     `json:"size" doc:"of the checkpoint that it holds"`
	Root   string     `json:"root" doc:"base64"`
	Time   *time.Time `json:"time,omitempty" doc:"when it said so"`
	Record uint64     `json:"record" doc:"that says so"`
}

// SettingsStatus are the settings that are fixed for a ledger.
type SettingsStatus struct {
	WindowSeconds   int64 `json:"window_seconds"`
	LatenessSeconds int64 `json:"lateness_seconds"`
	HorizonSeconds  int64 `json:"id_horizon_seconds"`
	Trace           bool  `json:"trace_clock"`
}

// NodeStatus is one node and its account: accepted = counted + duplicate +
// rejected + quarantined + voided + open.
type NodeStatus struct {
	Name          string     `json:"name"`
	LastHeard     *time.Time `json:"last_heard,omitempty"`
	CoveredUntil  *time.Time `json:"covered_until,omitempty" doc:"known to be alive up to here"`
	SilentSeconds int64      `json:"silent_seconds"`
	Accepted      uint64     `json:"accepted"`
	Counted       uint64     `json:"counted"`
	Duplicate     uint64     `json:"duplicate"`
	Rejected      uint64     `json:"rejected"`
	Quarantined   uint64     `json:"quarantined"`
	Voided        uint64     `json:"voided"`
	Open          uint64     `json:"open" doc:"in windows that are not yet closed"`
	Epoch         uint64     `json:"epoch,omitempty" doc:"numbering of its events, if they are numbered"`
	Next          uint64     `json:"next,omitempty"`
	CountedSeq    uint64     `json:"counted_seq,omitempty" doc:"numbers below it are counted on disk, which the node is told"`
	SeenEpoch     uint64     `json:"seen_epoch,omitempty" doc:"of its newest seen record"`
	SeenSeq       uint64     `json:"seen_seq,omitempty" doc:"numbers below it were counted, as it was told by then"`
	SeenSize      uint64     `json:"seen_size,omitempty" doc:"of the checkpoint that it held then"`
}

// MeterStatus is one meter: what was counted, and what the license says of it.
// Quantities are in its smallest unit.
type MeterStatus struct {
	ID          string `json:"id"`
	Unit        string `json:"unit,omitempty"`
	Scale       int    `json:"scale" doc:"decimals: a quantity of 1 is 10^-scale units"`
	Aggregation string `json:"aggregation" enum:"count,sum,min,max,latest,unique,weighted,peak"`
	SinceClose  int64  `json:"since_close" doc:"since the last close record"`
	UsedTotal   int64  `json:"used_total" doc:"in closed windows"`
	Adjusted    int64  `json:"adjusted" doc:"by corrections; not in used_total"`
	Events      uint64 `json:"events"`

	Licensed         *bool      `json:"licensed,omitempty" doc:"whether the license lists it; absent without license"`
	SinceReceipt     *int64     `json:"used_since_receipt,omitempty" doc:"since the newest receipt"`
	Period           *int64     `json:"used_period,omitempty" doc:"in the current period of its limit, open windows included; without a limit in this month"`
	Limit            *int64     `json:"limit,omitempty" doc:"with the credit of this period; absent: unlimited"`
	Remaining        *int64     `json:"remaining,omitempty" doc:"inside the limit"`
	OverageRemaining *int64     `json:"overage_remaining,omitempty" doc:"beyond the limit; absent: unlimited, or no limit"`
	ResetsAt         *time.Time `json:"resets_at,omitempty"`
	Alert            int        `json:"alert,omitempty" doc:"percent of the limit that is reached: 50, 80, 90 or 100"`
}

// service returns the service_status, and why it is not running.
func (s *server) service() (state, reason string) {
	err := s.Ready()
	if l := s.license(); err == nil && !l.Healthy {
		err = l.refusal()
	}
	switch {
	case err == nil:
		return "running", ""
	case errors.Is(err, ErrStarting):
		return codeStarting, err.Error()
	}
	return "unhealthy", err.Error()
}

func (s *server) getStatus(w http.ResponseWriter, _ *http.Request, q values) error {
	state, reason := s.service()
	out := Status{
		ServiceStatus: state, Reason: reason, Site: s.Site, Version: s.Version, Time: s.Now().UTC(),
		License:   s.license(),
		Instances: []InstanceStatus{{s.Instance, state, s.Version, s.Started.UTC()}},
		Nodes:     []NodeStatus{}, Meters: []MeterStatus{}, Pools: []PoolStatus{}, Rejected: map[string]int64{}, Exports: s.exportStates(),
	}
	if s.Sizes != nil {
		out.Store = s.Sizes()
	}
	if s.Rate != nil {
		r := s.Rate()
		out.Rate = &r
	}
	if p := s.Refused; p != nil {
		out.Refused = &Refusal{p.Code, p.Message, p.Hint}
	}
	if q.Flag["brief"] && !s.StoreDisabled {
		out.fill(s.Store.Glance(), nil)
	} else if !s.StoreDisabled {
		_, counted := s.Store.Counted(nil)
		out.fill(s.Store.Status(), counted)
		out.Pools = DescribePools(s.Store.Pools())
		if s.Variables != nil {
			out.Variables = variableMap(s.Variables.Variables())
		}
		out.limits()
		list, err := s.Store.Rejected(maxRejected)
		if err != nil {
			return storeProblem(err)
		}
		out.RejectedToday = since(list, s.Now().UTC().Truncate(24*time.Hour))
	}
	return s.answer(w, http.StatusOK, out)
}

// since counts those of list, newest first, that are not from before an instant.
func since(list []projections.Rejected, t time.Time) int {
	i := slices.IndexFunc(list, func(r projections.Rejected) bool { return r.Time.Before(t) })
	if i < 0 {
		return len(list)
	}
	return i
}

func (out *Status) fill(st projections.Status, counted []projections.Counted) {
	synced := map[string]projections.Counted{}
	for _, c := range counted {
		synced[c.Node] = c
	}
	out.Ledger = &LedgerStatus{
		Origin: st.Origin, Opened: given(st.Opened), Records: st.Records, Root: st.Root.String(), Time: given(st.Time), ClosedUntil: given(st.ClosedUntil),
		Cursor: st.Cursor.Seq, Events: st.Cursor.Next, IDs: st.IDs, Boots: st.Boots, Closes: st.Closes, Retired: st.Retired, Restores: len(st.Restores), RuleBook: st.RuleBook,
	}
	if b := st.Behind; b != nil {
		out.Behind = &BehindStatus{b.Node, b.Size, b.Root.String(), given(b.Time), b.Index}
	}
	out.Settings = &SettingsStatus{int64(st.Settings.Window / time.Second), int64(st.Settings.Lateness / time.Second),
		int64(st.Settings.Horizon / time.Second), st.Settings.Trace}
	for _, n := range st.Nodes {
		node := NodeStatus{
			Name: n.Name, LastHeard: given(n.LastHeard), CoveredUntil: given(n.CoveredUntil), SilentSeconds: n.SilentSeconds,
			Accepted: n.Accepted, Counted: n.Counted, Duplicate: n.Duplicate, Rejected: n.Rejected,
			Quarantined: n.Quarantined, Voided: n.Voided, Open: n.Open, Epoch: n.Epoch, Next: n.Next, CountedSeq: synced[n.Name].Next,
		}
		if n.Seen != nil {
			node.SeenEpoch, node.SeenSeq, node.SeenSize = n.Seen.Epoch, n.Seen.Seq, n.Seen.Size
		}
		if h := node.LastHeard; h != nil && (out.LastHeard == nil || out.LastHeard.Before(*h)) {
			out.LastHeard = h
		}
		out.Nodes = append(out.Nodes, node)
	}
	for _, m := range st.Meters {
		out.Meters = append(out.Meters, MeterStatus{ID: m.Meter.ID, Unit: m.Meter.Unit, Scale: m.Meter.Scale, Aggregation: m.Meter.Aggregation.String(),
			SinceClose: m.SinceClose, UsedTotal: m.Total, Adjusted: m.Adjusted, Events: m.Events})
	}
	out.Rejected = map[string]int64{}
	for reason, n := range st.Rejected {
		out.Rejected[reason] = int64(n)
	}
}

// limits adds to each meter what the license says of it.
func (out *Status) limits() {
	for i := range out.Meters {
		m := &out.Meters[i]
		l, ok := out.License.Meters[m.ID]
		if !ok {
			continue
		}
		m.Licensed, m.SinceReceipt, m.Period = &l.Licensed, &l.SinceReceipt, &l.Period
		m.Limit, m.Remaining, m.OverageRemaining, m.ResetsAt = l.Limit, l.Remaining, l.OverageRemaining, l.ResetsAt
		m.Alert = l.Alert
	}
}

// given returns nil for an instant that is not known: the zero time, and 1970
// of a stream without groups.
func given(t time.Time) *time.Time {
	if t.IsZero() || t.Unix() == 0 {
		return nil
	}
	return &t
}

func (s *server) getCheckpoint(w http.ResponseWriter, r *http.Request, _ values) error {
	if s.StoreDisabled {
		return noStore()
	}
	// A checkpoint may be shown only when what it covers is on disk.
	synced, err := s.Store.Sync(r.Context())
	if err != nil {
		return storeProblem(err)
	}
	if synced.Checkpoint == nil {
		return &Problem{Status: http.StatusNotFound, Code: codeNotFound, Message: "the ledger has no checkpoint yet", Hint: "ask again in a second"}
	}
	return s.text(w, textType, string(synced.Checkpoint))
}

// text writes a text.
func (s *server) text(w http.ResponseWriter, contentType, body string) error {
	w.Header().Set("Content-Type", contentType)
	_, err := io.Copy(w, strings.NewReader(body))
	if err != nil {
		s.Log.Debug("answer not written", "err", err)
	}
	return nil
}

// getHealth is for monitors that look at the status only: an empty body says
// that this is no answer of an application (P-24).
func (s *server) getHealth(w http.ResponseWriter, _ *http.Request, _ values) error {
	if l := s.license(); s.Ready() == nil && l.Healthy {
		return s.text(w, textType, "OK")
	}
	w.WriteHeader(http.StatusInternalServerError)
	return nil
}

// getReady says whether events are taken. Without ?licensed=1 it says nothing
// about the license, so that one that ended never takes metering out of a load
// balancer.
func (s *server) getReady(w http.ResponseWriter, _ *http.Request, q values) error {
	if err := s.Ready(); err != nil {
		p := problemOf(err)
		p.Status = http.StatusServiceUnavailable
		switch {
		case errors.Is(err, ErrStarting):
			p.Code, p.Hint = codeStarting, "ask again in a second"
		case p.Code == codeInternal:
			p.Code = codeNotReady
		}
		return p
	}
	if s.StoreDisabled {
		return noStore()
	}
	switch l := s.license(); {
	case !l.Ready:
		return l.refusal()
	case q.Flag["licensed"] && l.Code == codeLicense:
		return &Problem{Status: http.StatusServiceUnavailable, Code: codeLicense,
			Message: "there is no license: this site evaluates, and everything is counted",
			Hint:    "/readyz without licensed says whether events are taken"}
	case q.Flag["licensed"] && !l.Licensed:
		return l.refusal()
	}
	return s.text(w, textType, "OK")
}
