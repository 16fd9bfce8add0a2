package access

import (
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/credential"
)

// LinkLifetime is how long a one-time link of an operator is good.
const LinkLifetime = 24 * time.Hour

// FirstOperator is the name of whoever follows the link of the first start.
const FirstOperator = "operator"

// An Operator is a person who signs in to the pages of the site.
type Operator struct {
	Name     string    `json:"name"`
	Rights   []Right   `json:"rights"`
	Added    time.Time `json:"added"`
	Password string    `json:"password,omitempty"` // argon2id, as a PHC string; "": not chosen yet
	Link     string    `json:"link,omitempty"`     // SHA-256 of the one-time link, hex; "": none is open
	LinkEnds time.Time `json:"link_ends,omitzero"`
}

// Operators returns all operators by name.
func (b *Book) Operators() []Operator {
	list := b.get().clone().Operators
	slices.SortFunc(list, func(x, y Operator) int { return strings.Compare(x.Name, y.Name) })
	return list
}

// AddOperator adds an operator and returns the secret of his one-time link, with
// which he chooses his password, and when it ends. Again gives one who is there a new link, and other
// rights if some are named; his old password ends, and so do his sessions.
func (b *Book) AddOperator(name string, rights []Right, again bool) (link string, ends time.Time, err error) {
	switch {
	case !events.ValidName(name):
		return "", ends, malformed("%q is no name of an operator", "use letters, digits, - and _", name)
	case slices.Contains(rights, Enroll):
		return "", ends, malformed("operator %s has the right enroll, which only tokens have", "leave it out", name)
	case len(rights) == 0 && !again:
		return "", ends, malformed("operator %s has no right", "rights are "+rightNames()+", or all", name)
	}
	link, hash := credential.NewSecret("")
	ends = b.stamp().Add(LinkLifetime)
	err = b.change(func(c *content) error {
		i := c.operator(name)
		switch {
		case i < 0 && again:
			return unknown("operator", name)
		case i < 0:
			c.Operators = append(c.Operators, Operator{Name: name, Rights: rights, Added: b.stamp()})
			i = len(c.Operators) - 1
		case !again:
			return taken("operator", name, `"meterseal operator add --again" gives a new link`)
		case len(rights) > 0:
			c.Operators[i].Rights = rights
		}
		o := &c.Operators[i]
		o.Password, o.Link, o.LinkEnds = "", hash, ends
		return nil
	})
	return link, ends, err
}

// RevokeOperator forgets an operator: his sessions end.
func (b *Book) RevokeOperator(name string) error {
	return b.change(func(c *content) error {
		i := c.operator(name)
		if i < 0 {
			return unknown("operator", name)
		}
		c.Operators = slices.Delete(c.Operators, i, i+1)
		return nil
	})
}

func (c *content) operator(name string) int {
	return slices.IndexFunc(c.Operators, func(o Operator) bool { return o.Name == name })
}

func (c *content) linked(link string, now time.Time) int {
	hash := credential.HashSecret(link)
	return slices.IndexFunc(c.Operators, func(o Operator) bool { return o.Link == hash && !over(o.LinkEnds, now) })
}
