package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/cli"
)

// The same source gives the same bytes in another folder: programs, tarball, deb,
// rpm, bill of materials, checksums. With METERSEAL_REPRODUCE=1 ("go tool task
// reproduce") for all architectures, and from an empty cache, so that every package
// is compiled again; else what was compiled before is linked and packed again.
func TestReproducible(t *testing.T) {
	first := filepath.Join(packages(t), "now")
	archs := "amd64"
	var env []string
	if os.Getenv("METERSEAL_REPRODUCE") != "" {
		archs, first = "amd64,arm64", filepath.Join(t.TempDir(), "first")
		if err := run(first, strings.Split(archs, ","), cli.Version, ""); err != nil {
			t.Fatal(err)
		}
		env = append(env, "GOCACHE="+t.TempDir())
	}
	tree := filepath.Join(t.TempDir(), "a folder with another name", "meterseal")
	copyRepository(t, tree)
	second := filepath.Join(t.TempDir(), "second")
	if err := command(tree, env, "go", "run", "./tools/packaging", "-arch", archs, "-out", second); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(second)
	if err != nil {
		t.Fatal(err)
	}
	if want := 6*len(strings.Split(archs, ",")) + 1; len(entries) != want {
		t.Errorf("%d files were made, want %d: %v", len(entries), want, entries)
	}
	for _, e := range entries {
		if e.Name() == sumsFile && len(env) == 0 {
			continue // that of the first names the signed tarball
		}
		a, err := os.ReadFile(filepath.Join(first, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(second, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(e.Name(), ".tar.gz") && len(env) == 0 {
			continue // compared as files below: one of them holds a signature
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs when it is built in another folder", e.Name())
		}
	}
	if len(env) == 0 {
		compareTarballs(t, first, second)
	}
}

// compareTarballs compares what the tarballs in two folders hold, without the
// signature that the first has.
func compareTarballs(t *testing.T, first, second string) {
	t.Helper()
	list := func(dir string) string {
		out, err := exec.Command("sh", "-c", `tar xzf "$1"/meterseal-*.tar.gz -C "$2" && cd "$2" && find . -mindepth 1 ! -name '*.sig' -printf '%p %m %T@ %s\n' | sort && find . -type f ! -name '*.sig' | sort | xargs sha256sum`,
			"sh", dir, t.TempDir()).CombinedOutput()
		if err != nil {
			t.Fatalf("tar: %v %s", err, out)
		}
		return string(out)
	}
	a, b := strings.Split(list(first), "\n"), strings.Split(list(second), "\n")
	if len(a) != len(b) || len(a) < 400 {
		t.Errorf("the tarballs have %d and %d lines, want as many, and hundreds", len(a), len(b))
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] && !strings.Contains(a[i], "linux-amd64 ") { // the folder of the signature
			t.Errorf("the tarballs differ: %s, %s", a[i], b[i])
		}
	}
}

// copyRepository copies what git knows, and what is new, as it is now.
func copyRepository(t *testing.T, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	copy := exec.Command("sh", "-c", `git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read --files-from - -cf - 2>/dev/null | tar xf - -C "$1"`, "sh", to)
	if out, err := copy.CombinedOutput(); err != nil {
		t.Fatalf("copy the repository: %v %s", err, out)
	}
}

// The bill of materials has every module of both programs, as "go version -m" prints
// them, each once and with its checksum.
func TestBillOfMaterials(t *testing.T) {
	dir := packages(t)
	files, err := filepath.Glob(filepath.Join(dir, "now", "*.sbom.cdx.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("bills of materials: %v %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var b bill
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	if b.Format != "CycloneDX" || b.Spec != "1.5" || b.Metadata.Component.Version != cli.Version {
		t.Errorf("%s %s of %s, want CycloneDX 1.5 of %s", b.Format, b.Spec, b.Metadata.Component.Version, cli.Version)
	}
	listed := map[string]string{}
	for _, c := range b.Components {
		if _, twice := listed[c.Name]; twice {
			t.Errorf("%s is listed twice", c.Name)
		}
		listed[c.Name] = c.Version
		if c.Type == "library" && c.Name != "stdlib" && (len(c.Properties) != 1 || !strings.HasPrefix(c.Properties[0].Value, "h1:")) {
			t.Errorf("%s has no checksum: %v", c.Name, c.Properties)
		}
	}
	bin := t.TempDir()
	if out, err := exec.Command("sh", "-c", `tar xzf "$1"/now/meterseal-*.tar.gz -C "$2" --strip-components 1 --wildcards '*/bin/*'`, "sh", dir, bin).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v %s", err, out)
	}
	for _, p := range programs {
		out, err := exec.Command("go", "version", "-m", filepath.Join(bin, "bin", p.name)).Output()
		if err != nil {
			t.Fatal(err)
		}
		modules := 0
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			if len(f) < 3 || f[0] != "dep" {
				continue
			}
			modules++
			if listed[f[1]] != f[2] {
				t.Errorf("%s links %s %s; the bill of materials has %q", p.name, f[1], f[2], listed[f[1]])
			}
		}
		if modules < 20 {
			t.Errorf("go version -m lists %d modules of %s, want more than 20", modules, p.name)
		}
	}
}
