package access

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// accountFile has the key that signs credentials of nodes.
const accountFile = "account.key"

// A Node may send usage in its own name.
type Node struct {
	Name    string    `json:"name"`
	Added   time.Time `json:"added"`
	Revoked time.Time `json:"revoked,omitzero"` // from then on nothing of it is good, a client certificate neither
	Keys    []NodeKey `json:"keys,omitempty"`
}

// A NodeKey is the public half of one credentials file.
type NodeKey struct {
	User    string    `json:"user"`   // its public key
	Issuer  string    `json:"issuer"` // that of the account which signed for it
	Added   time.Time `json:"added"`
	Expires time.Time `json:"expires,omitzero"` // as the file says
	Until   time.Time `json:"until,omitzero"`   // replaced: not good any more from then on
}

// ends is when k stops to be good; zero: never.
func (k *NodeKey) ends() time.Time {
	if !k.Until.IsZero() && (k.Expires.IsZero() || k.Until.Before(k.Expires)) {
		return k.Until
	}
	return k.Expires
}

// Ended tells whether k is not good any more.
func (k *NodeKey) Ended(now time.Time) bool { return over(k.ends(), now) }

// Credentials are what a node gets to prove who it is.
type Credentials struct {
	Node string
	File []byte // in the form of NATS: user JWT and seed
	Key  string // the public key in them
}

// Nodes returns all nodes by name.
func (b *Book) Nodes() []Node {
	list := b.get().clone().Nodes
	slices.SortFunc(list, func(x, y Node) int { return strings.Compare(x.Name, y.Name) })
	return list
}

func (c *content) node(name string) *Node {
	if i := slices.IndexFunc(c.Nodes, func(n Node) bool { return n.Name == name }); i >= 0 {
		return &c.Nodes[i]
	}
	return nil
}

// AddNode makes credentials for a new node, or for one that was revoked. lifetime
// is how long they are good; 0: for ever.
func (b *Book) AddNode(name string, lifetime time.Duration) (cred Credentials, err error) {
	err = b.change(func(c *content) error {
		if n := c.node(name); n != nil && n.Revoked.IsZero() {
			return taken("node", name, "meterseal node rotate gives it new credentials")
		}
		cred, err = b.addKey(c, name, lifetime)
		return err
	})
	return cred, err
}

// addKey makes credentials for a node and puts their public half into c.
func (b *Book) addKey(c *content, name string, lifetime time.Duration) (Credentials, error) {
	if !events.ValidNode(name) {
		return Credentials{}, malformed("%q is no name of a node", "use letters, digits, - and _; no dots or spaces", name)
	}
	cred, key, err := b.makeKey(name, lifetime)
	if err != nil {
		return cred, err
	}
	n := c.node(name)
	if n == nil {
		c.Nodes = append(c.Nodes, Node{Name: name, Added: key.Added})
		n = &c.Nodes[len(c.Nodes)-1]
	}
	n.Revoked = time.Time{}
	n.Keys = append(n.Keys, key)
	return cred, nil
}

// RotateNode makes new credentials for a node. The old ones are good for grace
// more; gone are their public keys.
func (b *Book) RotateNode(name string, grace, lifetime time.Duration) (cred Credentials, old []NodeKey, err error) {
	err = b.change(func(c *content) error {
		n := c.node(name)
		if n == nil || !n.Revoked.IsZero() {
			return unknown("node", name)
		}
		old = n.replaceKeys(b.now(), grace)
		cred, err = b.addKey(c, name, lifetime)
		return err
	})
	return cred, old, err
}

// replaceKeys lets the keys of n end after grace, forgets those that have ended,
// and returns the ones that it changed.
func (n *Node) replaceKeys(now time.Time, grace time.Duration) (changed []NodeKey) {
	until := now.Add(grace).UTC().Truncate(time.Second)
	kept := n.Keys[:0]
	for _, k := range n.Keys {
		if over(k.ends(), now) {
			continue
		}
		if k.ends().IsZero() || until.Before(k.ends()) {
			k.Until = until
			changed = append(changed, k)
		}
		if grace > 0 {
			kept = append(kept, k)
		}
	}
	n.Keys = kept
	return changed
}

// RevokeNode ends all credentials of a node. One that was never added can be
// revoked with unseen, so that no client certificate may use its name.
func (b *Book) RevokeNode(name string, unseen bool) error {
	return b.change(func(c *content) error {
		n := c.node(name)
		switch {
		case n == nil && !unseen:
			return unknown("node", name)
		case n == nil && !events.ValidNode(name):
			return malformed("%q is no name of a node", "use letters, digits, - and _; no dots or spaces", name)
		case n == nil:
			c.Nodes = append(c.Nodes, Node{Name: name, Added: b.stamp()})
			n = &c.Nodes[len(c.Nodes)-1]
		}
		n.Revoked, n.Keys = b.stamp(), nil
		return nil
	})
}

// stamp is the present second.
func (b *Book) stamp() time.Time { return b.now().UTC().Truncate(time.Second) }

// makeKey makes a key pair and a JWT for it. The private half is in the
// credentials alone.
func (b *Book) makeKey(name string, lifetime time.Duration) (cred Credentials, key NodeKey, err error) {
	account, err := b.account()
	if err != nil {
		return cred, key, err
	}
	defer account.Wipe()
	user, err := nkeys.CreateUser()
	if err != nil {
		return cred, key, err
	}
	defer user.Wipe()
	key.Added = b.stamp()
	if key.User, err = user.PublicKey(); err != nil {
		return cred, key, err
	}
	if key.Issuer, err = account.PublicKey(); err != nil {
		return cred, key, err
	}
	claims := jwt.NewUserClaims(key.User)
	claims.Name = name
	if lifetime > 0 {
		key.Expires = key.Added.Add(lifetime)
		claims.Expires = key.Expires.Unix()
	}
	token, err := claims.Encode(account)
	if err != nil {
		return cred, key, err
	}
	seed, err := user.Seed()
	if err != nil {
		return cred, key, err
	}
	file, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		return cred, key, err
	}
	about := fmt.Sprintf("Credentials of node %s. Clients have to set the inbox prefix %s\n\n", name, InboxPrefix(name))
	return Credentials{Node: name, File: append([]byte(about), file...), Key: key.User}, key, nil
}

// NodeOf returns the node that a credentials file is for; "": it does not say.
func NodeOf(file []byte) string {
	token, err := jwt.ParseDecoratedJWT(file)
	if err != nil {
		return ""
	}
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return ""
	}
	return claims.Name
}

// InboxPrefix is what a client of a node has to set as its inbox prefix.
func InboxPrefix(node string) string { return "_INBOX." + node }

// account reads the key that signs credentials, or makes it. Credentials that
// another one signed stay good: the book has their issuer.
func (b *Book) account() (nkeys.KeyPair, error) {
	path := filepath.Join(b.keys, accountFile)
	seed, err := ledger.ReadPrivateFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		pair, err := nkeys.CreateAccount()
		if err != nil {
			return nil, err
		}
		if seed, err = pair.Seed(); err != nil {
			return nil, err
		}
		return pair, ledger.WritePrivateFile(path, append(seed, '\n'))
	}
	if err != nil {
		return nil, err
	}
	pair, err := nkeys.FromSeed([]byte(strings.TrimSpace(string(seed))))
	if err != nil {
		return nil, fmt.Errorf("read key %q: %w", path, err)
	}
	return pair, nil
}

// hintCredentials is what to do without good credentials of a node.
const hintCredentials = `connect with a credentials file of "meterseal node add NAME"`

// An Admission is what good credentials are worth.
type Admission struct {
	Node string
	Key  string    // the public key that was shown; "": it was a certificate
	Ends time.Time // zero: never
}

// Admit checks a user JWT and the signature over the nonce that the server gave:
// issuer, key, expiry, revocation. With a refusal it says the node as far as that
// is proven: old credentials that somebody still uses are seen with their node.
func (b *Book) Admit(token, signature string, nonce []byte) (Admission, error) {
	claims, err := jwt.DecodeUserClaims(token) // checks that its issuer signed it
	if err != nil {
		return Admission{}, NotAuthenticated("bad_signature", hintCredentials, "the credentials are damaged: %v", err)
	}
	sig, err := decodeSignature(signature)
	if err != nil {
		return Admission{}, NotAuthenticated("bad_signature", hintCredentials, "the signature is not base64")
	}
	user, err := nkeys.FromPublicKey(claims.Subject)
	if err != nil || user.Verify(nonce, sig) != nil {
		return Admission{}, NotAuthenticated("bad_signature", hintCredentials, "the signature is not that of the credentials")
	}
	now, ours := b.now(), false
	for _, n := range b.get().Nodes {
		for _, k := range n.Keys {
			ours = ours || k.Issuer == claims.Issuer
			if k.User != claims.Subject {
				continue
			}
			switch {
			case k.Issuer != claims.Issuer:
				return Admission{}, NotAuthenticated("bad_signature", hintCredentials, "another account than that of node %s signed", n.Name)
			case over(k.ends(), now):
				return Admission{Node: n.Name}, NotAuthenticated("expired", `ask for new ones: "meterseal node rotate `+n.Name+`"`,
					"the credentials of node %s were good until %s", n.Name, k.ends().Format(time.RFC3339))
			}
			return Admission{Node: n.Name, Key: k.User, Ends: k.ends()}, nil
		}
	}
	var was Admission
	if ours && b.get().node(claims.Name) != nil {
		was.Node = claims.Name // this site signed that it is
	}
	return was, NotAuthenticated("revoked", hintCredentials, "the credentials are not, or not any more, those of a node (it calls itself %.64q)", claims.Name)
}

// AdmitNamed is for a node that a client certificate names: its authority vouches
// for it, unless it was revoked here.
func (b *Book) AdmitNamed(name string) (Admission, error) {
	if !events.ValidNode(name) {
		return Admission{}, NotAuthenticated("bad_certificate", "issue one whose common name is that of the node", "the client certificate is for %.64q, which is no name of a node", name)
	}
	if n := b.get().node(name); n != nil && !n.Revoked.IsZero() {
		return Admission{Node: name}, NotAuthenticated("revoked", hintCredentials, "node %s was revoked", name)
	}
	return Admission{Node: name}, nil
}

func decodeSignature(s string) ([]byte, error) {
	if b, err := base64.RawURLEncoding.DecodeString(s); err == nil {
		return b, nil
	}
	return base64.StdEncoding.DecodeString(s)
}
