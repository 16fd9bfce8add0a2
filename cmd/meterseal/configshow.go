package main

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/console"
)

// rereadKeys are the files that SIGHUP reads again.
var rereadKeys = []string{"http.tls.cert_file", "http.tls.key_file", "nats.tls.cert_file", "nats.tls.key_file", "nats.tls.client_ca_file"}

// describe says what is in force and where it came from, without secrets: the same
// at the command line, over HTTP and on a page.
func (c *Config) describe() console.Config {
	out := console.Config{File: c.path, Settings: []console.ConfigSetting{}, Lists: []console.ConfigItem{}}
	for _, s := range settings {
		x := console.ConfigSetting{Key: s.key, Value: c.values[s.key], From: c.origin[s.key], Default: s.value, Variable: s.variable(), Flag: "--" + s.flagName(),
			Doc: s.doc, Reread: slices.Contains(rereadKeys, s.key)}
		x.Changed = x.From != "default" && x.Value != x.Default
		switch {
		case s.key == "store.dir":
			x.Value = c.DataDir
		case s.key == "license.key" && x.Value != "":
			x.Value, x.Secret = "given", true
		case s.key == "store.nats_url":
			x.Value, x.Secret = withoutPassword(x.Value)
		}
		out.Settings = append(out.Settings, x)
	}
	for _, m := range c.Meters {
		out.Lists = append(out.Lists, console.ConfigItem{Kind: "meter", Name: m.ID, Value: m.Aggregation.String()})
	}
	for _, j := range c.Exports {
		out.Lists = append(out.Lists, console.ConfigItem{Kind: "export", Name: j.Name, Value: j.Schedule.String() + " in " + j.Schedule.Zone().String() + " to " + j.Folder})
	}
	for _, p := range c.Pools {
		out.Lists = append(out.Lists, console.ConfigItem{Kind: "seats", Name: p.Name, Value: strconv.FormatUint(p.Count, 10)})
	}
	for _, v := range c.Variables {
		out.Lists = append(out.Lists, console.ConfigItem{Kind: "variable", Name: v.Name, Value: v.Value})
	}
	return out
}

// withoutPassword takes names and passwords out of addresses with commas between
// them; cut tells whether there were some.
func withoutPassword(list string) (shown string, cut bool) {
	var out []string
	for _, s := range strings.Split(list, ",") {
		if u, err := url.Parse(strings.TrimSpace(s)); err == nil && u.User != nil {
			u.User, cut = nil, true
			s = u.String()
		} else if err != nil && strings.Contains(s, "@") {
			s, cut = "given", true
		}
		out = append(out, s)
	}
	return strings.Join(out, ","), cut
}
