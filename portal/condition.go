package portal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// CodePrecondition refuses an edit of what was changed since its maker read it.
const CodePrecondition = "precondition_failed"

type conditionKey struct{}

// A condition is what has to be true of what a call changes.
type condition struct {
	tags  string // of If-Match; empty: any
	isNew bool
}

// IfMatch returns a context in which a change of a license, ledger, product,
// policy or customer is refused with [CodePrecondition], unless tags names what it
// is of: the header If-Match of HTTP, tags in quotes with commas between them, of
// which what follows a dot does not count. Empty, or *: anything.
func IfMatch(ctx context.Context, tags string) context.Context {
	if tags == "" || strings.TrimSpace(tags) == "*" {
		return ctx
	}
	return context.WithValue(ctx, conditionKey{}, condition{tags: tags})
}

// IfNew returns a context in which SetProduct, SetPolicy and SetCustomer make what
// is not there yet: else already_exists.
func IfNew(ctx context.Context) context.Context {
	return context.WithValue(ctx, conditionKey{}, condition{isNew: true})
}

// Tag names one state of a *License, *Ledger, Product, Policy or Customer: it
// changes whenever somebody changes that.
func Tag(v any) string {
	switch v := v.(type) {
	case *License:
		return fmt.Sprintf("v%d", v.version)
	case *Ledger:
		return fmt.Sprintf("v%d", v.version)
	}
	sum := sha256.Sum256([]byte(toJSON(v)))
	return hex.EncodeToString(sum[:8])
}

// check compares what is about to be changed with the condition of ctx. The caller
// holds the row, so that it stays what it is.
func check(ctx context.Context, kind, id string, v any, found bool) error {
	c, _ := ctx.Value(conditionKey{}).(condition)
	switch {
	case c.isNew && found:
		return refuse(CodeExists, "there is a %s %q", kind, id)
	case c.tags == "":
		return nil
	case !found:
		return refuse(CodePrecondition, "there is no %s %q", kind, id)
	}
	tag := Tag(v)
	for one := range strings.SplitSeq(c.tags, ",") {
		one, _, _ = strings.Cut(strings.Trim(strings.TrimSpace(one), `"`), ".") // a weak one never matches
		if one == tag {
			return nil
		}
	}
	return refuse(CodePrecondition, "%s %s was changed since it was read", kind, id)
}

// holdCatalog makes a transaction the only one that changes a row of the catalog,
// if that is there.
func (c conn) holdCatalog(ctx context.Context, table, key, id string) error {
	_, err := c.exec(ctx, "UPDATE "+table+" SET created = created WHERE "+key+" = ?", id)
	return err
}
