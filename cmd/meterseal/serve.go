package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/systemd"
	"github.com/meterseal/meterseal/license"
)

func (a *app) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a site: take events, count, seal",
		Long: `Run a site. Applications publish events to usage.<node>.<meter> on its NATS
server, or POST them to /v1/events. Without any option it keeps its data in
./meterseal-data and listens on loopback only.

Every setting is also a variable (METERSEAL_STORE_DIR) and a key of the
configuration file; "meterseal config show" lists them with their origin.`,
		Example: `  meterseal serve --meter documents.processed:count
  meterseal serve --config /etc/meterseal/meterseal.yaml
  nats pub usage.n1.documents.processed '{"id":"a1"}'`,
		Args: cobra.NoArgs,
	}
	configFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		if os.Getenv("GOGC") == "" {
			debug.SetGCPercent(gcPercent)
		}
		return a.serve(cmd.Context(), cfg, func(r *running) { a.tellReady(cfg, r) })
	}
	return cmd
}

// gcPercent of a daemon. Most of its heap is events on their way, gone within
// milliseconds, and the index of their ids; collecting half as often as Go does
// by default costs some tens of megabytes and saves about 4 % of its time.
const gcPercent = 200

// tellReady says where the daemon listens and keeps its data: for people, or as
// one line of the log for programs.
func (a *app) tellReady(cfg *Config, r *running) {
	origin := "none"
	if r.site != nil {
		origin = r.site.keys.origin()
	}
	if cfg.LogFormat == "json" {
		args := []any{"version", version, "ledger", origin, "path", cfg.DataDir, "nats", r.natsURL(), "http", r.httpURL(), "meters", len(cfg.Meters)}
		for _, o := range r.others() {
			args = append(args, o[0], o[1])
		}
		newLog(a.Err, cfg).Info("ready", args...)
		return
	}
	fmt.Fprintf(a.Err, "meterseal %s\n", version)
	fmt.Fprintf(a.Err, "ledger  %s\n", origin)
	data := cfg.DataDir
	if cfg.origin["store.dir"] == "default" {
		data += "   (the default; --data chooses another)"
	}
	fmt.Fprintf(a.Err, "data    %s\n", data)
	if r.site != nil {
		fmt.Fprintf(a.Err, "nats    %s\n", r.natsURL())
	}
	fmt.Fprintf(a.Err, "http    %s\n", r.httpURL())
	for _, o := range r.others() {
		fmt.Fprintf(a.Err, "%-7s %s\n", o[0], o[1])
	}
	console := r.httpURL() + "/"
	if link := r.firstLink(); link != "" {
		console = link + "   (makes the first operator)"
	}
	fmt.Fprintf(a.Err, "console %s\n", console)
	switch {
	case r.site == nil:
		fmt.Fprintln(a.Err, "ready   no store: events are refused (store.dir is none)")
	case r.site.terms.Load().shown() != nil:
		l := licensing{r.site}.License()
		fmt.Fprintf(a.Err, "license %s %s, %s\n", l.ID, l.State, l.License)
		fmt.Fprintf(a.Err, "ready   %s\n", cli.Plural(len(r.site.metersOf(r.site.terms.Load().license)), "meter"))
	case len(cfg.Meters) == 0:
		fmt.Fprintln(a.Err, "ready   no meter is declared yet: every event will be refused")
		fmt.Fprintf(a.Err, "        declare one: %s serve --meter documents.processed:count\n", a.Called)
	default:
		fmt.Fprintf(a.Err, "ready   %s; without a license everything is counted (evaluation)\n", cli.Plural(len(cfg.Meters), "meter"))
	}
}

// logCode is the documented code of an error in the log; empty: it has none.
func logCode(err error) string {
	if f := describeError(err); f.Code != "error" && f.Code != "internal_error" {
		return f.Code
	}
	return ""
}

// newLog returns the daemon's log; recent remember its last lines.
func newLog(w io.Writer, cfg *Config, recent ...*recentLines) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.LogLevel)) // was checked with the configuration
	o := &slog.HandlerOptions{Level: level}
	h := slog.Handler(slog.NewTextHandler(w, o))
	if cfg.LogFormat == "json" {
		h = slog.NewJSONHandler(w, o)
	}
	for _, r := range recent {
		h = keepingHandler{h, r}
	}
	return slog.New(cli.CodedLog(h, logCode))
}

// running is a daemon that serves.
type running struct {
	site             *site
	sessions         *access.Sessions // of operators; nil: there is no site
	httpAddr         string
	httpTLS, natsTLS bool

	recent                 *recentLines // of the log
	metrics                http.Handler // of GET /metrics; nil: there is no site
	metricsAddr, debugAddr string       // listeners of their own; "": none
}

// others are the listeners of their own, as pairs of what and where.
func (r *running) others() (list [][2]string) {
	if r.metricsAddr != "" {
		list = append(list, [2]string{"metrics", "http://" + r.metricsAddr + "/metrics"})
	}
	if r.debugAddr != "" {
		list = append(list, [2]string{"debug", "http://" + r.debugAddr + "/debug/pprof/"})
	}
	return list
}

// httpURL is where the HTTP API is.
func (r *running) httpURL() string {
	if r.httpTLS {
		return "https://" + r.httpAddr
	}
	return "http://" + r.httpAddr
}

// firstLink is where somebody becomes the first operator; empty: there is one.
func (r *running) firstLink() string {
	if r.sessions == nil {
		return ""
	}
	if link := r.sessions.FirstLink(); link != "" {
		return r.httpURL() + console.WelcomePath(link)
	}
	return ""
}

// natsURL is where applications connect.
func (r *running) natsURL() string {
	if r.site == nil {
		return ""
	}
	addr := r.site.stream.Addr()
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" {
		if r.natsTLS {
			return "tls://" + addr
		}
		return "nats://" + addr
	}
	u.User = nil // credentials are not for the log
	return u.String()
}

// serve runs the daemon until ctx ends or a part fails: it opens the parts in
// the order of an event's path and closes them in the reverse.
func (a *app) serve(ctx context.Context, cfg *Config, ready func(*running)) (err error) {
	recent := &recentLines{}
	log := newLog(a.Err, cfg, recent)
	listener, err := net.Listen("tcp", cfg.HTTP.Address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return cli.Fail(cli.ExitUsage, "listen_address_in_use", "stop what listens there, or choose another --http", "http.listen %s is taken", cfg.HTTP.Address)
	}
	if err != nil {
		return fmt.Errorf("listen on %s: %w", cfg.HTTP.Address, err)
	}
	defer listener.Close()
	certs, err := readCertificates(&cfg.HTTP)
	if err != nil {
		return err
	}
	r := &running{recent: recent, httpAddr: listener.Addr().String(), httpTLS: certs != nil, natsTLS: cfg.NATS.CertFile != ""}
	if err := cfg.checkStoreGiven(); err != nil && cfg.Hold {
		return a.hold(ctx, cfg, listener, certs, err, log)
	} else if err != nil {
		return err
	}
	if cfg.DataDir != "none" {
		if r.site, err = openSite(ctx, cfg, a.clock, log); err != nil && cfg.Hold {
			return a.hold(ctx, cfg, listener, certs, err, log)
		} else if err != nil {
			return err
		}
		if r.sessions, err = access.NewSessions(r.site.book, nil); err != nil {
			return err
		}
		defer func() {
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 60*time.Second)
			defer cancel()
			err = errors.Join(err, r.site.close(stop))
			log.Info("stopped")
		}()
	}
	if r.site != nil {
		r.metrics = newMetrics(r.site)
	}
	beside, err := openAside(cfg, r, log)
	if err != nil {
		return err
	}
	srv := console.NewServer(console.New(a.consoleOptions(cfg, r, log)))
	failed := make(chan error, 1)
	if cfg.HTTP.guarded() && r.site != nil {
		listener = newBoundedListener(listener, r.site.refusals.Note)
	}
	go func() { failed <- serveHTTP(srv, listener, certs) }()
	if r.site != nil {
		rereadOnHangup(ctx, log, certs, r.site.certificates)
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = srv.Shutdown(stop)
		_ = beside.close(stop)
	}()
	systemd.Ready(log)
	defer systemd.Stopping(log)
	ready(r)
	var fatal chan error
	if r.site != nil {
		fatal = r.site.fatal
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-fatal:
		return err
	case err := <-failed:
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("serve http: %w", err)
	}
}

// hold serves status, health and documents of a daemon that refused to start,
// until ctx ends: an orchestrator that restarts for ever would only hide why. Its
// exit code is that of the refusal then.
func (a *app) hold(ctx context.Context, cfg *Config, listener net.Listener, certs *certificates, refused error, log *slog.Logger) error {
	f := describeError(refused)
	f.Print(&a.Program)
	log.Error("refused to start, holding", "code", f.Code, "http", "http://"+listener.Addr().String())
	srv := console.NewServer(console.New(console.Options{
		Site: cfg.SiteName, Version: version, Started: time.Now(), Hosts: append([]string{cfg.HTTP.Address, listener.Addr().String()}, cfg.HTTP.Names...), Log: log,
		LoopbackToken: cfg.HTTP.LoopbackNeedsProof, Pages: func(api http.Handler) http.Handler { return newPages(cfg, &running{}, api, log) }, Licensing: heldLicense{refused: f}, Refused: &console.Problem{Status: http.StatusServiceUnavailable, Code: f.Code, Message: f.Message, Hint: f.Hint},
	}))
	failed := make(chan error, 1)
	go func() { failed <- serveHTTP(srv, listener, certs) }()
	systemd.Ready(log) // to hold is what it was told to do
	select {
	case <-ctx.Done():
		systemd.Stopping(log)
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return errors.Join(srv.Shutdown(stop), &cli.Failure{Exit: f.Exit})
	case err := <-failed:
		return fmt.Errorf("serve http: %w", err)
	}
}

// heldLicense is the license of a daemon that refused to start: only its state is
// ever asked for.
type heldLicense struct {
	console.Licensing // the rest is never asked: every other route answers the refusal
	refused           *cli.Failure
}

// License is console.Licensing.
func (h heldLicense) License() console.License {
	return console.License{Status: h.status(), Message: h.refused.Message, ExitCode: h.refused.Exit}
}

// status is the state that the refusal comes to. A store that cannot be used is a
// matter of its own and says nothing about the license.
func (h heldLicense) status() license.Status {
	var none *license.License
	facts := license.Facts{}
	switch h.refused.Exit {
	case cli.ExitLicense, cli.ExitHistory, cli.ExitVersion:
		facts.Refused = &license.Error{Code: h.refused.Code, Message: h.refused.Message, Hint: h.refused.Hint}
	}
	return none.State(facts, time.Now())
}
