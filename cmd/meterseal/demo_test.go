package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/crashtest"
)

// The demo, whole: what the README promises, within 80 columns, and every
// command that it ends with works as it is printed.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("publishes 3,461,610 events: not with -short")
	}
	dir := t.TempDir()
	// Both programs as they are released, beside each other.
	bin := filepath.Dir(crashtest.Build(t, "github.com/meterseal/meterseal/cmd/meterseal"))
	if err := os.Rename(crashtest.Build(t, "github.com/meterseal/meterseal/cmd/meterseal-vendor"), filepath.Join(bin, "meterseal-vendor")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	demo := crashtest.Start(t, crashtest.Command{Path: meterseal(t), Args: []string{"demo"}, Dir: dir, Patience: 10 * 60e9})
	if code := demo.Wait(); code != cli.ExitOK {
		t.Fatalf("demo ended with %d:\n%s", code, demo.Output())
	}
	out := demo.Output()
	for _, want := range []string{
		"3,461,610 events in ", "events/s", "   1995-07-01     52,123  ###", "59 days     3,461,610  in all", "ok: signature, ", "documents.processed: 3,461,610",
		"refused: ", "[proof/root_mismatch]", "replies/site.reply", "serial 0 -> 1, ends ", "the license is active", "Files are in meterseal-demo:", "Try next:",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not print %q:\n%s", want, out)
		}
	}
	for line := range strings.Lines(out) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > cli.Columns {
			t.Errorf("line of %d characters: %s", n, line)
		}
	}
	data := filepath.Join(dir, "meterseal-demo")
	want := map[string]int{"-vendor statement": cli.ExitOK, " report show": cli.ExitOK, " report verify": cli.ExitDocument, " ledger check": cli.ExitOK}
	for _, c := range suggested(out) {
		for part, code := range want {
			if strings.HasPrefix(c, "meterseal"+part) {
				sh := exec.Command("sh", "-c", c)
				sh.Dir = dir
				text, _ := sh.CombinedOutput() // its exit code is what counts
				if got := sh.ProcessState.ExitCode(); got != code {
					t.Errorf("%s: exit code %d, want %d\n%s", c, got, code, text)
				}
				delete(want, part)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("the demo does not suggest %v:\n%s", want, out)
	}
	serving := &testSite{t: t, dir: filepath.Join(data, "data")}
	for _, c := range suggested(out) {
		if rest, ok := strings.CutPrefix(c, "meterseal serve --data meterseal-demo/data "); ok {
			serving.args = strings.Fields(strings.ReplaceAll(rest, "meterseal-demo/", data+"/"))
		}
	}
	serving.start()
	if got := serving.total("documents.processed"); got != 3_461_610 {
		t.Errorf("total of the demo's data = %d", got)
	}
	// The next demo removes this one's data, but not under a running daemon.
	again := exec.Command(meterseal(t), "demo")
	again.Dir = dir
	if text, _ := again.CombinedOutput(); again.ProcessState.ExitCode() != cli.ExitStore || !strings.Contains(string(text), "[store_in_use]") {
		t.Errorf("a demo beside a daemon on its data: exit code %d, %s; want %d, store_in_use", again.ProcessState.ExitCode(), text, cli.ExitStore)
	}
	serving.stop()
}

// suggested returns the commands that a text prints, each on one line.
func suggested(text string) (list []string) {
	text = strings.ReplaceAll(text, " \\\n", " ")
	for line := range strings.Lines(text) {
		if c := strings.Join(strings.Fields(line), " "); strings.HasPrefix(line, "  meterseal ") || strings.HasPrefix(line, "  meterseal-vendor ") {
			list = append(list, c)
		}
	}
	return list
}

// Without the vendor's program beside it, and outside a checkout, the demo ends
// before the vendor's part.
func TestDemoFindsTheVendor(t *testing.T) {
	t.Chdir(t.TempDir())
	d := &demo{app: &app{}, dir: t.TempDir()}
	if v, err := d.findVendor(t.Context()); v != nil || err != nil {
		t.Errorf("findVendor with no program there = %v, %v, want none", v, err)
	}
	for _, c := range []struct{ program, self, want string }{
		{"/opt/bin/meterseal-vendor", "meterseal", "meterseal-vendor"},
		{"/opt/bin/meterseal-vendor", "./bin/meterseal", "bin/meterseal-vendor"},
		{"/tmp/demo/meterseal-vendor", "go run ./cmd/meterseal", "demo/meterseal-vendor"},
	} {
		v := &demoVendor{program: c.program, dir: "/tmp/demo/vendor"}
		if got := v.name(c.self, "demo"); got != c.want {
			t.Errorf("the vendor's program %s beside %s is called %s, want %s", c.program, c.self, got, c.want)
		}
	}
}

// A folder with files of others is never removed; one of an earlier demo is.
func TestDemoFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), []byte("years of work"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := program(t, "demo", "--dir", dir); code != cli.ExitUsage || !strings.Contains(stderr, "[file_exists]") {
		t.Errorf("demo in a folder with other files: exit code %d, %s; want %d, file_exists", code, stderr, cli.ExitUsage)
	}
	if _, err := os.Stat(filepath.Join(dir, "thesis.txt")); err != nil {
		t.Error(err)
	}
	d := &demo{app: &app{}, dir: t.TempDir()}
	for _, name := range []string{demoMarker, "old.usage"} {
		if err := os.WriteFile(filepath.Join(d.dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(d.dir, "old.usage")); !os.IsNotExist(err) {
		t.Errorf("a file of the earlier demo: %v, want it gone", err)
	}
}
