package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const ours = "github.com/meterseal/meterseal/"

// notLinked lists what the vendor's program must not link, each with its reason.
// A path ends in "/..." to mean everything below it.
var notLinked = []struct{ path, reason string }{
	{"github.com/nats-io/nats-server/v2/...", "a vendor takes files in, and runs no stream"},
	{"github.com/nats-io/nats.go/...", "a vendor takes files in, and asks no site"},
	{"github.com/cockroachdb/pebble/v2/...", "the vendor's store is SQL; nobody else's history is opened here"},
	{ours + "events/stream/...", "the site's side"},
	{ours + "projections/...", "the site's side"},
	{ours + "console/...", "the site's side"},
	{ours + "meter/...", "the application's side"},
	{ours + "cmd/meterseal", "the site's side"},
	{ours + "internal/machine/...", "the site's side"},
	{ours + "internal/tpm/...", "the site's side"},
	{ours + "bench/...", "benchmarks and their peers are not part of the product"},
	{ours + "internal/testclock", "lets a file say what time it is: for tests, and builds with the tag testclock"},
	{ours + "internal/crashtest", "ends processes and cuts disks: for tests"},
	{ours + "internal/postgrestest", "starts a database server: for tests"},
	{ours + "internal/scripttest", "the stories: for tests"},
	{ours + "internal/vectors", "reads test files of the repository"},
	{ours + "export/exporttest", "holds private keys that everybody has: for tests"},
	{ours + "internal/gendocs", "man pages are made for packages, by builds with the tag gendocs"},
	{"github.com/spf13/cobra/doc", "the same"},
	{"testing/...", "registers flags and keeps test code reachable"},
	{"net/http/pprof", "serves memory, and so keys, on the default mux"},
	{"plugin", "code that was not reviewed must not get in beside the vendor's keys"},
	{"runtime/cgo", "releases are built without cgo, so that anybody can build the same bytes"},
	{"github.com/rogpeppe/go-internal/testscript/...", "test-only requirement of go.mod"},
	{"github.com/google/go-cmp/...", "test-only requirement of go.mod"},
	{"pgregory.net/...", "test-only requirement of go.mod"},
}

// linked asks what a release would link, so it is built without cgo; tags are
// those of the build.
func linked(t *testing.T, tags string) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-tags", tags, "-f", `{{.ImportPath}} {{join .Imports " "}}`, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps: %v", err)
	}
	importers := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		for _, p := range f[1:] {
			importers[p] = append(importers[p], f[0])
		}
	}
	return importers
}

// YD-8 from the other side: the two programs share formats, and no machinery.
func TestNotLinked(t *testing.T) {
	importers := linked(t, "")
	for _, must := range []string{ours + "portal", ours + "portal/internal/issue", ours + "internal/cli"} {
		if importers[must] == nil {
			t.Errorf("go list -deps does not name %s: this test would not see anything", must)
		}
	}
	for p, from := range importers {
		for _, n := range notLinked {
			below, all := strings.CutSuffix(n.path, "/...")
			if p == below || all && strings.HasPrefix(p, below+"/") {
				t.Errorf("the vendor's program links %s through %s: %s", p, from[0], n.reason)
			}
		}
	}
}

// The clock of a test exists in builds with its tag alone: the released program
// has no switch for it.
func TestTestClockNeedsItsTag(t *testing.T) {
	if from := linked(t, "testclock")[ours+"internal/testclock"]; !slices.Contains(from, strings.TrimSuffix(ours, "/")+"/cmd/meterseal-vendor") {
		t.Errorf("with the tag testclock, internal/testclock is imported by %q, want the program", from)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "_test.go") || name == "clock_testclock.go" {
			continue
		}
		if strings.Contains(string(b), "TEST_CLOCK") {
			t.Errorf("%s names the clock of tests", name)
		}
	}
}

// Every folder of ours that notLinked names is in the tree, but for one that is
// still to come.
func TestNotLinkedNamesFolders(t *testing.T) {
	for _, n := range notLinked {
		folder, is := strings.CutPrefix(strings.TrimSuffix(n.path, "/..."), ours)
		if !is || folder == "meter" {
			continue
		}
		if _, err := os.Stat(filepath.Join("..", "..", folder)); err != nil {
			t.Errorf("notLinked names %s: %v", folder, err)
		}
	}
}
