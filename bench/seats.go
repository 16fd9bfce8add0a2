package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// The workload of seats: so many are held, by so many nodes, each with a
// connection of its own, and then more are taken at a fixed rate.
const (
	seatsHeld    = 10_000
	seatsPerSec  = 1_000
	seatNodes    = 16
	seatWarmers  = 256 // requests under way while the held ones are taken
	seatP99Most  = 5.0 // ms
	seatFsyncs   = 10  // or so many fsync p99 of the same round, where that is more
	seatPool     = "editor"
	seatPoolFlag = seatPool + ":20000:1h"
)

// asker takes seats of a site for one node.
type asker func(ctx context.Context, holder int) error

// seatLatency measures how long it takes to get a seat: over NATS, and over HTTP
// for the row that says so.
func (b *bench) seatLatency(ctx context.Context, r *row) (v values, err error) {
	disk, err := b.fsyncLatency(ctx, r)
	if err != nil {
		return nil, err
	}
	s, err := b.startSite(ctx, "", append([]string{"--seats", seatPoolFlag}, siteFlags...)...)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(s.dir)
	defer s.kill()
	askers := make([]asker, seatNodes)
	for i := range askers {
		if r.http {
			askers[i] = httpAsker(s.http, i)
			continue
		}
		nc, err := nats.Connect("nats://" + s.addr)
		if err != nil {
			return nil, err
		}
		defer nc.Close()
		askers[i] = natsAsker(nc, i)
	}
	if err := holdSeats(ctx, askers); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, s.tail())
	}
	before := s.cpu()
	ms, err := paceSeats(ctx, askers)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, s.tail())
	}
	cpu := s.cpu() - before
	if err := s.confirmSeats(ctx, seatsHeld+len(ms)); err != nil {
		return nil, err
	}
	n := len(ms)
	v = values{ackP50: ms[n/2], ackP99: ms[n*99/100], ackMax: ms[n-1], serverCPU: cpu * 1e6 / float64(n), fsyncP50: disk[fsyncP50], fsyncP99: disk[fsyncP99]}
	v[ofAllowed] = v[ackP99] / max(seatP99Most, seatFsyncs*disk[fsyncP99])
	return v, nil
}

// holdSeats takes the seats that are held, as fast as it goes.
func holdSeats(ctx context.Context, askers []asker) error {
	var all sync.WaitGroup
	errs := make(chan error, seatWarmers)
	for w := range seatWarmers {
		all.Go(func() {
			for i := w; i < seatsHeld; i += seatWarmers {
				if err := askers[i%len(askers)](ctx, i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	return <-errs
}

// paceSeats takes more at the fixed rate, whatever the answers do, and returns in
// rising order how long each took from when it was due, in ms.
func paceSeats(ctx context.Context, askers []asker) ([]float64, error) {
	const n = seatsPerSec * pacedSeconds
	ms, errs := make([]float64, n), make([]error, n)
	var all sync.WaitGroup
	start := time.Now()
	for i := range n {
		due := start.Add(time.Duration(i) * time.Second / seatsPerSec)
		time.Sleep(time.Until(due))
		all.Go(func() {
			errs[i] = askers[i%len(askers)](ctx, seatsHeld+i)
			ms[i] = float64(time.Since(due).Microseconds()) / 1000
		})
	}
	all.Wait()
	sort.Float64s(ms)
	return ms, errors.Join(errs...)
}

func natsAsker(nc *nats.Conn, node int) asker {
	subject := fmt.Sprintf("seat.node-%02d.%s", node, seatPool)
	return func(ctx context.Context, holder int) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		m, err := nc.RequestWithContext(ctx, subject, fmt.Appendf(nil, `{"action":"checkout","holder":"pc-%d","user":"u%d","host":"pc-%d","ip":"10.1.2.3"}`, holder, holder, holder))
		if err != nil {
			return err
		}
		return claimed(m.Data)
	}
}

func httpAsker(base string, node int) asker {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: seatWarmers}}
	return func(ctx context.Context, holder int) error {
		u := fmt.Sprintf("%s/v1/seats/%s/pc-%d?node=node-%02d", base, seatPool, holder, node)
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, u, bytes.NewReader(fmt.Appendf(nil, `{"user":"u%d","host":"pc-%d","ip":"10.1.2.3"}`, holder, holder)))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		return claimed(data)
	}
}

// claimed fails unless an answer says that a seat was claimed.
func claimed(data []byte) error {
	var a struct{ Code string }
	if err := json.Unmarshal(data, &a); err != nil {
		return fmt.Errorf("answer %.200s: %w", data, err)
	}
	if a.Code != "claimed" {
		return fmt.Errorf("answer %.200s, want that the seat is claimed", data)
	}
	return nil
}

// confirmSeats fails unless the site says that n seats are taken.
func (s *server) confirmSeats(ctx context.Context, n int) error {
	var p struct{ Taken, Denied int }
	if err := getJSON(ctx, s.http+"/v1/seats/"+seatPool, &p); err != nil {
		return err
	}
	if p.Taken != n || p.Denied != 0 {
		return fmt.Errorf("the site says %+v, want %d seats taken, none denied", p, n)
	}
	return nil
}
