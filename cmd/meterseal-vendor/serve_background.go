package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/mailer"
	"github.com/meterseal/meterseal/portal/notify"
)

// background is what serve does besides answering the portal's requests: it sends
// events and mails, and answers /metrics on a listener of its own.
type background struct {
	ctx     context.Context
	stop    context.CancelFunc
	group   sync.WaitGroup
	metrics *metrics
}

func newBackground(ctx context.Context) *background {
	b := &background{metrics: newMetrics()}
	b.ctx, b.stop = context.WithCancel(ctx)
	return b
}

// end waits until what was begun is done.
func (b *background) end() {
	b.stop()
	b.group.Wait()
}

// send sends what the portal writes down, from now on.
func (b *background) send(s *server) error {
	sender, err := notify.New(notify.Options{Portal: s.portal, PublicURL: s.gate.PublicURL, Private: s.d.WebhooksPrivate, SMTP: s.smtp, Now: s.now, Log: s.log, Count: b.metrics.sent})
	if err != nil {
		return cli.Fail(cli.ExitUsage, "config_invalid", "correct it in vendor.yaml", "%v", err)
	}
	b.metrics.watch(s.portal, s.log)
	b.group.Go(func() { sender.Run(b.ctx) })
	return nil
}

// serveMetrics answers /metrics at an address; empty: nowhere.
func (b *background) serveMetrics(s *server, address string) error {
	if address == "" {
		return nil
	}
	if !loopback(address) {
		return cli.Fail(cli.ExitUsage, "config_invalid", "choose a loopback address; an agent there may pass them on", "--metrics %s is not loopback, and nobody signs in there", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return cli.Fail(cli.ExitUsage, "listen_address_in_use", "choose another --metrics", "%v", err)
	}
	fmt.Fprintf(s.Err, "metrics http://%s/metrics\n", l.Addr())
	h := &http.Server{Handler: b.metrics.handler(), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 8 << 10}
	b.group.Go(func() {
		if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("metrics ended", "err", err)
		}
	})
	context.AfterFunc(b.ctx, func() { h.Close() })
	return nil
}

// readMail reads what vendor.yaml says of the mail server.
func (s *server) readMail() (err error) {
	s.smtp = mailer.Relay{Host: s.d.SMTPHost, From: s.d.SMTPFrom, User: s.d.SMTPUser}
	if s.d.SMTPPasswordFile == "" {
		return nil
	}
	if err := private(s.d.SMTPPasswordFile); err != nil {
		return err
	}
	s.smtp.Password, err = firstLine(s.d.SMTPPasswordFile)
	return err
}

// health answers /healthz: the process does; and /readyz: the database does too.
func (s *server) health(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "OK") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), gaugesTime)
		defer cancel()
		if err := s.portal.Ready(ctx); err != nil {
			s.log.Error("not ready", "err", err)
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, "the database does not answer")
			return
		}
		fmt.Fprint(w, "OK")
	})
}
