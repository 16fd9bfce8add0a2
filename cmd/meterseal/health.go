package main

import (
	"context"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/exporter"
	"github.com/meterseal/meterseal/license"
)

// Beyond these the checks warn, as the alert rules do.
const (
	fullAt      = 0.85
	lagAt       = 10 * time.Second
	backupAt    = 7 * 24 * time.Hour
	silentAt    = time.Hour
	lowDiskFree = 1 << 30
)

// health looks at the parts of the site, in the order of an event's path.
func (s *site) health() []console.HealthCheck {
	return []console.HealthCheck{s.licenseCheck(), s.ledgerCheck(), s.streamCheck(), s.diskCheck(), s.countCheck(), s.clockCheck(), s.backupCheck(), s.exportsCheck(), s.peersCheck()}
}

func (s *site) licenseCheck() console.HealthCheck {
	l := licensing{s}.License()
	c := console.HealthCheck{Name: "license", State: console.HealthOK, Words: "the license is " + string(l.State), Hint: l.NextAction, Code: l.Code}
	switch {
	case l.ExitCode == cli.ExitOK:
		c.Code = ""
	case l.ExitCode == cli.ExitWarning, l.State == license.StateNone:
		c.State = console.HealthWarn
	default:
		c.State = console.HealthBad
	}
	return c
}

func (s *site) ledgerCheck() console.HealthCheck {
	if why := s.ledgerTrouble(); why != "" {
		return console.HealthCheck{Name: "ledger", State: console.HealthBad, Words: why, Hint: "see meterseal restore --help"}
	}
	words := "nothing that was checked contradicts the ledger"
	if c := (checker{s}).LastCheck(); c.State == console.CheckOK && c.Ended != nil {
		words += "; all of it was recomputed " + c.Ended.UTC().Format("2006-01-02 15:04 UTC")
	}
	return console.HealthCheck{Name: "ledger", State: console.HealthOK, Words: words}
}

func (s *site) streamCheck() console.HealthCheck {
	c := console.HealthCheck{Name: "stream", State: console.HealthOK}
	ctx, cancel := context.WithTimeout(context.Background(), roomTime)
	defer cancel()
	r, err := s.stream.Room(ctx)
	if err != nil {
		c.State, c.Words, c.Hint, c.Code = console.HealthBad, "the stream does not answer", "the log says why", events.CodeStoreUnavailable
		return c
	}
	c.Words = fmt.Sprintf("%s of %s are used", cli.ByteSize(r.Size), cli.ByteSize(r.Max))
	if float64(r.Size) > fullAt*float64(r.Max) {
		c.State, c.Hint = console.HealthWarn, "prune what a receipt covers, or raise store.max_size; at its size events are refused"
	}
	if code := stream.Code(s.gateway.Ready()); code == events.CodeStoreFull {
		c.State, c.Code = console.HealthBad, code
	}
	return c
}

func (s *site) diskCheck() console.HealthCheck {
	c := console.HealthCheck{Name: "disk", State: console.HealthOK}
	free, err := stream.FreeBytes(s.cfg.DataDir)
	switch {
	case err != nil:
		c.State, c.Words, c.Hint = console.HealthBad, "the disk of the data directory cannot be asked for its room", "look at the disk"
		return c
	case free < lowDiskFree:
		c.State, c.Hint = console.HealthWarn, "free room: with too little of it events are refused"
	}
	c.Words = cli.ByteSize(free) + " are free on the disk of the data directory"
	return c
}

func (s *site) countCheck() console.HealthCheck {
	c := console.HealthCheck{Name: "count", State: console.HealthOK, Words: "all stored events are counted on disk"}
	if lag := s.gateway.Uncounted(); lag > lagAt {
		c.State, c.Words, c.Hint = console.HealthWarn, fmt.Sprintf("the oldest stored event waits for %v to be counted on disk", lag.Round(time.Second)), "the disk is slow, or busy"
	}
	return c
}

func (s *site) clockCheck() console.HealthCheck {
	for _, w := range (licensing{s}).License().Warnings {
		if w == license.CodeClockDisputed {
			return console.HealthCheck{Name: "clock", State: console.HealthWarn, Words: "the clock of this machine is in dispute", Hint: "set it right; nothing is refused for it", Code: w}
		}
	}
	return console.HealthCheck{Name: "clock", State: console.HealthOK, Words: "the clock agrees with what the ledger knows"}
}

func (s *site) backupCheck() console.HealthCheck {
	c := console.HealthCheck{Name: "backup", State: console.HealthOK, Words: "there never was a backup", Hint: "meterseal backup writes one while the daemon runs"}
	since := s.watched.moment(docBackup)
	if !since.IsZero() {
		c.Words = "the last backup is of " + since.UTC().Format("2006-01-02 15:04 UTC")
	} else {
		since = s.store.Glance().Opened
	}
	if s.clock.Wall().Sub(since) > backupAt {
		c.State = console.HealthWarn
	}
	return c
}

func (s *site) exportsCheck() console.HealthCheck {
	c := console.HealthCheck{Name: "exports", State: console.HealthOK, Words: "no export by a schedule fails"}
	for _, j := range s.exporter.Status().Exports {
		if j.Last != nil && j.Last.Result == exporter.Failed {
			c.State, c.Words, c.Hint, c.Code = console.HealthWarn, "the export "+j.Name+" fails: "+j.Last.Message, j.Last.Hint, j.Last.Code
		}
	}
	return c
}

// peersCheck counts nodes that were heard of and are silent now.
func (s *site) peersCheck() console.HealthCheck {
	st, now, silent := s.store.Status(), s.clock.Wall(), 0
	for _, n := range st.Nodes {
		if !n.LastHeard.IsZero() && now.Sub(n.LastHeard) > silentAt {
			silent++
		}
	}
	c := console.HealthCheck{Name: "peers", State: console.HealthOK,
		Words: fmt.Sprintf("%s known, %d connected, %d silent for an hour", cli.Plural(len(st.Nodes), "node"), len(s.stream.Connections()), silent)}
	if silent > 0 {
		c.State, c.Hint = console.HealthWarn, "each is off, or cannot reach this daemon and keeps its events"
	}
	return c
}
