package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/cli"
)

// No configuration file ends the program otherwise than with a mistake that
// names the file.
func FuzzConfigFile(f *testing.F) {
	for _, s := range []string{
		"", "store: {dir: ./data, max_size: 1GiB}\nmeters:\n  - {id: render.pages, aggregation: sum, unit: page, scale: 2}\n",
		"windows: {length: 7m}\n", "levl: x\n", "a: [1, 2]\n", "meters: {a: b}\n", "meters:\n  - id: a\n    dimensions: {format: $.format, user: private $.u}\n",
		"store: {dir: a}\nstore: {dir: b}\n", "---\na: 1\n---\nb: 2\n", "a: &x [*x]\n", "a: !!binary Z\n", "? [a]\n: b\n", "\t", "a: |\n  text\n",
	} {
		f.Add([]byte(s))
	}
	path := filepath.Join(f.TempDir(), "meterseal.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := readYAML(path)
		if err != nil {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("%q: error %q does not name the file", data, err)
			}
			return
		}
		for _, problem := range file.unknown(path) {
			if !strings.HasPrefix(problem, path+":") {
				t.Errorf("%q: mistake %q does not begin with the file", data, problem)
			}
		}
		for _, m := range file.meters {
			m.meter(path)
		}
	})
}

// What is read as a duration or size is spelled as the documentation says.
func FuzzDurationAndSize(f *testing.F) {
	for _, s := range []string{"35d", "90s", "1.5h", "-1d", "200GiB", "1TiB", "0", "9223372036854775807", "d", "KiB", "99999999999999999999d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := cli.ParseSize(s); err == nil && n <= 0 {
			t.Errorf("ParseSize(%q) = %d, want above 0", s, n)
		}
		if d, err := parseDuration(s); err == nil && strings.HasSuffix(s, "d") && d < 0 {
			t.Errorf("parseDuration(%q) = %v, want 0 or more", s, d)
		}
	})
}
