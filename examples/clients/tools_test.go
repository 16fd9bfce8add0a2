package clients_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// work is where the tests build and install; TestMain removes it.
var work string

func TestMain(m *testing.M) {
	var err error
	if work, err = os.MkdirTemp("", "clients"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(work)
	os.Exit(code)
}

// programs builds both programs of the product, once for all tests.
var programs = sync.OnceValue(func() error {
	const cmd = "github.com/meterseal/meterseal/cmd/"
	out, err := exec.Command("go", "build", "-o", work+string(filepath.Separator), cmd+"meterseal", cmd+"meterseal-vendor").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return nil
})

// program returns the path of one of them.
func program(name string) (string, error) { return filepath.Join(work, name), programs() }

// command runs one of them to its end in a folder, and returns what it prints.
func command(t *testing.T, dir, name string, args ...string) (stdout string) {
	t.Helper()
	path, err := program(name)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), failure(err))
	}
	return string(out)
}

// natsCLI builds github.com/nats-io/natscli at the version of tools/nats, or
// takes it from the cache, and returns the folder of the program nats.
func natsCLI(t *testing.T) string {
	t.Helper()
	dir, err := buildNATS()
	if err != nil {
		t.Skipf("SKIPPED: the nats CLI cannot be built here, so it is not tested; go tool task deps builds it: %v", err)
	}
	return dir
}

var buildNATS = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "tool", "-modfile=../../tools/nats/go.mod", "-n", "nats").Output()
	if err != nil {
		return "", failure(err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
})

// modules installs the packages of package-lock.json, and returns a folder with
// them and the examples.
func modules(t *testing.T) string {
	t.Helper()
	dir, err := installModules()
	if err != nil {
		t.Skipf("SKIPPED: the packages cannot be installed here, so the examples for Node.js are not tested; go tool task deps does it: %v", err)
	}
	return dir
}

var installModules = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(work, "node")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	for _, name := range []string{"package.json", "package-lock.json", "nats.mjs", "cloudevents.mjs", "openmeter.mjs"} {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return "", err
		}
	}
	cmd := exec.Command("npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return dir, nil
})

// failure adds what a program printed to its error.
func failure(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w\n%s", err, exit.Stderr)
	}
	return err
}
