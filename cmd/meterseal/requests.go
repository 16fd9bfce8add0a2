package main

import (
	"context"
	"errors"
)

// maxRequests bounds the requests of applications that are answered at once.
const maxRequests = 4096

// startService begins to answer what applications ask over NATS.
func (s *site) startService(ctx context.Context) error {
	var err error
	if s.service, err = s.stream.NewService(ctx, maxRequests); err != nil {
		return err
	}
	return errors.Join(s.service.Handle("seen.*", true, s.witnesses.seen), s.serveAllow(), s.serveSeats(), s.serveVariables())
}
