//go:build gendocs

// With the tag gendocs the program writes what a package has beside it into the
// folder that is named, and does nothing else: go run -tags gendocs ./cmd/meterseal DIR.

package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/gendocs"
)

func main() {
	a := &app{Program: cli.Program{Name: "meterseal", Out: os.Stdout, Err: os.Stderr}, clock: systemClock()}
	root := a.rootCommand()
	a.Prepare(root)
	if err := gendocs.Write(os.Args[1], gendocs.Program{Root: root, Version: version, Released: cli.Released, Config: describeSettings(),
		Pages: []gendocs.Page{{Name: "meterseal-report", About: "the usage report, byte for byte", Source: "docs/formats/report.md"}}}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// describeSettings describes meterseal.yaml.
func describeSettings() *gendocs.Config {
	c := &gendocs.Config{File: "meterseal.yaml",
		About: "What a site can be told. A setting comes from its flag, else its variable, else the file, else its default; \"meterseal config show\" says which. Relative paths count from the folder of the file.",
		Lists: []gendocs.List{
			{Key: "meters", Doc: "What is counted; also --meter ID:AGGREGATION[:SCALE[:UNIT]]. The meters of a license replace them.", Keys: listKeys("meters", append(slices.Clone(meterKeys), "dimensions"))},
			{Key: "seats", Doc: "Pools of floating seats; also --seats ID:COUNT[:LEASE].", Keys: listKeys("seats", poolKeys)},
			{Key: "exports", Doc: "Reports that are exported by a schedule.", Keys: listKeys("exports", exportKeys)},
			{Key: "variables", Doc: "Device variables that the vendor is told; also --variable NAME=VALUE.", Map: true},
		}}
	for _, s := range settings {
		c.Settings = append(c.Settings, gendocs.Setting{Key: s.key, Flag: s.flagName(), Variable: s.variable(), Default: s.value, Doc: s.doc, Text: settingTexts[s.key], Boolean: s.value == "true" || s.value == "false"})
	}
	for key := range settingTexts {
		if !slices.ContainsFunc(settings, func(s setting) bool { return s.key == key }) {
			panic("a text of " + key + ", which is no setting")
		}
	}
	return c
}

// listKeys describes the keys of a list, in the order in which they are read about.
func listKeys(list string, keys []string) (described []gendocs.Setting) {
	texts := listTexts[list]
	if len(texts) != len(keys) {
		panic(fmt.Sprintf("%d texts of the %d keys of %s", len(texts), len(keys), list))
	}
	for _, k := range keys {
		text, ok := texts[k]
		if !ok {
			panic("no text of " + list + " " + k)
		}
		described = append(described, gendocs.Setting{Key: k, Default: text.value, Text: text.text})
	}
	return described
}
