package portal

import (
	"context"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal/internal/issue"
)

// A Key is the public half of a vendor key.
type Key struct {
	Role  string `json:"role"`  // license, receipt, reply
	State string `json:"state"` // next, active, old, revoked
	VKey  string `json:"vkey"`
}

func keyOf(k issue.Key) Key { return Key{k.Role.String(), string(k.State), k.VKey.String()} }

// Keys lists the vendor's keys. A site's trust anchor is the license key.
func (p *Portal) Keys() (out []Key) {
	for _, k := range p.keys.List() {
		out = append(out, keyOf(k))
	}
	return out
}

func roleOf(name string) (ledger.Role, error) {
	for _, r := range []ledger.Role{ledger.RoleLicense, ledger.RoleReceipt, ledger.RoleReply} {
		if r.String() == name {
			return r, nil
		}
	}
	return 0, refuse(CodeBadRequest, "role is %q, want license, receipt or reply", name).with("line", "role")
}

// AddKey makes the next key of a role. Licenses announce it from now on; it
// signs nothing before PromoteKey.
func (p *Portal) AddKey(ctx context.Context, role, label, actor string) (Key, error) {
	r, err := roleOf(role)
	if err != nil {
		return Key{}, err
	}
	k, err := p.keys.Add(r, label)
	return p.keyChanged(ctx, k, err, "key.add", actor)
}

// PromoteKey lets the next key of a role sign. Sites that have not imported a
// license which announces it could not verify what it signs, so it is refused
// with key_not_announced while there are such sites, unless force is set.
func (p *Portal) PromoteKey(ctx context.Context, role string, force bool, actor string) (Key, error) {
	r, err := roleOf(role)
	if err != nil {
		return Key{}, err
	}
	if next := p.keys.Of(r, issue.Next); len(next) > 0 && !force {
		if err := p.announced(ctx, next[0]); err != nil {
			return Key{}, err
		}
	}
	k, err := p.keys.Promote(r)
	return p.keyChanged(ctx, k, err, "key.promote", actor)
}

// RevokeKey ends a key, named by vkey or name. Licenses say so from now on.
func (p *Portal) RevokeKey(ctx context.Context, key, actor string) (Key, error) {
	k, err := p.keys.Revoke(key)
	return p.keyChanged(ctx, k, err, "key.revoke", actor)
}

func (p *Portal) keyChanged(ctx context.Context, k issue.Key, err error, action, actor string) (Key, error) {
	if err != nil {
		return Key{}, err
	}
	return keyOf(k), p.store.tx(ctx, func(c conn) error {
		return c.audit(ctx, p.now(), actor, action, k.VKey.Name, nil, k.State)
	})
}

// announced refuses while an active ledger has not said, by the license serial
// in its ledger, that it has a license that lists the key.
func (p *Portal) announced(ctx context.Context, key ledger.VKey) error {
	c := p.store.reader()
	behind, err := list(ctx, c, scanText, `SELECT origin FROM ledgers WHERE state = 'active' AND serial > 0 AND in_force <
		COALESCE((SELECT MIN(serial) FROM documents WHERE documents.origin = ledgers.origin AND documents.note LIKE ?), serial + 1)`, "%-key "+key.String()+"\n%")
	if err != nil || len(behind) == 0 {
		return err
	}
	return refuse(CodeKeyUnannounced, "%d ledgers have not reported a license that lists %s", len(behind), key.Name).with("ledgers", behind)
}
