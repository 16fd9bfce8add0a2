// Command packaging makes what people install: for each architecture a tarball, a
// deb and an rpm of each program, and a bill of materials; beside them the
// checksums of all and, with a key, their signature.
//
// The bytes depend on the source, the version of Go and nothing else: neither the
// folder nor the day nor the machine ("go tool task reproduce" compares). It runs
// in the root of the repository and asks no network beyond that of "go build".
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/meterseal/meterseal/internal/cli"
)

// release is one run of the program.
type release struct {
	out     string // absolute; what is released
	work    string // absolute; what is thrown away
	version string
	date    time.Time // of every file
	nfpm    string    // the program that makes deb and rpm
}

func main() {
	out := flag.String("out", "bin/packages", "folder for the packages")
	archs := flag.String("arch", "amd64,arm64", "architectures, with commas between them")
	version := flag.String("version", cli.Version, "what the programs call themselves")
	key := flag.String("sign", "", "OpenSSH key that signs the checksums; none: they are not signed")
	flag.Parse()
	if err := run(*out, strings.Split(*archs, ","), *version, *key); err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

func run(out string, archs []string, version, key string) (err error) {
	r, err := newRelease(out, version)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.work)) }()
	for _, arch := range archs {
		if err := r.packages(arch, programs); err != nil {
			return fmt.Errorf("%s: %w", arch, err)
		}
		if err := r.tarball(arch, key); err != nil {
			return fmt.Errorf("%s: %w", arch, err)
		}
	}
	if err := writeSums(r.out); err != nil || key == "" {
		return err
	}
	return sign(r.out, key)
}

// newRelease makes the folders, and what is the same for every architecture.
func newRelease(out, version string) (r *release, err error) {
	r = &release{version: version}
	if r.date, err = time.Parse(time.DateOnly, cli.Released); err != nil {
		return nil, err
	}
	if r.out, err = filepath.Abs(out); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return nil, err
	}
	// nfpm works in other folders, where "go tool" would not find it.
	nfpm, err := exec.Command("go", "tool", "-modfile=tools/nfpm/go.mod", "-n", "nfpm").Output()
	if err != nil {
		return nil, fmt.Errorf("nfpm: %w", err)
	}
	r.nfpm = strings.TrimSpace(string(nfpm))
	if r.work, err = os.MkdirTemp("", "packaging"); err != nil {
		return nil, err
	}
	return r, r.generate()
}

// packages makes deb and rpm of some programs for one architecture.
func (r *release) packages(arch string, some []program) error {
	for _, step := range []func(string) error{r.build, r.licenses, r.billOfMaterials} {
		if err := step(arch); err != nil {
			return err
		}
	}
	for _, p := range some {
		if err := r.system(arch, p); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// command runs a program in dir, the root of the repository if it is empty, and
// shows what it said if it ends badly.
func command(dir string, env []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
