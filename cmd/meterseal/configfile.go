package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/meterseal/meterseal/events"
)

// yamlFile is a parsed file: plain keys with their place, the meters, the pools of
// seats, and the exports.
type yamlFile struct {
	plain   map[string]yamlValue
	lists   map[string][]yamlValue // lists of values by their key; nil: none may be here
	meters  []yamlMeter
	pools   []yamlMeter
	exports []yamlMeter
}

type yamlValue struct {
	value        string
	line, column int
}

// yamlMeter is an element of a list: a meter, a pool, an export.
type yamlMeter struct {
	fields map[string]yamlValue
	lists  map[string][]yamlValue // of an export
	dims   []events.MeterDimension
}

func readYAML(path string) (yamlFile, error) {
	f := yamlFile{plain: map[string]yamlValue{}}
	data, err := os.ReadFile(path)
	if err != nil {
		return f, err
	}
	tree, err := parser.ParseBytes(data, 0)
	var syntax yaml.Error
	if errors.As(err, &syntax) && syntax.GetToken() != nil {
		at := syntax.GetToken().Position
		return f, fmt.Errorf("%s:%d:%d: %s", path, at.Line, at.Column, syntax.GetMessage())
	}
	if err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
	docs := slices.DeleteFunc(tree.Docs, func(d *ast.DocumentNode) bool { return d.Body == nil })
	if len(docs) > 1 {
		return f, fmt.Errorf("%s holds %d documents, want one", path, len(docs))
	}
	if len(docs) == 0 {
		return f, nil
	}
	return f, f.walk(path, "", docs[0].Body)
}

// walk collects scalars under their dotted keys.
func (f *yamlFile) walk(path, key string, n ast.Node) (err error) {
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			if err := f.walk(path, key, v); err != nil {
				return err
			}
		}
		return nil
	case *ast.MappingValueNode:
		k := strings.TrimPrefix(key+"."+n.Key.GetToken().Value, ".")
		switch k {
		case "meters":
			f.meters, err = readList(path, k, n.Value)
			return err
		case "seats":
			f.pools, err = readList(path, k, n.Value)
			return err
		case "exports":
			f.exports, err = readList(path, k, n.Value)
			return err
		}
		return f.walk(path, k, n.Value)
	case *ast.SequenceNode:
		if f.lists == nil {
			return fmt.Errorf("%s: %s is a list, want a value", place(path, n), key)
		}
		return f.list(path, key, n)
	case *ast.NullNode:
		return nil
	}
	t := n.GetToken()
	if key == "license.solutionName" { // another spelling of the same key (P-02)
		key = "license.solution_name"
	}
	if old, ok := f.plain[key]; ok {
		return fmt.Errorf("%s: %s stands twice, first in line %d", place(path, n), key, old.line)
	}
	f.plain[key] = yamlValue{t.Value, t.Position.Line, t.Position.Column}
	return nil
}

// list collects the values of a list.
func (f *yamlFile) list(path, key string, n *ast.SequenceNode) error {
	f.lists[key] = []yamlValue{}
	for _, v := range n.Values {
		switch v.(type) {
		case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode:
			return fmt.Errorf("%s: %s is a list of values, nothing deeper", place(path, v), key)
		}
		t := v.GetToken()
		f.lists[key] = append(f.lists[key], yamlValue{t.Value, t.Position.Line, t.Position.Column})
	}
	return nil
}

// place is where n stands: path:line:column.
func place(path string, n ast.Node) string {
	at := n.GetToken().Position
	return fmt.Sprintf("%s:%d:%d", path, at.Line, at.Column)
}

// readList reads the elements of a list, each with its own keys.
func readList(path, key string, n ast.Node) (out []yamlMeter, err error) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return nil, fmt.Errorf("%s: %s is not a list", place(path, n), key)
	}
	for _, item := range list.Values {
		one := yamlFile{plain: map[string]yamlValue{}}
		if key == "exports" {
			one.lists = map[string][]yamlValue{}
		}
		if err := one.walk(path, "", item); err != nil {
			return nil, err
		}
		m := yamlMeter{fields: one.plain, lists: one.lists}
		for k, v := range one.plain {
			if name, ok := strings.CutPrefix(k, "dimensions."); ok {
				path, private := strings.CutPrefix(v.value, "private ")
				m.dims = append(m.dims, events.MeterDimension{Name: name, Path: path, Private: private})
				delete(m.fields, k)
			}
		}
		slices.SortFunc(m.dims, func(a, b events.MeterDimension) int { return cmp.Compare(a.Name, b.Name) })
		out = append(out, m)
	}
	return out, nil
}

var meterKeys = []string{"id", "unit", "scale", "aggregation", "description", "event_type", "value", "subject", "unique_max", "corrections", "undo", "rulebook"}

// meter reads one element of meters.
func (y yamlMeter) meter(path string) (m events.Meter, problems []string) {
	m.Dimensions = y.dims
	for k, v := range y.fields {
		var err error
		switch k {
		case "id":
			m.ID = v.value
		case "unit":
			m.Unit = v.value
		case "scale":
			m.Scale, err = strconv.Atoi(v.value)
		case "aggregation":
			m.Aggregation, err = events.ParseAggregation(v.value)
		case "description":
			m.Description = v.value
		case "event_type":
			m.EventType = v.value
		case "value":
			m.Value = v.value
		case "subject":
			m.Subject = v.value
		case "unique_max":
			m.UniqueMax, err = strconv.Atoi(v.value)
		case "corrections":
			m.Corrections, err = strconv.ParseBool(v.value)
		case "undo":
			m.Undo, err = parseDuration(v.value)
		case "rulebook":
			m.RuleBook = v.value
		default:
			err = fmt.Errorf("unknown key %q%s", k, nearest(k, meterKeys))
		}
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s:%d:%d: meter %s: %s", path, v.line, v.column, y.fields["id"].value, plain(err)))
		}
	}
	slices.Sort(problems)
	if len(problems) == 0 {
		if err := m.Validate(); err != nil {
			problems = append(problems, fmt.Sprintf("%s:%d:%d: %s", path, y.fields["id"].line, y.fields["id"].column, plain(err)))
		}
	}
	return m, problems
}

// unknown names the keys that mean nothing, with the likely one.
func (f yamlFile) unknown(path string) []string {
	var keys []string
	for _, s := range settings {
		keys = append(keys, s.key)
	}
	var out []string
	for k, v := range f.plain {
		if !slices.Contains(keys, k) && !strings.HasPrefix(k, "variables.") {
			out = append(out, fmt.Sprintf("%s:%d:%d: unknown key %q%s", path, v.line, v.column, k, nearest(k, keys)))
		}
	}
	slices.Sort(out)
	return out
}
