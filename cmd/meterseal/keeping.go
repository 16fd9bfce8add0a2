package main

import (
	"encoding/base64"
	"fmt"
	"sync"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// keepWords are the values of usage.user, usage.host and usage.ip.
var keepWords = map[string]events.Keep{"keep": events.KeepAll, "hash": events.KeepHash, "omit": events.KeepNone}

func keeping(p func(*Config) *events.Keep) func(*Config, string) error {
	return func(c *Config, v string) error {
		k, ok := keepWords[v]
		if !ok {
			return fmt.Errorf("is %q, want keep, hash or omit", v)
		}
		*p(c) = k
		return nil
	}
}

// pseudonyms returns what makes the hashes that stand for users, hosts and
// addresses: "~" and 16 bytes of a keyed hash, which nobody without keys/tag.key
// can make. It remembers those made last.
func pseudonyms(s ledger.Secrets) func(field, value string) string {
	var mu sync.Mutex // guards tagger
	tagger := s.Tagger()
	return func(field, value string) string {
		mu.Lock()
		defer mu.Unlock()
		tag := tagger.Tag("meterseal-pseudonym/v1\n" + field + "\n" + value)
		return "~" + base64.RawURLEncoding.EncodeToString(tag[:])
	}
}

// keepSeat takes from q what is not to be stored. Whose a seat is must still be
// told, so user and host are hashed where events leave them out.
func (s *site) keepSeat(q *projections.SeatRequest) {
	k := s.keeping
	q.User = k.Field(min(k.User, events.KeepHash), "user", q.User)
	q.Host = k.Field(min(k.Host, events.KeepHash), "host", q.Host)
	q.IP = k.Field(k.IP, "ip", q.IP)
}
