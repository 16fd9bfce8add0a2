package gate

import (
	"context"
	"slices"

	"github.com/meterseal/meterseal/portal"
)

// A Right is what a route asks of its caller. Every route has one.
type Right string

// The rights.
const (
	Public     Right = "public"     // nobody has to be signed in
	SignedIn   Right = "signed-in"  // whoever is
	Account    Right = "account"    // his own account: whoever is signed in in a browser; no token has it
	Read       Right = "read"       // all data of the vendor
	Look       Right = "look"       // Read; for a customer what is his own: the handler keeps to [Caller.Customer]
	Own        Right = "own"        // pages for customers alone
	Upload     Right = "upload"     // bring reports in; a customer his own
	Bill       Right = "bill"       // statements and credits
	Manage     Right = "manage"     // customers, licenses, products, sites, alerts
	Administer Right = "administer" // users, keys, settings, webhooks
)

// Rights lists them.
var Rights = []Right{Public, SignedIn, Account, Read, Look, Own, Upload, Bill, Manage, Administer}

var granted = map[portal.Role][]Right{
	portal.RoleAdmin:    {SignedIn, Account, Read, Look, Upload, Bill, Manage, Administer},
	portal.RoleStaff:    {SignedIn, Account, Read, Look, Upload, Bill, Manage},
	portal.RoleBilling:  {SignedIn, Account, Read, Look, Bill},
	portal.RoleViewer:   {SignedIn, Account, Read, Look},
	portal.RoleCustomer: {SignedIn, Account, Look, Own, Upload},
}

// Scopes lists the rights of a role that an API token of its users can be narrowed
// to.
func Scopes(role portal.Role) (out []Right) {
	for _, r := range granted[role] {
		if r != SignedIn && r != Account && r != Own {
			out = append(out, r)
		}
	}
	return out
}

// A Caller is who sends a request. The zero value is nobody.
type Caller struct {
	User     string // id; empty: nobody
	Email    string
	Name     string
	Role     portal.Role
	Customer string // of RoleCustomer: the one he belongs to
	// Token is the id of the API token that was shown; empty: a session.
	Token string
	// Scopes are what the token may be used for; nil: whatever the role may.
	Scopes []Right
	// Session is the id of the session; empty: an API token.
	Session string
	// Enrol: the portal wants a second factor of him, and he has none yet.
	Enrol bool
}

// May tells whether the caller has a right.
func (c Caller) May(right Right) bool {
	switch {
	case right == Public:
		return true
	case c.User == "":
		return false
	case right == Account && c.Token != "":
		return false
	case right == SignedIn:
		return true
	case c.Scopes != nil && !slices.Contains(c.Scopes, right) && !(right == Look && slices.Contains(c.Scopes, Read)):
		return false
	}
	return slices.Contains(granted[c.Role], right)
}

// MayKey tells whether the caller may have the keys of the licenses that he sees:
// who manages them, and a customer his own. Others read what a license says, not
// the line with which any site begins.
func (c Caller) MayKey() bool {
	return c.May(Manage) || c.Role == portal.RoleCustomer && c.May(Look)
}

// Actor is how the audit log names the caller.
func (c Caller) Actor() string {
	if c.Token != "" {
		return c.Email + " (token " + c.Token + ")"
	}
	return c.Email
}

type callerKey struct{}

// CallerOf returns who sent the request of ctx.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// WithCaller returns a context whose requests are those of c.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}
