package stream

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"net"

	"github.com/nats-io/nats-server/v2/server"
)

// Subject of the stream itself; only the gateway's own connection may publish
// to it.
const groupSubject = "meterseal.batch"

// A Client is a NATS connection that asks to be let in.
type Client struct {
	User, Password, Token string   // as given; empty: none
	Remote                net.Addr // where it comes from
	Loopback              bool     // it comes from this machine
	TLS                   bool     // the connection is encrypted
}

// Authorize decides about clients of the embedded server. It returns the node
// whose name the client may use, or "" for any, and false to refuse it. It is
// called for each connection, from several goroutines at once.
type Authorize func(Client) (node string, ok bool)

// loopbackOnly is the rule without Options.Authorize: whoever is on this
// machine may send events in the name of any node, nobody else may connect.
func loopbackOnly(c Client) (string, bool) { return "", c.Loopback }

// doorman checks every connection of the embedded server. The daemon's own
// connections show a token that is made at each start and never leaves the
// process; all others get the permissions of an application.
type doorman struct {
	token     string
	authorize Authorize
}

func newDoorman(a Authorize) *doorman {
	var b [24]byte
	rand.Read(b[:])
	if a == nil {
		a = loopbackOnly
	}
	return &doorman{token: hex.EncodeToString(b[:]), authorize: a}
}

// Check implements server.Authentication.
func (d *doorman) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	if subtle.ConstantTimeCompare([]byte(o.Token), []byte(d.token)) == 1 {
		c.RegisterUser(&server.User{Username: "meterseal"}) // no limits
		return true
	}
	in := Client{User: o.Username, Password: o.Password, Token: o.Token, Remote: c.RemoteAddress(), TLS: c.GetTLSConnectionState() != nil}
	in.Loopback = isLoopback(in.Remote)
	node, ok := d.authorize(in)
	if !ok {
		return false
	}
	c.RegisterUser(&server.User{Permissions: permissions(node)})
	return true
}

// isLoopback reports whether a connects from this machine; a connection inside
// the process has no address of an interface.
func isLoopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return !ok || t.IP.IsLoopback()
}

// permissions are those of an application that may speak for node, or for any
// node if it is empty. They are enough for an unmodified JetStream publish,
// and hold neither the API of JetStream nor the subject of the stream.
func permissions(node string) *server.Permissions {
	if node == "" {
		node = "*"
	}
	rest, one := "."+node+".>", "."+node
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			"usage" + rest, "usage_batch" + one, "beat" + one, "seen" + one, "allow" + one, "seat" + rest}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>", "counted" + one, "allowances"}},
	}
}
