package main

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/console/web"
	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/projections"
)

// consoleOptions wires the HTTP API to the site.
func (a *app) consoleOptions(cfg *Config, r *running, log *slog.Logger) console.Options {
	o := console.Options{
		DocumentMeter: cfg.DocumentMeter, Hosts: append([]string{cfg.HTTP.Address, r.httpAddr}, cfg.HTTP.Names...), Site: cfg.SiteName, Version: version, Started: time.Now(), Log: log,
		StoreDisabled: r.site == nil, OpenMeter: cfg.OpenMeter, LoopbackToken: cfg.HTTP.LoopbackNeedsProof,
	}
	o.Pages = func(api http.Handler) http.Handler { return newPages(cfg, r, api, log) }
	o.Config = cfg.describe
	if r.site == nil {
		return o
	}
	o.Rate = r.site.rate.now
	if !cfg.Fold.Trace {
		o.Future = cfg.Future
	}
	o.Retention, o.Tail = cfg.Retention, &r.site.tail
	o.Tokens, o.Accounts, o.OnRefusal = r.site.book, accounts{r.site.book, r.site}, r.site.refusals.Note
	o.Sessions = r.sessions
	o.Licensing, o.Now = licensing{r.site}, r.site.clock.Wall
	o.Intake, o.Reporter, o.Store, o.Meters = intake{r.site}, reporter{r.site}, r.site.store, r.site.meters.Load
	o.Reports = &reports{site: r.site}
	o.Control = func(ctx context.Context, line string) (uint64, error) {
		seq, err := r.site.gateway.Control(ctx, line)
		if err != nil {
			return 0, gatewayError(err)
		}
		return seq, nil
	}
	o.Seats, o.Variables, o.Exports = seats{r.site}, variables{r.site}, r.site.exporter
	o.Checks, o.Proofs = checker{r.site}, prover{r.site}
	o.Health, o.Support = r.site.health, supporter{r, cfg}.write
	o.Ready, o.Metrics, o.Backup = r.site.ready, r.metrics, r.site.backupNoted
	return o
}

// newPages returns the console's pages.
func newPages(cfg *Config, r *running, api http.Handler, log *slog.Logger) http.Handler {
	o := web.Options{API: api, Site: cfg.SiteName, Version: version, NATS: r.natsURL(), Zone: time.Local, Log: log}
	if r.sessions != nil {
		o.SignIn = r.sessions
	}
	s, err := web.New(o)
	if err != nil { // the templates are compiled in, and tests parse them
		panic(err)
	}
	return s.Handler()
}

// intake hands events of HTTP to the gateway.
type intake struct{ *site }

// Submit is console.Intake.
func (i intake) Submit(ctx context.Context, node string, evs []events.Event) (uint64, []events.Disposition, error) {
	res, err := i.gateway.Submit(ctx, node, evs)
	if err != nil {
		return 0, nil, gatewayError(err)
	}
	seq, ds, not := uint64(0), make([]events.Disposition, len(res)), console.Refusals{}
	for k, r := range res {
		seq, ds[k] = max(seq, r.Seq), r.Disposition
		if r.Err != nil && !r.Disposition.Refused() { // else the console says what the fold decided
			not[k] = r.Err
		}
	}
	if len(not) > 0 {
		return seq, ds, not
	}
	return seq, ds, nil
}

// gatewayError gives what the gateway refuses for now its code and status.
func gatewayError(err error) error {
	return storeProblem(err, "keep the events and send them again; with an id they count once")
}

// controlError is gatewayError of what a person asked for.
func controlError(err error) error {
	return storeProblem(err, "free space on the disk of the daemon, or see its log; then do it again")
}

func storeProblem(err error, hint string) error {
	code := stream.Code(err)
	if status := events.StatusOf(code); status != 429 && status != 503 {
		return err
	}
	return &events.Error{Code: code, Message: err.Error(), Hint: hint}
}

// Refuse is console.Intake.
func (i intake) Refuse(node, reason string, data []byte, err error) {
	var ev *events.Error
	if !errors.As(err, &ev) {
		ev = &events.Error{Code: reason, Message: err.Error()}
	}
	i.gateway.Refuse(node, "", ev, data)
}

// reporter writes usage reports for HTTP.
type reporter struct{ *site }

// Report is console.Reporter.
func (p reporter) Report(ctx context.Context, o console.ReportOptions) (*console.Report, error) {
	q, err := p.reportRequest(o)
	if err != nil {
		return nil, err
	}
	f, w, err := p.report(ctx, q)
	if err != nil {
		return nil, reportProblem(err)
	}
	return &console.Report{PreparedReport: preparedReport(w), Close: func() { f.Close() }, Write: func(out io.Writer) error {
		_, err := io.Copy(out, f)
		if err == nil {
			p.note(docExported)
		}
		return err
	}}, nil
}

// reportRequest reads what is asked for.
func (s *site) reportRequest(o console.ReportOptions) (reportRequest, error) {
	q := reportRequest{from: o.From, until: o.Until, closeNow: o.CloseNow, level: s.cfg.Level}
	if o.Level == "" {
		return q, nil
	}
	level, err := export.ParseLevel(strings.ToLower(o.Level))
	if err != nil {
		return q, &console.Problem{Status: 400, Code: "malformed", Message: err.Error(), Hint: "use standard, pseudonymous or detailed"}
	}
	q.level = level
	return q, nil
}

func preparedReport(w *export.Written) console.PreparedReport {
	return console.PreparedReport{Name: w.Name, From: w.From, Until: w.To, Level: w.Level.String(), Records: w.Records, Events: w.Events, Bytes: w.Bytes,
		SHA256: hex.EncodeToString(w.SHA256[:])}
}

// reportProblem says over HTTP why there is no report.
func reportProblem(err error) error {
	var f *cli.Failure
	switch {
	case errors.As(err, &f):
		return &console.Problem{Status: 409, Code: f.Code, Message: f.Message, Hint: f.Hint}
	case errors.Is(err, export.ErrNothingNew):
		return &console.Problem{Status: 409, Code: "nothing_new", Message: "nothing was closed since that size", Hint: "wait for a window to close, or use --close-now"}
	case errors.Is(err, projections.ErrPruned):
		return &console.Problem{Status: 422, Code: "history/base_missing", Message: err.Error(), Hint: "give --from a size that a later receipt covers"}
	case errors.Is(err, export.ErrRange), errors.Is(err, export.ErrNoCheckpoint):
		return &console.Problem{Status: 422, Code: "history/base_missing", Message: err.Error(), Hint: "give --from and --until sizes after a close, as in an accepted report"}
	}
	return controlError(err)
}
