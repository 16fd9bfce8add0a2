package crashtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Command says what [Start] runs.
type Command struct {
	Path string   // the program, for example from [Build] or [Self]
	Args []string // without the program's name
	Env  []string // added to the test's own environment
	Dir  string   // "" is the test's working directory

	// Patience is how long waiting for a line, for the end or for a condition
	// may take before the test fails. 0: one minute, much more than a healthy
	// program needs on a busy machine.
	Patience time.Duration
}

// Proc is a running program. Its methods may be called at once; those that wait
// fail the test, with all that the program printed, when they wait in vain.
type Proc struct {
	t        testing.TB
	command  Command
	cmd      *exec.Cmd
	exited   chan struct{} // closed when the program has ended and its output is complete
	exitCode int           // valid after exited; -1: killed by a signal

	mu      sync.Mutex // protects lines and grown
	lines   []string
	grown   chan struct{} // closed and replaced when lines grows
	readers sync.WaitGroup
}

// maxLines bounds the output kept of one program; more is dropped from the middle.
const maxLines = 100_000

// Start runs a program and returns at once. Standard output and standard error
// are both read line by line. The program is killed when the test ends.
func Start(t testing.TB, c Command) *Proc {
	t.Helper()
	if c.Patience == 0 {
		c.Patience = time.Minute
	}
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.SysProcAttr = dieWithParent()
	p := &Proc{t: t, command: c, cmd: cmd, exited: make(chan struct{}), grown: make(chan struct{})}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("start %s: %v", c.Path, err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatalf("start %s: %v", c.Path, err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", c.Path, err)
	}
	p.readers.Go(func() { p.read(stdout) })
	p.readers.Go(func() { p.read(stderr) })
	go func() {
		p.readers.Wait() // Wait closes the pipes: read them to the end first
		_ = cmd.Wait()   // its error says no more than the exit code
		p.exitCode = cmd.ProcessState.ExitCode()
		close(p.exited)
	}()
	t.Cleanup(func() { p.Kill() })
	return p
}

func (p *Proc) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		p.mu.Lock()
		if len(p.lines) == maxLines {
			p.lines = slices.Delete(p.lines, maxLines/2, maxLines/2+maxLines/10)
		}
		p.lines = append(p.lines, lines.Text())
		close(p.grown)
		p.grown = make(chan struct{})
		p.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, r) // after a line too long, so that the program does not block
}

// Line waits for a line that satisfies match and returns it. Lines printed
// before the call count. The test fails when the program ends without one.
func (p *Proc) Line(match func(line string) bool) string {
	p.t.Helper()
	patience := time.NewTimer(p.command.Patience)
	defer patience.Stop()
	seen := 0
	ended := false
	for {
		p.mu.Lock()
		fresh, grown := p.lines[min(seen, len(p.lines)):], p.grown
		fresh = slices.Clone(fresh)
		seen = len(p.lines)
		p.mu.Unlock()
		if i := slices.IndexFunc(fresh, match); i >= 0 {
			return fresh[i]
		}
		if ended {
			p.t.Fatalf("%s ended with %d before the expected line; it printed:\n%s", p.name(), p.exitCode, p.Output())
		}
		select {
		case <-grown:
		case <-p.exited:
			ended = true // once more over what came last
		case <-patience.C:
			p.t.Fatalf("%s did not print the expected line within %v; it printed:\n%s", p.name(), p.command.Patience, p.Output())
		}
	}
}

// LineWith waits for a line that contains text.
func (p *Proc) LineWith(text string) string {
	p.t.Helper()
	return p.Line(func(line string) bool { return strings.Contains(line, text) })
}

// JSON waits for a line that is a JSON object with all the given keys, and
// returns it. This is how a test learns which port a program was given:
//
//	addr := p.JSON("http")["http"].(string)
func (p *Proc) JSON(keys ...string) map[string]any {
	p.t.Helper()
	var object map[string]any
	p.Line(func(line string) bool {
		object = nil
		if json.Unmarshal([]byte(line), &object) != nil {
			return false
		}
		return !slices.ContainsFunc(keys, func(key string) bool { _, ok := object[key]; return !ok })
	})
	return object
}

// Kill ends the program with SIGKILL, as a crash would, and waits until it is
// gone. Killing a program that has ended does nothing.
func (p *Proc) Kill() {
	_ = p.cmd.Process.Kill() // fails only when it has ended
	<-p.exited
}

// Stop asks the program to end with SIGTERM and returns its exit code.
func (p *Proc) Stop() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("stop %s: %v", p.name(), err)
	}
	return p.Wait()
}

// Wait waits for the program to end and returns its exit code, -1 when a signal
// ended it.
func (p *Proc) Wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.exitCode
	case <-time.After(p.command.Patience):
		p.t.Fatalf("%s did not end within %v; it printed:\n%s", p.name(), p.command.Patience, p.Output())
		return 0
	}
}

// Running reports whether the program has not ended yet.
func (p *Proc) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Restart starts the same command again. The program must have ended.
func (p *Proc) Restart() *Proc {
	p.t.Helper()
	if p.Running() {
		p.t.Fatalf("restart %s: it is still running", p.name())
	}
	return Start(p.t, p.command)
}

// Output returns all lines so far, standard output and standard error mixed.
func (p *Proc) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// PID returns the process id.
func (p *Proc) PID() int { return p.cmd.Process.Pid }

func (p *Proc) name() string {
	return strings.Join(append([]string{filepath.Base(p.command.Path)}, p.command.Args...), " ")
}

// Self returns a command that runs the test binary again with variable=1 in its
// environment. TestMain looks for it and runs the program instead of the tests:
// quicker than [Build], and with -race when the test has it.
func Self(t testing.TB, variable string, args ...string) Command {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatalf("find the test binary: %v", err)
	}
	return Command{Path: path, Args: args, Env: []string{variable + "=1"}}
}

// Build compiles a package of commands as releases are built, with more flags of
// go build if given, and returns the path of the program, which is removed when
// the test ends.
func Build(t testing.TB, pkg string, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(pkg))
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", path}, flags...)
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, bytes.TrimSpace(out))
	}
	return path
}

// Eventually waits until done reports true. It asks again and again, at first
// every millisecond, then every 50 ms, and fails the test with the last state
// that done gave after a minute.
func Eventually(t testing.TB, what string, done func() (ok bool, state string)) {
	t.Helper()
	const patience = time.Minute
	deadline := time.Now().Add(patience)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		ok, state := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("wait for %s: not within %v; last state: %s", what, patience, state)
		}
		time.Sleep(pause)
	}
}

// FileText waits until a file exists and ends in a newline, and returns its text
// without it: for programs that write the address they listen on to a file.
func FileText(t testing.TB, path string) string {
	t.Helper()
	var text string
	Eventually(t, fmt.Sprintf("file %s", path), func() (bool, string) {
		data, err := os.ReadFile(path)
		if err != nil {
			return false, err.Error()
		}
		var whole bool
		text, whole = strings.CutSuffix(string(data), "\n")
		return whole, fmt.Sprintf("%q", data)
	})
	return text
}
