package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// Device variables: what site and applications say of themselves to the vendor, in
// each boot record and in the retire record (L-02, L-09). Those of the
// configuration count before those that were set while the daemon ran.

// loadVariables reads the mapping variables of the file and the flags --variable.
func (c *Config) loadVariables(cmd *cobra.Command, file yamlFile) (problems []string) {
	take := func(where, name, value string) {
		if err := ledger.CheckVariable(name, value); err != nil {
			problems = append(problems, where+": "+plain(err))
			return
		}
		c.Variables = c.Variables.Set(name, value)
	}
	for key, v := range file.plain {
		if name, ok := strings.CutPrefix(key, "variables."); ok {
			take(fmt.Sprintf("%s:%d:%d", c.path, v.line, v.column), name, v.value)
		}
	}
	flags, _ := cmd.Flags().GetStringArray("variable")
	for _, v := range flags {
		name, value, _ := strings.Cut(v, "=")
		take("--variable "+v, name, value)
	}
	if len(problems) == 0 {
		if err := ledger.CheckVariables(c.Variables); err != nil {
			problems = append(problems, "variables: "+plain(err))
		}
	}
	return problems
}

// variables has the device variables of a site.
type variables struct{ *site }

// Variables is console.Variables. What applications have set was checked beside the
// configuration of that time; of what does not fit beside that of today the last
// by name are left out.
func (v variables) Variables() ledger.Attrs {
	all := slices.Clone(v.cfg.Variables)
	for _, set := range v.store.Variables() {
		if _, configured := all.Get(set.Name); configured {
			continue
		}
		more := slices.Clone(all).Set(set.Name, set.Value)
		if ledger.CheckVariables(more) != nil {
			break
		}
		all = more
	}
	return all
}

// SetVariable is console.Variables.
func (v variables) SetVariable(ctx context.Context, node, name, value string) error {
	if e := v.refuse(); e != nil {
		return e
	}
	if node != "" && name != "" {
		name = node + "." + name
	}
	bad := func(err error, hint string) error {
		return &events.Error{Code: events.CodeMalformed, Field: "name", Message: plain(err), Hint: hint}
	}
	check := value
	if value == "" {
		check = "-" // only the name matters
	}
	if err := ledger.CheckVariable(name, check); err != nil {
		return bad(err, "choose another; a node's name and a point stand before those that a node sets")
	}
	if set, ok := v.cfg.Variables.Get(name); ok {
		return bad(fmt.Errorf("variable %s is configured here, as %.80q", name, set), "change variables in the configuration, or choose another name")
	}
	v.variablesMu.Lock() // so that no two together pass the bounds
	defer v.variablesMu.Unlock()
	if old, _ := v.store.Variables().Get(name); old == value {
		return nil
	}
	if value != "" {
		if err := ledger.CheckVariables(v.Variables().Set(name, value)); err != nil {
			return bad(err, "forget one that is not needed, or shorten it")
		}
	}
	if _, err := v.gateway.Control(ctx, projections.VariableLine(name, value)); err != nil {
		return controlError(err)
	}
	return nil
}

// variableBody is a request on var.<node>.
type variableBody struct {
	Name  string `json:"name"`
	Value string `json:"value"` // empty: forget it
}

// serveVariables answers var.<node>.
func (s *site) serveVariables() error {
	return s.service.Handle("var.*", false, func(ctx context.Context, q stream.Request) []byte {
		var b variableBody
		err := readStrict(q.Data, &b)
		if err == nil {
			err = variables{s}.SetVariable(ctx, q.Node, b.Name, b.Value)
		}
		if err != nil {
			return stream.ErrorAnswer(asEventError(err))
		}
		return []byte(`{"status":200}`)
	})
}
