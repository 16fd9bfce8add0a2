package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// legal are the files of a module that have to go with its code.
var legal = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|copyright|patents)([.-].*)?$`)

// licensesDir is the folder of the license texts of what arch links.
func (r *release) licensesDir(arch string) string { return filepath.Join(r.work, arch, "LICENSES") }

// licenses collects the license texts of all modules that are linked, and of Go
// itself. One without any is an error: nobody could tell whether it may be shipped.
func (r *release) licenses(arch string) error {
	modules, err := r.allLinked(arch)
	if err != nil {
		return err
	}
	args := []string{"list", "-m", "-json"}
	for _, m := range modules {
		args = append(args, m.Path)
	}
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		return fmt.Errorf("go list -m: %w", err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var m struct{ Path, Version, Dir string }
		if err := d.Decode(&m); err != nil {
			return err
		}
		if err := r.copyLegal(m.Dir, filepath.Join(r.licensesDir(arch), filepath.FromSlash(m.Path))); err != nil {
			return err
		}
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	return r.copyLegal(strings.TrimSpace(string(root)), filepath.Join(r.licensesDir(arch), "go"+strings.TrimPrefix(runtime.Version(), "go")))
}

// copyLegal copies the license texts of a module.
func (r *release) copyLegal(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	found := 0
	for _, e := range entries {
		if !e.Type().IsRegular() || !legal.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
			continue
		}
		if err := r.place(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()), 0o644); err != nil {
			return err
		}
		found++
	}
	if found == 0 {
		return fmt.Errorf("%s has no license text", from)
	}
	return nil
}
