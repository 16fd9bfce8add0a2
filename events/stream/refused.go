package stream

import (
	"errors"
	"net"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/events"
)

// A Refusal is what the embedded server refused a client.
type Refusal struct {
	Reason  string // stable and finer than a code, for counters: "no_credentials", "wrong_node"
	Node    string // who it was; "": not known
	Remote  string // its address; "": not known
	Subject string // what it wanted to publish or to listen to
	Message string
	Hint    string
}

// Reasons that the server has by itself.
const (
	ReasonWrongNode   = "wrong_node"           // publishes in the name of another node
	ReasonWrongInbox  = "wrong_inbox"          // listens to an inbox that is not its own
	ReasonNotAllowed  = "not_allowed"          // any other subject
	ReasonTooLarge    = "payload_too_large"    // a message above the limit
	ReasonMalformed   = "malformed"            // does not speak NATS
	ReasonConnections = "too_many_connections" // of all, or of strangers of one address
	ReasonSubs        = "too_many_subscriptions"
	ReasonSlow        = "slow_reader" // does not take what it asked for
	ReasonTLS         = "tls_handshake"
	ReasonStranger    = "no_credentials"
)

// refusalOfClient is why the doorman does not let a client in.
func refusalOfClient(node, remote string, err error) Refusal {
	r := Refusal{Reason: ReasonStranger, Node: node, Remote: remote, Message: err.Error()}
	var e *events.Error
	if errors.As(err, &e) {
		r.Message, r.Hint = e.Message, e.Hint
		if r.Reason = e.Cause; r.Reason == "" {
			r.Reason = e.Code
		}
	}
	return r
}

// What nats-server says about a client; it has no other way to tell.
var lineKinds = []struct{ word, reason string }{
	{"maximum payload exceeded", ReasonTooLarge},
	{"maximum subscriptions exceeded", ReasonSubs},
	{"maximum connections exceeded", ReasonConnections},
	{"Slow Consumer", ReasonSlow},
	{"TLS handshake error", ReasonTLS},
	{"parser ERROR", ReasonMalformed},
	{"authentication error", ""}, // the doorman has said why
}

// clientLine takes a line of the server apart: address, number and what the
// client calls itself, in quotes, stand before what happened. ok is false if it
// is about none of our clients; a refusal without a reason is known already.
func (d *doorman) clientLine(line string) (r Refusal, ok bool) {
	address, rest, found := strings.Cut(line, " - cid:")
	number, rest, _ := strings.Cut(rest, " - ")
	id, err := strconv.ParseUint(number, 10, 64)
	if !found || err != nil {
		return r, false
	}
	for strings.HasPrefix(rest, `"`) {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return r, false
		}
		rest = strings.TrimPrefix(rest[len(quoted):], " - ")
	}
	g := d.guest(id)
	if g.own {
		return r, false
	}
	if r.Remote = g.remote; r.Remote == "" {
		r.Remote = d.remoteOf(address)
	}
	r.Node, r.Message = g.Node, rest
	if what, subject, found := strings.Cut(rest, " Violation - Subject "); found {
		if quoted, err := strconv.QuotedPrefix(subject); err == nil {
			r.Subject, _ = strconv.Unquote(quoted)
		}
		r.Reason, r.Hint = violation(g.Node, what == "Publish", r.Subject)
		return r, true
	}
	for _, k := range lineKinds {
		if strings.Contains(rest, k.word) {
			r.Reason = k.reason
			return r, true
		}
	}
	return r, false
}

// remoteOf is the host of an address of a connection to the server, of the one
// that the front stands for.
func (d *doorman) remoteOf(address string) string {
	a, err := net.ResolveTCPAddr("tcp", address) // a number: nothing is looked up
	if err != nil {
		return ""
	}
	if d.front != nil {
		return addressOf(d.front.remote(a))
	}
	return addressOf(a)
}

// violation is why a client may not use a subject, and what to do.
func violation(node string, publish bool, subject string) (reason, hint string) {
	kind, rest, _ := strings.Cut(subject, ".")
	switch {
	case publish && node != "" && speaks(kind):
		other, _, _ := strings.Cut(rest, ".")
		if other != node {
			return ReasonWrongNode, "publish to " + kind + "." + node + ", or connect with the credentials of that node"
		}
	case !publish && node != "" && strings.HasPrefix(subject, inboxPrefix):
		return ReasonWrongInbox, "set the inbox prefix of the client to " + inboxPrefix + "." + node
	}
	return ReasonNotAllowed, "docs/how-to/nodes.md lists the subjects of a node"
}

// speaks tells whether the second part of subjects of a kind names who sends.
func speaks(kind string) bool {
	switch kind {
	case "usage", "usage_batch", "beat", "seen", "allow", "seat", "var":
		return true
	}
	return false
}
