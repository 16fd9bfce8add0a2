package stream

import (
	"crypto/rand"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/meterseal/meterseal/events"
)

// Subject of the stream itself; only the gateway's own connection may publish
// to it.
const groupSubject = "meterseal.batch"

// A Client is a NATS connection that asks to be let in.
type Client struct {
	User, Password, Token string            // as given; empty: none
	JWT, Signature        string            // of a credentials file: the claim, and the signature over Nonce
	Nonce                 []byte            // what the server asked to be signed
	Certificate           *x509.Certificate // of the client, verified; nil: it showed none
	Remote                net.Addr          // where it comes from
	Loopback              bool              // it comes from this machine
	TLS                   bool              // the connection is encrypted
}

// An Admission is what a client may do.
type Admission struct {
	Node  string    // whose subjects and inbox it may use; "": those of any
	Key   string    // with what it proved that, for [Stream.Disconnect]; may be empty
	Until time.Time // it is cut off then; zero: never
}

// Authorize decides about clients of the embedded server; an error, best an
// *events.Error, refuses one. It is called for each connection, from several
// goroutines at once.
type Authorize func(Client) (Admission, error)

// loopbackOnly is the rule without Options.Authorize: whoever is on this
// machine may send events in the name of any node, nobody else may connect.
func loopbackOnly(c Client) (Admission, error) {
	if !c.Loopback {
		return Admission{}, errors.New("this server is for programs of its own machine")
	}
	return Admission{}, nil
}

// maxNodeConnections is how many connections a node may have, so that none keeps
// the others out.
const maxNodeConnections = 256

// doorman checks every connection of the embedded server. The daemon's own
// connections show a token that is made at each start and never leaves the
// process; all others get the permissions of an application.
type doorman struct {
	token     string
	authorize Authorize
	front     *front // nil: clients come to the server directly
	refused   func(Refusal)
	alive     func(id uint64) bool // whether a connection is there

	// Whoever is being admitted holds gate for reading, so that one who ends
	// credentials finds every connection that was let in with them.
	gate sync.RWMutex

	mu      sync.Mutex // protects inside
	inside  map[uint64]guest
	cleanAt int // so many are looked through for those that left
}

// guest is a client that was let in.
type guest struct {
	Admission
	remote string
	own    bool // the daemon's
}

func newDoorman(o Options) *doorman {
	var b [24]byte
	rand.Read(b[:])
	d := &doorman{token: hex.EncodeToString(b[:]), authorize: o.Authorize, refused: o.Refused, inside: map[uint64]guest{}, cleanAt: 64}
	if d.authorize == nil {
		d.authorize = loopbackOnly
	}
	if d.refused == nil {
		d.refused = func(Refusal) {}
	}
	return d
}

// Check implements server.Authentication.
func (d *doorman) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	if subtle.ConstantTimeCompare([]byte(o.Token), []byte(d.token)) == 1 {
		d.mu.Lock()
		d.inside[c.GetID()] = guest{own: true}
		d.mu.Unlock()
		c.RegisterUser(&server.User{Username: "meterseal"}) // no limits
		return true
	}
	in := Client{User: o.Username, Password: o.Password, Token: o.Token, JWT: o.JWT, Signature: o.Sig, Nonce: c.GetNonce(), Remote: c.RemoteAddress()}
	if d.front != nil {
		in.Remote = d.front.remote(in.Remote)
	}
	in.Loopback = isLoopback(in.Remote)
	if tls := c.GetTLSConnectionState(); tls != nil {
		in.TLS = true
		if len(tls.VerifiedChains) > 0 {
			in.Certificate = tls.PeerCertificates[0]
		}
	}
	d.gate.RLock()
	defer d.gate.RUnlock()
	a, err := d.authorize(in)
	if err == nil {
		err = d.enter(c.GetID(), guest{Admission: a, remote: addressOf(in.Remote)})
	}
	if err != nil {
		d.refused(refusalOfClient(a.Node, addressOf(in.Remote), err))
		return false
	}
	if d.front != nil {
		d.front.admitted(c.RemoteAddress())
	}
	c.RegisterUser(&server.User{Permissions: permissions(a.Node), ConnectionDeadline: a.Until})
	return true
}

// enter notes a client, unless its node has too many already.
func (d *doorman) enter(id uint64, g guest) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.inside) >= d.cleanAt {
		d.cleanLocked()
		d.cleanAt = max(64, 2*len(d.inside))
	}
	n := 0
	if g.Node != "" {
		for i, other := range d.inside {
			if other.Node == g.Node && i != id && d.alive(i) {
				n++
			}
		}
	}
	if n >= maxNodeConnections {
		return &events.Error{Code: events.CodeBusy, Cause: "too_many_connections", Message: "node " + g.Node + " has " + utoa(uint64(n)) + " connections",
			Hint: "share one connection within a process"}
	}
	d.inside[id] = g
	return nil
}

// cleanLocked forgets who left.
func (d *doorman) cleanLocked() {
	for id := range d.inside {
		if !d.alive(id) {
			delete(d.inside, id)
		}
	}
}

// guest returns who has a connection; the zero guest is not let in.
func (d *doorman) guest(id uint64) guest {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inside[id]
}

// guests returns the connections that match.
func (d *doorman) guests(match func(Admission) bool) (ids []uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cleanLocked()
	for id, g := range d.inside {
		if !g.own && match(g.Admission) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Disconnect closes the connections of clients of the embedded server that match,
// and returns how many there were. Whoever is admitted meanwhile is either closed
// too, or was asked about after Disconnect began.
func (s *Stream) Disconnect(match func(Admission) bool) int {
	if s.srv == nil {
		return 0
	}
	d := s.srv.door
	d.gate.Lock()
	ids := d.guests(match)
	d.gate.Unlock()
	for _, id := range ids {
		_ = s.srv.srv.DisconnectClientByID(id) // fails only when it is gone
	}
	return len(ids)
}

// Connections counts the connections of each node that proved who it is to the
// embedded server.
func (s *Stream) Connections() map[string]int {
	n := map[string]int{}
	if s.srv != nil {
		s.srv.door.guests(func(a Admission) bool {
			if a.Node != "" {
				n[a.Node]++
			}
			return false
		})
	}
	return n
}

// isLoopback reports whether a connects from this machine; a connection inside
// the process has no address of an interface.
func isLoopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return !ok || t.IP.IsLoopback()
}

// addressOf is an address without its port.
func addressOf(a net.Addr) string {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.IP.String()
	}
	return "inside"
}

// permissions are those of an application that may speak for node, or for any
// node if it is empty. They are enough for an unmodified JetStream publish,
// and hold neither the API of JetStream nor the subject of the stream.
func permissions(node string) *server.Permissions {
	inbox := inboxPrefix + ".>"
	if node == "" {
		node = "*"
	} else {
		inbox = inboxPrefix + "." + node + ".>"
	}
	rest, one := "."+node+".>", "."+node
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			"usage" + rest, "usage_batch" + one, "beat" + one, "seen" + one, "allow" + one, "seat" + rest, "var" + one}},
		Subscribe: &server.SubjectPermission{Allow: []string{inbox, "counted" + one, "allowances"}},
	}
}
