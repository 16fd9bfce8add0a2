package main

import (
	"encoding/json"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// bill is a bill of materials of CycloneDX 1.5, as far as ours needs it.
type bill struct {
	Format       string       `json:"bomFormat"`
	Spec         string       `json:"specVersion"`
	Version      int          `json:"version"`
	Metadata     billMetadata `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type billMetadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl,omitempty"`
	Licenses   []licensed `json:"licenses,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type licensed struct {
	License struct {
		ID string `json:"id"`
	} `json:"license"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// sbomFile is where the bill of materials of arch is written first.
func (r *release) sbomFile(arch string) string { return filepath.Join(r.work, arch, "sbom.cdx.json") }

// billOfMaterials lists every module that the two programs link and the version of
// Go that made them, from the programs themselves.
func (r *release) billOfMaterials(arch string) error {
	ours := component{Type: "application", Ref: "pkg:golang/" + modulePath + "@" + r.version, Name: "meterseal", Version: r.version, PURL: "pkg:golang/" + modulePath + "@" + r.version}
	b := bill{Format: "CycloneDX", Spec: "1.5", Version: 1, Metadata: billMetadata{r.date.Format("2006-01-02T15:04:05Z"), ours}}
	all := dependency{Ref: ours.Ref}
	for _, p := range programs {
		deps, info, err := r.linked(arch, p)
		if err != nil {
			return err
		}
		one := component{Type: "application", Ref: p.name, Name: p.name, Version: r.version, Properties: []property{{"go:arch", arch}}}
		std := moduleOf("stdlib", strings.TrimPrefix(info.GoVersion, "go"))
		from := dependency{Ref: one.Ref, DependsOn: []string{std.Ref}}
		for _, m := range deps {
			from.DependsOn = append(from.DependsOn, moduleOf(m.Path, m.Version).Ref)
		}
		if len(b.Components) == 0 {
			b.Components = append(b.Components, std)
		}
		b.Components = append(b.Components, one)
		b.Dependencies = append(b.Dependencies, from)
		all.DependsOn = append(all.DependsOn, one.Ref)
	}
	modules, err := r.allLinked(arch)
	if err != nil {
		return err
	}
	for _, m := range modules {
		b.Components = append(b.Components, r.componentOf(m))
	}
	b.Dependencies = append(b.Dependencies, all)
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	return r.write(r.sbomFile(arch), 0o644, append(text, '\n'))
}

func moduleOf(path, version string) component {
	purl := "pkg:golang/" + path + "@" + version
	return component{Type: "library", Ref: purl, Name: path, Version: version, PURL: purl}
}

// componentOf describes a linked module. Its checksum is that of go.sum, by which
// Go finds the same source again.
func (r *release) componentOf(m *debug.Module) component {
	c := moduleOf(m.Path, m.Version)
	c.Properties = []property{{"go:sum", m.Sum}}
	return c
}
