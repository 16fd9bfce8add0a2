package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// Pools of floating seats that a configuration declares. They count while the
// site evaluates: a license has its own.

var poolKeys = []string{"id", "count", "over", "lease", "borrow", "hold", "share"}

// loadPools reads the list seats of the file and the flags --seats.
func (c *Config) loadPools(cmd *cobra.Command, file yamlFile) (problems []string) {
	for _, y := range file.pools {
		p, errs := y.pool(c.path)
		problems = append(problems, errs...)
		c.Pools = append(c.Pools, p)
	}
	flags, _ := cmd.Flags().GetStringArray("seats")
	for _, v := range flags {
		id, count, _ := strings.Cut(v, ":")
		count, lease, given := strings.Cut(count, ":")
		fields := map[string]string{"id": id, "count": count}
		if given {
			fields["lease"] = lease
		}
		p, err := newPool(fields)
		if err != nil {
			problems = append(problems, fmt.Sprintf("--seats %s: %v; write it like editor:5 or editor:5:10m", v, err))
			continue
		}
		c.Pools = append(c.Pools, p)
	}
	for i, p := range c.Pools {
		if slices.ContainsFunc(c.Pools[:i], func(o license.Pool) bool { return o.Name == p.Name }) && p.Name != "" {
			problems = append(problems, fmt.Sprintf("pool %s is declared twice", p.Name))
		}
	}
	return problems
}

// pool reads one element of seats.
func (y yamlMeter) pool(path string) (license.Pool, []string) {
	fields := map[string]string{}
	for k, v := range y.fields {
		if !slices.Contains(poolKeys, k) {
			return license.Pool{}, []string{fmt.Sprintf("%s:%d:%d: pool %s: unknown key %q%s", path, v.line, v.column, y.fields["id"].value, k, nearest(k, poolKeys))}
		}
		fields[k] = v.value
	}
	p, err := newPool(fields)
	if err != nil {
		at := y.fields["id"]
		return p, []string{fmt.Sprintf("%s:%d:%d: pool %s: %v", path, at.line, at.column, at.value, err)}
	}
	return p, nil
}

// newPool makes a pool of its fields as they are spelled.
func newPool(f map[string]string) (p license.Pool, err error) {
	p = license.Pool{Name: f["id"], Lease: ledger.Dur{N: 5, Unit: 'm'}, Borrow: ledger.Dur{Unit: 's'}, Hold: ledger.Dur{Unit: 's'}, Share: "none"}
	if !events.ValidMeter(p.Name) { // it ends a NATS subject, too
		return p, fmt.Errorf("id %q is no name of a pool", p.Name)
	}
	for _, n := range []struct {
		name string
		to   *uint64
	}{{"count", &p.Count}, {"over", &p.Over}} {
		v, ok := f[n.name]
		if !ok && n.name == "over" {
			continue
		}
		if *n.to, err = strconv.ParseUint(v, 10, 62); err != nil {
			return p, fmt.Errorf("%s is %q, want a whole number up to %d", n.name, v, uint64(math.MaxInt64/2))
		}
	}
	for _, d := range []struct {
		name     string
		to       *ledger.Dur
		min, max ledger.Dur
	}{
		{"lease", &p.Lease, ledger.Dur{N: 1, Unit: 's'}, ledger.Dur{N: 24, Unit: 'h'}},
		{"borrow", &p.Borrow, ledger.Dur{}, ledger.Dur{N: uint64(projections.MaxBorrow.Hours()), Unit: 'h'}},
		{"hold", &p.Hold, ledger.Dur{}, ledger.Dur{N: uint64(projections.MaxHold.Hours()), Unit: 'h'}},
	} {
		v, ok := f[d.name]
		if !ok {
			continue
		}
		if *d.to, err = ledger.ParseDur(v); err != nil || d.to.Duration() < d.min.Duration() || d.to.Duration() > d.max.Duration() {
			return p, fmt.Errorf("%s is %q, want a span like 5m, at most %v", d.name, v, d.max)
		}
	}
	if v, ok := f["share"]; ok {
		if p.Share = v; !slices.Contains([]string{"none", "user", "host"}, v) {
			return p, fmt.Errorf("share is %q, want none, user or host", v)
		}
	}
	return p, nil
}
