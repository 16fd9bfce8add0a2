package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"syscall"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/cli"
)

// aside are the listeners beside that of the HTTP API, for programs of this
// machine: metrics.listen and debug.listen.
type aside struct {
	log     *slog.Logger
	servers []*http.Server
}

// openAside listens where the configuration says so, and notes the addresses in r.
func openAside(cfg *Config, r *running, log *slog.Logger) (*aside, error) {
	a := &aside{log: log}
	if cfg.MetricsAddress != "" && r.metrics != nil {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", r.metrics)
		if err := a.serve("metrics.listen", cfg.MetricsAddress, mux, &r.metricsAddr); err != nil {
			return nil, err
		}
	}
	if cfg.DebugAddress != "" {
		if err := a.serve("debug.listen", cfg.DebugAddress, profiles(), &r.debugAddr); err != nil {
			return nil, errors.Join(err, a.close(context.Background()))
		}
	}
	return a, nil
}

func (a *aside) serve(key, address string, h http.Handler, at *string) error {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return cli.Fail(cli.ExitUsage, "listen_address_in_use", "stop what listens there, or choose another "+key, "%s %s is taken", key, address)
	}
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	*at = l.Addr().String()
	srv := console.NewServer(onlyByAddress(h))
	a.servers = append(a.servers, srv)
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("listener ended", "listener", key, "code", "internal_error", "err", err)
		}
	}()
	return nil
}

// onlyByAddress refuses who asks by a name: a page of another site can have its
// own name lead to this machine, and nobody is asked who he is here.
func onlyByAddress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l := (ListenConfig{Address: r.Host}); l.beyondLoopback() {
			http.Error(w, "ask by the address that is listened on", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// profiles serves what net/http/pprof has, without the default mux: nothing else
// can appear there.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// close ends the listeners; a profile that is being taken may end first.
func (a *aside) close(ctx context.Context) error {
	var errs []error
	for _, s := range a.servers {
		if err := s.Shutdown(ctx); err != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}
