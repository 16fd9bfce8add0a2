package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/mailer"
	"github.com/meterseal/meterseal/internal/systemd"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/api"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/web"
)

// shutdownTime is how long requests that are under way may take when the portal
// ends.
const shutdownTime = 30 * time.Second

func (a *app) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the portal: pages for staff and customers, and the API",
		Long: `Serve the portal: pages for the vendor's staff and for customers, and the JSON
API. Where nobody can sign in yet it prints an address that works once: its page
makes the administrator, and the vendor's keys and database if there are none.

It listens on loopback unless told otherwise. Elsewhere it wants TLS, or
--behind-proxy if a proxy on the way speaks TLS.`,
		Example: "  meterseal-vendor serve\n  meterseal-vendor serve --data V --listen :443 --tls-cert cert.pem \\\n      --tls-key key.pem --public-url https://portal.vendor.example",
		Args:    cobra.NoArgs,
	}
	dataFlags(cmd)
	f := cmd.Flags()
	f.String("listen", "127.0.0.1:8090", "address to listen on")
	f.String("public-url", "", "address under which people open the portal")
	f.String("tls-cert", "", "certificate with its chain, PEM")
	f.String("tls-key", "", "its private key, PEM")
	f.Bool("behind-proxy", false, "plain HTTP also beyond loopback: a proxy has TLS")
	f.String("metrics", "", "loopback address for /metrics (default nowhere)")
	f.StringSlice("trusted-proxy", nil, "address or net of proxies to believe")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := a.serverOf(cmd)
		if err != nil {
			return err
		}
		return s.run(cmd)
	}
	return cmd
}

// A server is one run of serve.
type server struct {
	*app
	d       *data
	gate    gate.Options
	listen  string
	tls     *tls.Config // nil: plain
	log     *slog.Logger
	smtp    mailer.Relay
	behind  *background
	portal  *portal.Portal // nil: not made yet
	handler atomic.Pointer[http.Handler]
	open    func() (*gate.Gate, error)
}

// serverOf reads the flags of serve and opens what there is.
func (a *app) serverOf(cmd *cobra.Command) (*server, error) {
	d, err := dataOf(cmd)
	if err != nil {
		return nil, err
	}
	s := &server{app: a, d: d, log: slog.New(cli.CodedLog(slog.NewTextHandler(a.Err, nil), logCode))}
	s.open = sync.OnceValues(s.begin)
	s.listen, _ = cmd.Flags().GetString("listen")
	if err := errors.Join(s.readAccess(cmd), s.readMail()); err != nil {
		return nil, err
	}
	s.behind = newBackground(cmd.Context())
	s.onIntake = s.behind.metrics.taken
	s.gate.OnFailure = s.behind.metrics.failures.Inc
	if s.portal, err = a.open(cmd); errors.Is(err, portal.ErrNoKeys) {
		return s, nil
	}
	return s, err
}

func (s *server) run(cmd *cobra.Command) (err error) {
	defer func() {
		s.behind.end()
		if s.portal != nil {
			err = errors.Join(err, s.portal.Close())
		}
	}()
	l, err := net.Listen("tcp", s.listen)
	if err != nil {
		return cli.Fail(cli.ExitUsage, "listen_address_in_use", "choose another --listen", "%v", err)
	}
	defer l.Close()
	metrics, _ := cmd.Flags().GetString("metrics")
	if err := s.behind.serveMetrics(s, metrics); err != nil {
		return err
	}
	users := false
	if s.portal != nil {
		if users, err = s.portal.HasUsers(cmd.Context()); err != nil {
			return err
		}
	}
	address := s.address(l)
	if users {
		_, err = s.open()
	} else {
		address, err = s.beginSetup(cmd, address)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "portal  %s\n", address)
	return s.serve(cmd.Context(), l)
}

// address is where people find the portal.
func (s *server) address(l net.Listener) string {
	switch {
	case s.gate.PublicURL != "":
		return s.gate.PublicURL + "/"
	case s.tls != nil:
		return "https://" + l.Addr().String() + "/"
	}
	return "http://" + l.Addr().String() + "/"
}

// begin lets the pages and the API of the portal answer from now on. It is called
// through open, once.
func (s *server) begin() (*gate.Gate, error) {
	s.gate.Portal = s.portal
	g, err := gate.New(s.gate)
	if err != nil {
		return nil, err
	}
	h, err := s.portalHandler(g)
	if err == nil {
		err = s.behind.send(s)
	}
	if err == nil {
		s.handler.Store(&h)
	}
	return g, err
}

// beginSetup lets the page of the first run answer, and returns its address.
func (s *server) beginSetup(cmd *cobra.Command, address string) (string, error) {
	g, err := gate.New(s.gate)
	if err != nil {
		return "", err
	}
	o := web.SetupOptions{Gate: g, Token: rand.Text() + rand.Text(), Log: s.log, Version: version,
		Make: func(ctx context.Context, f web.SetupForm) (*gate.Gate, portal.User, error) {
			return s.setUp(cmd, ctx, g, f)
		}}
	if s.portal != nil {
		o.Domain = s.portal.Domain()
	}
	h, err := web.NewSetup(o)
	if err != nil {
		return "", err
	}
	if s.portal != nil {
		h = s.unlessUsers(s.portal, h)
	}
	h = g.Wrap(h)
	s.handler.Store(&h)
	return address + "setup?token=" + o.Token, nil
}

// unlessUsers goes on to the portal once there are users whom the page did not make: a
// command did, or another process of the same database.
func (s *server) unlessUsers(p *portal.Portal, page http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		users, err := p.HasUsers(r.Context())
		if err == nil && users {
			_, err = s.open()
		}
		switch {
		case err != nil:
			s.log.Error("portal not opened", "err", err)
			http.Error(w, "something went wrong on our side", http.StatusInternalServerError)
		case users:
			(*s.handler.Load()).ServeHTTP(w, r)
		default:
			page.ServeHTTP(w, r)
		}
	})
}

// setUp makes what the page of the first run asked for. What was made before it was
// refused is kept: asked again, it goes on from there.
func (s *server) setUp(cmd *cobra.Command, ctx context.Context, g *gate.Gate, f web.SetupForm) (*gate.Gate, portal.User, error) {
	none := portal.User{}
	phc, err := g.HashPassword(ctx, f.Password, f.Email)
	if err != nil {
		return nil, none, err
	}
	if s.portal == nil {
		s.d.unattended = true
		p, err := s.makeVendor(cmd, s.d, f.Domain, strconv.Itoa(s.now().UTC().Year()))
		if err != nil {
			return nil, none, refusal(err)
		}
		s.portal = p
	}
	if f.Vendor != "" {
		named, err := s.portal.Settings(ctx)
		if err == nil {
			named.Name = f.Vendor
			err = s.portal.SetSettings(ctx, named, "setup")
		}
		if err != nil {
			return nil, none, err
		}
	}
	u, err := s.portal.AddFirstUser(ctx, portal.User{Email: f.Email, Name: f.Name}, phc, "setup")
	if err != nil {
		return nil, none, err
	}
	g, err = s.open()
	return g, u, err
}

// refusal shows on a page what a command would have been refused with.
func refusal(err error) error {
	var f *cli.Failure
	if !errors.As(err, &f) {
		return err
	}
	return &portal.Error{Code: f.Code, Status: http.StatusUnprocessableEntity, FixBy: "vendor", Message: f.Message, Hint: f.Hint}
}

// portalHandler puts pages and API behind the gate.
func (s *server) portalHandler(g *gate.Gate) (http.Handler, error) {
	programs, err := api.New(api.Options{Portal: s.portal, Now: s.now, Log: s.log, Version: version})
	if err != nil {
		return nil, err
	}
	pages, err := web.New(web.Options{Portal: s.portal, Gate: g, Now: s.now, Log: s.log, Version: version, API: programs.Document()})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	s.health(mux)
	mux.Handle("/api/", programs.Handler())
	mux.Handle("/openapi.json", programs.Handler())
	mux.Handle("/", pages.Handler())
	return g.Wrap(s.behind.metrics.timed(mux)), nil
}

// serve answers until ctx ends, then lets requests that are under way finish.
// Bodies and answers have no time limit as a whole: the gate watches their pace.
func (s *server) serve(ctx context.Context, l net.Listener) error {
	h := &http.Server{ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10, TLSConfig: s.tls,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // what strangers send wrong
		Handler:  http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*s.handler.Load()).ServeHTTP(w, r) })}
	ended := make(chan error, 1)
	go func() {
		if s.tls != nil {
			ended <- h.ServeTLS(l, "", "")
		} else {
			ended <- h.Serve(l)
		}
	}()
	systemd.Ready(s.log)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	systemd.Stopping(s.log)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	err := h.Shutdown(stop)
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// logCode is the documented code of an error in the log; empty: it has none.
func logCode(err error) string {
	if f := describeError(err); f.Code != "error" && f.Code != "internal_error" && f.Code != "internal/error" {
		return f.Code
	}
	return ""
}
