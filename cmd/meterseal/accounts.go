package main

import (
	"errors"
	"strings"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/internal/access"
)

// strangersPerAddress is how many connections of one address may be there that
// have not shown yet who they are.
const strangersPerAddress = 32

// authorize decides about a client of the embedded server. Credentials count
// first, wherever it comes from; without any, programs of this machine may speak
// for every node, unless they have to prove it too.
func (s *site) authorize(c stream.Client) (stream.Admission, error) {
	l := &s.cfg.NATS
	var a access.Admission
	var err error
	switch {
	case !c.Loopback && !c.TLS && !l.Insecure:
		err = access.NotAuthenticated("no_tls", "connect to tls:// instead of nats://", "the connection from beyond this machine is not encrypted")
	case c.JWT != "":
		a, err = s.book.Admit(c.JWT, c.Signature, c.Nonce)
	case c.Certificate != nil:
		a, err = s.book.AdmitNamed(c.Certificate.Subject.CommonName)
	case c.User != "" || c.Password != "" || c.Token != "":
		err = access.NotAuthenticated("bad_credentials", `connect with a credentials file of "meterseal node add NAME"`, "nodes have no passwords and no tokens here")
	case !c.Loopback || l.LoopbackNeedsProof:
		err = access.NotAuthenticated("no_credentials", `connect with a credentials file of "meterseal node add NAME"`, "the connection shows no credentials")
	}
	var e *access.Error
	if errors.As(err, &e) {
		err = &events.Error{Code: e.Code, Cause: e.Reason, Message: e.Message, Hint: e.Hint}
	}
	return stream.Admission{Node: a.Node, Key: a.Key, Until: a.Ends}, err
}

// noteClient counts what the NATS server refused. An event in the name of another
// node is also kept with the rejected ones, of whom it came from.
func (s *site) noteClient(r stream.Refusal) {
	s.refusals.Note(access.Refusal{Listener: "nats", Reason: r.Reason, Node: r.Node, Remote: r.Remote, What: r.Subject, Message: r.Message, Hint: r.Hint})
	if r.Reason == stream.ReasonWrongNode && strings.HasPrefix(r.Subject, "usage.") {
		select {
		case s.strays <- r:
		default: // it is counted above; a flood is not kept one by one
		}
	}
}

// keepStrays keeps events that were sent in another node's name. What they held
// the server has thrown away.
func (s *site) keepStrays(g *stream.Gateway) {
	for {
		select {
		case <-g.Done():
			return
		case r := <-s.strays:
			parts := strings.SplitN(r.Subject, ".", 3) // usage, node, meter
			meter := ""
			if len(parts) == 3 && events.ValidMeter(parts[2]) {
				meter = parts[2]
			}
			g.Refuse(r.Node, meter, &events.Error{Code: events.CodeWrongNode, Field: "node",
				Message: "node " + r.Node + " published to " + r.Subject, Hint: r.Hint}, nil)
		}
	}
}

// accounts is console.Accounts: the book, and the daemon that has to know of
// changes at once.
type accounts struct {
	book *access.Book
	site *site // nil: none runs
}

func seconds(n uint64) time.Duration { return time.Duration(min(n, 1<<33)) * time.Second }

// drop closes the connections that were made with a key.
func (a accounts) drop(keys []access.NodeKey, after time.Duration) {
	if a.site == nil || len(keys) == 0 {
		return
	}
	drop := func() {
		a.site.stream.Disconnect(func(m stream.Admission) bool {
			for _, k := range keys {
				if m.Key == k.User {
					return true
				}
			}
			return false
		})
	}
	if after == 0 {
		drop()
		return
	}
	time.AfterFunc(after, drop) // connections that are made later end by themselves
}

func made(c access.Credentials) console.NodeCredentials {
	return console.NodeCredentials{Node: c.Node, Credentials: string(c.File), Key: c.Key, InboxPrefix: access.InboxPrefix(c.Node)}
}

// AddNode is console.Accounts.
func (a accounts) AddNode(n console.NewNode) (console.NodeCredentials, error) {
	c, err := a.book.AddNode(n.Name, seconds(n.Expires))
	return made(c), err
}

// RotateNode is console.Accounts.
func (a accounts) RotateNode(name string, n console.NewCredentials) (console.NodeCredentials, error) {
	c, old, err := a.book.RotateNode(name, seconds(n.Grace), seconds(n.Expires))
	if err == nil {
		a.drop(old, seconds(n.Grace))
	}
	return made(c), err
}

// RevokeNode is console.Accounts.
func (a accounts) RevokeNode(name string, unseen bool) error {
	if err := a.book.RevokeNode(name, unseen); err != nil {
		return err
	}
	if a.site != nil {
		a.site.stream.Disconnect(func(m stream.Admission) bool { return m.Node == name })
	}
	return nil
}

// Enroll is console.Accounts.
func (a accounts) Enroll(secret, node string) (console.NodeCredentials, error) {
	c, old, err := a.book.Enroll(secret, node)
	if err == nil {
		a.drop(old, 0)
	}
	return made(c), err
}

// Nodes is console.Accounts: those of the book, and those that the ledger knows.
func (a accounts) Nodes() ([]console.Node, error) {
	var list []console.Node
	at := map[string]int{}
	now := time.Now()
	for _, n := range a.book.Nodes() {
		at[n.Name] = len(list)
		list = append(list, describeNode(n, now))
	}
	if a.site == nil {
		return list, nil
	}
	for _, n := range a.site.store.Status().Nodes {
		i, known := at[n.Name]
		if !known {
			i = len(list)
			at[n.Name] = i
			list = append(list, console.Node{Name: n.Name, State: "none", Keys: []console.NodeKey{}})
		}
		list[i].LastSeen = given(n.LastHeard)
		list[i].SeenSize, list[i].CountedSeq = a.site.witnesses.standing(n)
	}
	connected := a.site.stream.Connections()
	for i := range list {
		n := &list[i]
		n.Connections = connected[n.Name]
		if r := a.site.refusals.Newest(n.Name); r.Reason != "" {
			n.Refused, n.RefusedAt, n.Hint = r.Reason, given(r.Time), r.Hint
		}
	}
	return list, nil
}

func describeNode(n access.Node, now time.Time) console.Node {
	out := console.Node{Name: n.Name, State: "none", Added: given(n.Added), Revoked: given(n.Revoked), Keys: []console.NodeKey{}}
	for _, k := range n.Keys {
		if out.State = "good"; k.Ended(now) {
			out.State = "expired"
		}
		out.Keys = append(out.Keys, console.NodeKey{Key: k.User, Added: k.Added, Expires: given(k.Expires), Until: given(k.Until)})
	}
	if !n.Revoked.IsZero() {
		out.State = "revoked"
	}
	return out
}

// Tokens is console.Accounts.
func (a accounts) Tokens() ([]console.Token, error) {
	var list []console.Token
	for _, t := range a.book.Tokens() {
		list = append(list, describeToken(t))
	}
	return list, nil
}

func describeToken(t access.Token) console.Token {
	return console.Token{Name: t.Name, Rights: t.Rights, Node: t.Node, Added: t.Added, Expires: given(t.Expires), Uses: t.Uses, Again: t.Again}
}

// AddToken is console.Accounts.
func (a accounts) AddToken(t console.NewToken) (console.NewTokenMade, error) {
	secret, err := a.book.AddToken(access.Token{Name: t.Name, Rights: t.Rights, Node: t.Node, Uses: t.Uses, Again: t.Again}, seconds(t.Expires))
	if err != nil {
		return console.NewTokenMade{}, err
	}
	for _, known := range a.book.Tokens() {
		if known.Name == t.Name {
			return console.NewTokenMade{Token: describeToken(known), Secret: secret}, nil
		}
	}
	return console.NewTokenMade{}, errors.New("the token was revoked at once")
}

// RevokeToken is console.Accounts.
func (a accounts) RevokeToken(name string) error { return a.book.RevokeToken(name) }

// Operators is console.Accounts.
func (a accounts) Operators() ([]console.Operator, error) {
	var list []console.Operator
	for _, o := range a.book.Operators() {
		state := "link_over"
		switch {
		case o.Password != "":
			state = "active"
		case time.Now().Before(o.LinkEnds):
			state = "invited"
		}
		list = append(list, console.Operator{Name: o.Name, Rights: o.Rights, State: state, Added: o.Added})
	}
	return list, nil
}

// AddOperator is console.Accounts.
func (a accounts) AddOperator(n console.NewOperator) (console.OperatorLink, error) {
	link, ends, err := a.book.AddOperator(n.Name, n.Rights, n.Again)
	return console.OperatorLink{Name: n.Name, Path: console.WelcomePath(link), Ends: ends}, err
}

// RevokeOperator is console.Accounts.
func (a accounts) RevokeOperator(name string) error { return a.book.RevokeOperator(name) }
