package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// notLinked lists what the site binary must not link, each with its reason. A
// path ends in "/..." to mean everything below it. What dependencies link for
// themselves and we cannot take out names those in by: nothing else may import it.
var notLinked = []struct{ path, reason, by string }{
	{"github.com/meterseal/meterseal/portal/...", "the vendor's side signs licenses and receipts; a site that could would be believed (YD-8)", ""},
	{"github.com/meterseal/meterseal/cmd/meterseal-vendor", "the vendor's side", ""},
	{"github.com/meterseal/meterseal/bench/...", "benchmarks and their peers are not part of the product", ""},
	{"github.com/meterseal/meterseal/meter/...", "applications import it; a daemon that did would meter itself", ""},
	{"github.com/meterseal/meterseal/internal/crashtest", "ends processes and cuts disks: for tests", ""},
	{"github.com/meterseal/meterseal/internal/fakelog", "loses and repeats groups on purpose: for tests", ""},
	{"github.com/meterseal/meterseal/internal/testclock", "lets a file say what time it is: for tests, and builds with the tag testclock", ""},
	{"github.com/meterseal/meterseal/internal/tpm/tpmtest", "starts processes: for tests", ""},
	{"github.com/meterseal/meterseal/internal/postgrestest", "starts a database server: for tests", ""},
	{"github.com/meterseal/meterseal/internal/scripttest", "the stories: for tests", ""},
	{"github.com/meterseal/meterseal/internal/vectors", "reads test files of the repository", ""},
	{"github.com/meterseal/meterseal/events/stream/streamtest", "starts servers without the rules of the product: for tests", ""},
	{"github.com/meterseal/meterseal/export/exporttest", "holds private keys that everybody has: for tests", ""},
	{"github.com/meterseal/meterseal/internal/gendocs", "man pages are made for packages, by builds with the tag gendocs", ""},
	{"github.com/spf13/cobra/doc", "the same", ""},
	{"testing/...", "registers flags and keeps test code reachable", ""},
	{"net/http/pprof", "serves memory, and so keys and events, on the default mux, which nobody serves; debug.listen has a mux of its own", natsServer + " github.com/meterseal/meterseal/cmd/meterseal"},
	{"expvar", "publishes the command line on the default mux, which nobody serves", natsServer + " " + promClient},
	{"plugin", "code that was not reviewed must not get in beside the site key", ""},
	{"net/smtp", "nothing leaves a site by itself (O-22) but to a relay that an export names", "github.com/meterseal/meterseal/internal/mailer"},
	{"github.com/meterseal/meterseal/internal/mailer/mailertest", "a mail server: for tests", ""},
	{"runtime/cgo", "releases are built without cgo, so that anybody can build the same bytes", ""},
	{"github.com/rogpeppe/go-internal/testscript/...", "test-only requirement of go.mod", ""},
	{"github.com/google/go-cmp/...", "test-only requirement of go.mod", ""},
	{"github.com/transparency-dev/merkle/...", "test-only requirement of go.mod: the second tree that ours is compared with", ""},
	{"github.com/HdrHistogram/...", "test-only requirement of go.mod", ""},
	{"pgregory.net/...", "test-only requirement of go.mod", ""},
}

const (
	natsServer = "github.com/nats-io/nats-server/v2/server"
	promClient = "github.com/prometheus/client_golang/prometheus"
)

// YD-8, O-22: the second lock between the two sides; the first is Go's own
// rule for internal packages, the third internal/tidy. It asks what a release
// would link, so it is built without cgo.
func TestNotLinked(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", `{{.ImportPath}} {{join .Imports " "}}`, ".")
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
	for _, must := range []string{"github.com/meterseal/meterseal/events/stream", "github.com/meterseal/meterseal/projections", "net/http"} {
		if importers[must] == nil {
			t.Errorf("go list -deps does not name %s: this test would not see anything", must)
		}
	}
	for p, from := range importers {
		for _, n := range notLinked {
			below, all := strings.CutSuffix(n.path, "/...")
			if p != n.path && p != below && !(all && strings.HasPrefix(p, below+"/")) {
				continue
			}
			if i := slices.IndexFunc(from, func(f string) bool { return !slices.Contains(strings.Fields(n.by), f) }); i >= 0 {
				t.Errorf("the site binary links %s through %s: %s", p, from[i], n.reason)
			}
		}
	}
}

// Every local folder that notLinked names is spelled as it is in the tree, or
// is one of the vendor's side that need not be there yet.
func TestNotLinkedNamesFolders(t *testing.T) {
	for _, n := range notLinked {
		folder, ours := strings.CutPrefix(strings.TrimSuffix(n.path, "/..."), "github.com/meterseal/meterseal/")
		if !ours || folder == "portal" || folder == "cmd/meterseal-vendor" || folder == "meter" || folder == "bench" {
			continue
		}
		if _, err := os.Stat(filepath.Join("..", "..", folder)); err != nil {
			t.Errorf("notLinked names %s: %v", folder, err)
		}
	}
}
