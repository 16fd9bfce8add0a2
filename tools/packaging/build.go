package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/internal/cli"
)

// A program is one of the two, with what its package has of its own.
type program struct {
	name, title, about string
	config             string // its file below tools/packaging/config and /etc/NAME
	schema             string // of its settings, as gendocs names it
}

var programs = []program{
	{"meterseal", "Meterseal, the site", "Counts usage without internet, seals it, writes signed reports.", "meterseal.yaml", "meterseal.schema.json"},
	{"meterseal-vendor", "Meterseal, the vendor's side", "Makes licenses, takes usage reports in, answers them.", "meterseal-vendor.env", "vendor.schema.json"},
}

// modulePath is that of the repository.
const modulePath = "github.com/meterseal/meterseal"

// generated is the folder of man pages, completion and schemas.
func (r *release) generated() string { return filepath.Join(r.work, "generated") }

// binaries is the folder of the programs of arch.
func (r *release) binaries(arch string) string { return filepath.Join(r.work, arch, "bin") }

// generate lets both programs describe themselves.
func (r *release) generate() error {
	for _, p := range programs {
		if err := command("", []string{"CGO_ENABLED=0"}, "go", "run", "-trimpath", "-buildvcs=false", "-tags", "gendocs", "-ldflags", r.named(), "./cmd/"+p.name, filepath.Join(r.generated(), p.name)); err != nil {
			return err
		}
	}
	return nil
}

// named are the linker's flags that give the programs the version.
func (r *release) named() string {
	flags := "-s -w -buildid="
	if r.version != cli.Version { // else as whoever builds from source has them
		flags += " -X " + modulePath + "/internal/cli.Version=" + r.version
	}
	return flags
}

// build makes the programs for arch, as "go tool task build" does.
func (r *release) build(arch string) error {
	into := r.binaries(arch) + string(filepath.Separator)
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", r.named(), "-o", into}
	for _, p := range programs {
		args = append(args, "./cmd/"+p.name)
	}
	return command("", []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch}, "go", args...)
}

// linked are the modules of a program, as "go version -m" lists them, without ours.
func (r *release) linked(arch string, p program) ([]*debug.Module, *debug.BuildInfo, error) {
	info, err := buildinfo.ReadFile(filepath.Join(r.binaries(arch), p.name))
	if err != nil {
		return nil, nil, err
	}
	return info.Deps, info, nil
}

// allLinked are the modules of both programs, in order.
func (r *release) allLinked(arch string) ([]*debug.Module, error) {
	var all []*debug.Module
	for _, p := range programs {
		deps, _, err := r.linked(arch, p)
		if err != nil {
			return nil, err
		}
		all = append(all, deps...)
	}
	slices.SortFunc(all, func(a, b *debug.Module) int { return strings.Compare(a.Path, b.Path) })
	return slices.CompactFunc(all, func(a, b *debug.Module) bool { return a.Path == b.Path }), nil
}

// fill writes a file of tools/packaging with the words of p in the place of those
// between @.
func (r *release) fill(from, to string, p program, arch string) error {
	text, err := os.ReadFile(filepath.Join("tools", "packaging", from))
	if err != nil {
		return err
	}
	words := strings.NewReplacer("@NAME@", p.name, "@TITLE@", p.title, "@ABOUT@", p.about, "@CONFIG@", p.config, "@ARCH@", arch,
		"@VERSION@", r.version, "@DATE@", r.date.Format("2006-01-02"))
	return r.write(to, 0o644, []byte(words.Replace(string(text))))
}

// write writes a file and the folders above it.
func (r *release) write(path string, mode os.FileMode, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, b, mode); err != nil {
		return err
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		return fmt.Errorf("mode of %s: %w", path, err)
	}
	return nil
}

// place copies a file.
func (r *release) place(from, to string, mode os.FileMode) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return r.write(to, mode, b)
}
