package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
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
API. It listens on loopback unless told otherwise.`,
		Example: "  meterseal-vendor serve\n  meterseal-vendor serve --data V --listen 127.0.0.1:8443",
		Args:    cobra.NoArgs,
	}
	dataFlags(cmd)
	cmd.Flags().String("listen", "127.0.0.1:8090", "address to listen on")
	cmd.Flags().String("public-url", "", "address under which people open the portal")
	cmd.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, _ []string) error {
		listen, _ := cmd.Flags().GetString("listen")
		public, _ := cmd.Flags().GetString("public-url")
		l, err := net.Listen("tcp", listen)
		if err != nil {
			return cli.Fail(cli.ExitUsage, "listen_address_in_use", "choose another --listen", "%v", err)
		}
		handler, err := a.portalHandler(p, public, slog.New(slog.NewTextHandler(a.Err, nil)))
		if err != nil {
			return err
		}
		return a.serve(cmd.Context(), l, handler)
	})
	return cmd
}

// portalHandler puts pages and API behind the gate.
func (a *app) portalHandler(p *portal.Portal, public string, log *slog.Logger) (http.Handler, error) {
	g, err := gate.New(gate.Options{Portal: p, PublicURL: public, Now: a.now, Log: log})
	if err != nil {
		return nil, err
	}
	pages, err := web.New(web.Options{Portal: p, Gate: g, Now: a.now, Log: log, Version: version})
	if err != nil {
		return nil, err
	}
	programs, err := api.New(api.Options{Portal: p, Now: a.now, Log: log, Version: version})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", programs.Handler())
	mux.Handle("/openapi.json", programs.Handler())
	mux.Handle("/", pages.Handler())
	return g.Wrap(mux), nil
}

// serve answers until ctx ends, then lets requests that are under way finish.
func (a *app) serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10}
	fmt.Fprintf(a.Out, "portal  http://%s/\n", l.Addr())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	err := server.Shutdown(stop)
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
