package doctest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// excerpts are pages whose blocks are parts of files, which a test of their own
// compares.
var excerpts = map[string]string{"docs/how-to/publishing.md": "examples/clients: TestPage"}

// Every block of YAML is what its program takes.
func TestYAML(t *testing.T) {
	bin := programs(t)
	checked := 0
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if b.lang != "yaml" && b.lang != "yml" || b.notRun != "" || excerpts[p.name] != "" {
				continue
			}
			checked++
			if out, err := checkYAML(t, bin, b.kind, strings.Join(b.text, "\n")+"\n"); err != nil {
				t.Errorf("%s:%d: %v\n%s", p.name, b.line, err, out)
			}
		}
	}
	if checked < 3 {
		t.Errorf("%d blocks: this test would not see anything", checked)
	}
	for kind, text := range map[string]string{"": "store: {dri: x}\n", "vendor": "dns: x\n", "prometheus": "scrape_configs: {a: b}\n", "alerts": "groups: [{name: a, rules: [{alert: x, expr: 'a ++'}]}]\n"} {
		if out, err := checkYAML(t, bin, kind, text); err == nil {
			t.Errorf("checkYAML(%q, %q) = %s, want a mistake", kind, text, out)
		}
	}
}

// checkYAML gives a block to the program that it is for. Parts of a site's
// configuration are whole ones too; certificates that they name are there.
func checkYAML(t *testing.T, bin, kind, text string) ([]byte, error) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "block.yaml")
	var cmd *exec.Cmd
	switch kind {
	case "vendor":
		if out, err := exec.Command(filepath.Join(bin, "meterseal-vendor"), "init", "--data", dir, "--domain", "vendor.example").CombinedOutput(); err != nil { //nolint:gosec // our own
			t.Fatalf("%v\n%s", err, out)
		}
		file = filepath.Join(dir, "vendor.yaml")
		cmd = exec.Command(filepath.Join(bin, "meterseal-vendor"), "keys", "list", "--data", dir) //nolint:gosec // our own
	case "prometheus", "alerts":
		promtool, err := exec.LookPath("promtool")
		if err != nil {
			t.Skipf("promtool checks blocks of %s: %v", kind, err)
		}
		what := map[string]string{"prometheus": "config", "alerts": "rules"}[kind]
		cmd = exec.Command(promtool, "check", what, "block.yaml") //nolint:gosec // a tool
	default:
		cmd = exec.Command(filepath.Join(bin, "meterseal"), "config", "check", "--config", file) //nolint:gosec // our own
	}
	cmd.Dir = dir
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return cmd.CombinedOutput()
}
