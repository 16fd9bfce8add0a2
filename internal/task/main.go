// Command task runs the project's tasks: "go tool task" lists them.
//
// It starts github.com/go-task/task at the version that tools/task/go.mod
// names, from the root of the repository. The step in between keeps the
// product's own go.mod free of the task runner's requirements, which would
// otherwise appear in the module graph that a customer's reviewer has to
// clear and would raise the versions of libraries that the product links.
// See docs/decisions/0001-tools.md.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
)

func main() { os.Exit(run(os.Args[1:])) }

// run starts the task runner with args and returns its exit status.
func run(args []string) int {
	root, err := findRoot()
	if err != nil {
		fmt.Fprintf(os.Stderr, "task: %v\n", err)
		return 1
	}
	modfile := filepath.Join(root, "tools", "task", "go.mod")
	cmd := exec.Command("go", append([]string{"tool", "-modfile=" + modfile, "task"}, args...)...)
	cmd.Dir = root
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// Ctrl-C reaches the whole process group: the runner ends its tasks and
	// says how it went, this process only has to outlive it.
	// (signal.Ignore would be inherited by every command below.)
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "task: start the task runner: %v\n", err)
		return 1
	}
	return 0
}

// findRoot returns the nearest folder at or above the working directory that
// holds a Taskfile.yml.
func findRoot() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find working directory: %w", err)
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		_, err := os.Stat(filepath.Join(dir, "Taskfile.yml"))
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("look for Taskfile.yml: %w", err)
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no Taskfile.yml at or above %s", wd)
		}
	}
}
