package main

import (
	"encoding/base64"
	"fmt"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
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
// can make. It remembers those made last and is for one goroutine at a time.
func pseudonyms(s ledger.Secrets) func(field, value string) string {
	tagger := s.Tagger()
	return func(field, value string) string {
		tag := tagger.Tag("meterseal-pseudonym/v1\n" + field + "\n" + value)
		return "~" + base64.RawURLEncoding.EncodeToString(tag[:])
	}
}
