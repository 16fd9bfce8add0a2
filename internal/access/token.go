package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
)

// tokenPrefix begins every token, so that people and scanners know one.
const tokenPrefix = "mst_"

// A Token lets whoever has it use the HTTP API.
type Token struct {
	Name    string    `json:"name"`
	Hash    string    `json:"hash"` // SHA-256 of the token, hex
	Rights  []Right   `json:"rights"`
	Node    string    `json:"node,omitempty"` // the only node that it may speak for
	Added   time.Time `json:"added"`
	Expires time.Time `json:"expires,omitzero"`
	Uses    int       `json:"uses,omitempty"`  // right enroll: how many nodes it may still add
	Again   bool      `json:"again,omitempty"` // right enroll: also nodes that are there, whose old credentials end
}

// Tokens returns all tokens by name.
func (b *Book) Tokens() []Token {
	list := b.get().clone().Tokens
	slices.SortFunc(list, func(x, y Token) int { return strings.Compare(x.Name, y.Name) })
	return list
}

// AddToken adds a token with the name, rights and limits of t and returns its
// secret, which nobody can tell later.
func (b *Book) AddToken(t Token, lifetime time.Duration) (secret string, err error) {
	enrolls := slices.Contains(t.Rights, Enroll)
	switch {
	case !events.ValidName(t.Name):
		return "", malformed("%q is no name of a token", "use letters, digits, - and _", t.Name)
	case len(t.Rights) == 0:
		return "", malformed("token %s has no right", "rights are "+rightNames()+", or all", t.Name)
	case t.Node != "" && !events.ValidNode(t.Node):
		return "", malformed("%q is no name of a node", "use letters, digits, - and _; no dots or spaces", t.Node)
	case enrolls && (len(t.Rights) > 1 || t.Node != ""):
		return "", malformed("token %s has the right enroll and something else", "make a token that enrols and does nothing else", t.Name)
	case enrolls && t.Uses < 1:
		return "", malformed("token %s may enrol no node", "say how many: --uses 20", t.Name)
	case !enrolls && (t.Uses != 0 || t.Again):
		return "", malformed("token %s does not enrol, so there is nothing to count", "leave --uses and --again to the right enroll", t.Name)
	}
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	secret = tokenPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	t.Hash, t.Added = hashToken(secret), b.stamp()
	if lifetime > 0 {
		t.Expires = t.Added.Add(lifetime)
	}
	return secret, b.change(func(c *content) error {
		if c.token(t.Name) >= 0 {
			return taken("token", t.Name, "choose another name, or revoke that one")
		}
		c.Tokens = append(c.Tokens, t)
		return nil
	})
}

func (c *content) token(name string) int {
	return slices.IndexFunc(c.Tokens, func(t Token) bool { return t.Name == name })
}

// RevokeToken forgets a token.
func (b *Book) RevokeToken(name string) error {
	return b.change(func(c *content) error {
		i := c.token(name)
		if i < 0 {
			return unknown("token", name)
		}
		c.Tokens = slices.Delete(c.Tokens, i, i+1)
		return nil
	})
}

// hashToken is what is kept of a token. It is random enough to need no salt.
func hashToken(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

const hintToken = `send one of "meterseal token add" as Authorization: Bearer TOKEN`

// Caller returns who shows a token.
func (b *Book) Caller(secret string) (Caller, error) {
	t, err := b.get().find(secret, b.now())
	if err != nil {
		return Caller{}, err
	}
	return Caller{Token: t.Name, Node: t.Node, Has: t.Rights}, nil
}

// find returns the token with a secret. What is compared are hashes, so the time
// that it takes says nothing of the secret.
func (c *content) find(secret string, now time.Time) (*Token, error) {
	hash := hashToken(secret)
	i := slices.IndexFunc(c.Tokens, func(t Token) bool { return t.Hash == hash })
	if i < 0 {
		return nil, NotAuthenticated("bad_token", hintToken, "the token is not, or not any more, one of this site")
	}
	t := &c.Tokens[i]
	if over(t.Expires, now) {
		return nil, NotAuthenticated("expired", hintToken, "token %s was good until %s", t.Name, t.Expires.Format(time.RFC3339))
	}
	return t, nil
}

// Enroll makes credentials of a node for whoever shows a token with the right to
// it, and counts that in the same step.
func (b *Book) Enroll(secret, node string) (cred Credentials, old []NodeKey, err error) {
	err = b.change(func(c *content) error {
		t, err := c.find(secret, b.now())
		if err != nil {
			return err
		}
		if !slices.Contains(t.Rights, Enroll) {
			return NotAllowed(t.Name, Enroll)
		}
		n := c.node(node)
		switch {
		case t.Uses < 1:
			return &Error{403, CodeNotAllowed, "used_up", "token " + t.Name + " has added all the nodes that it may", "ask for another one"}
		case n != nil && !n.Revoked.IsZero():
			return &Error{403, CodeNotAllowed, "revoked", "node " + node + " was revoked", `only "meterseal node add" takes it back`}
		case n != nil && !t.Again:
			return taken("node", node, "choose another name; a token made with --again would replace its credentials")
		case n != nil:
			old = n.replaceKeys(b.now(), 0)
		}
		t.Uses--
		cred, err = b.addKey(c, node, 0)
		return err
	})
	return cred, old, err
}

// NotAllowed refuses the holder of a token without a right.
func NotAllowed(token string, r Right) *Error {
	return &Error{403, CodeNotAllowed, CodeNotAllowed, "token " + token + " has not the right " + string(r), "use a token that has it"}
}
