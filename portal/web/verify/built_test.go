package verify_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/portal/web/verify"
)

// builtFile is the page that is shipped, and that driver.mjs runs.
const builtFile = "verify.html"

var update = flag.Bool("update", false, "build "+builtFile+" anew")

// The page that is shipped is what its sources give, byte for byte. O-14
func TestBuilt(t *testing.T) {
	want := build(t)
	if *update {
		if err := os.WriteFile(builtFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(builtFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what its sources give; run: go test ./portal/web/verify -run Built -update", builtFile)
	}
}

// build bundles the script with esbuild, at the version of tools/esbuild/go.mod, and
// puts script and style into the page with their hashes.
func build(t *testing.T) []byte {
	t.Helper()
	cmd := exec.Command("go", "tool", "-modfile="+filepath.Join("..", "..", "..", "tools", "esbuild", "go.mod"), "esbuild",
		"src/main.ts", "--bundle", "--format=iife", "--target=es2022", "--charset=ascii", "--legal-comments=none", "--log-level=warning")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	script, err := cmd.Output()
	if err != nil {
		t.Fatalf("esbuild: %v\n%s", err, stderr.Bytes())
	}
	if strings.Contains(string(script), "</script") {
		t.Fatal("the script ends its own element")
	}
	style, page := read(t, "src/style.css"), read(t, "src/page.html")
	return []byte(strings.NewReplacer(
		"{{script-hash}}", hashOf(string(script)), "{{style-hash}}", hashOf(style),
		"{{script}}", string(script), "{{style}}", style).Replace(page))
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func hashOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// Types are checked with the compiler of package-lock.json, which "task deps" puts
// into the cache of npm.
func TestTypes(t *testing.T) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("there is no npm here, so the types of src cannot be checked")
	}
	dir := t.TempDir()
	for _, file := range []string{"package.json", "package-lock.json"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(read(t, file)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	install := exec.Command(npm, "ci", "--prefix", dir, "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund")
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("the TypeScript compiler is not in npm's cache (go tool task deps brings it), so the types of src cannot be checked: %v\n%s", err, out)
	}
	check := exec.Command(filepath.Join(dir, "node_modules", ".bin", "tsc"), "-p", ".")
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("tsc: %v\n%s", err, out)
	}
}

// The file that is kept can open no connection, whatever its program does: its own
// policy allows this script and this style, and nothing else. O-14
func TestFileOpensNoConnection(t *testing.T) {
	file := verify.File()
	for _, want := range []string{
		`content="default-src 'none'; script-src '` + hashOf(verify.Script()) + `'; style-src '` + hashOf(verify.Style()) + `'; connect-src 'none'; form-action 'none'; base-uri 'none'"`,
		"Nothing is uploaded",
	} {
		if !strings.Contains(file, want) {
			t.Errorf("the file lacks %q", want)
		}
	}
	for _, bad := range []string{"http:", "https:", "fetch(", "XMLHttpRequest", "WebSocket", "sendBeacon", "eval(", "innerHTML", "src="} {
		if bad == "https:" || bad == "http:" {
			file = strings.ReplaceAll(file, "open it from https://, or as a file", "")
			file = strings.ReplaceAll(file, "Open the page from https://, or keep it", "")
		}
		if strings.Contains(file, bad) {
			t.Errorf("the file has %q", bad)
		}
	}
	if !strings.Contains(verify.Body(), `id="verify"`) {
		t.Errorf("Body() = %q, want what the page shows", verify.Body())
	}
}
