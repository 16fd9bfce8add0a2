package doctest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inShell is set for the process that becomes the shell of a page.
const inShell = "METERSEAL_DOCTEST_SHELL"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(inShell) != "":
		becomeShell()
	case filepath.Base(os.Args[0]) == "nats":
		os.Exit(natsCommand(os.Args[1:]))
	case filepath.Base(os.Args[0]) == "go":
		os.Exit(goCommand(os.Args[1:]))
	}
	code := m.Run()
	if binFolder != "" {
		_ = os.RemoveAll(binFolder)
	}
	os.Exit(code)
}

// becomeShell raises the loopback of this new network and goes on as the shell,
// so that the daemons of a page have their usual ports for themselves.
func becomeShell() {
	err := func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		lo, err := unix.NewIfreq("lo")
		if err != nil {
			return err
		}
		lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
			return fmt.Errorf("raise the loopback: %w", err)
		}
		bash, err := exec.LookPath("bash")
		if err != nil {
			return err
		}
		if err := os.Unsetenv(inShell); err != nil {
			return err
		}
		return syscall.Exec(bash, []string{"bash", "--norc", "--noprofile"}, os.Environ())
	}()
	fmt.Fprintln(os.Stderr, "the shell of a page:", err)
	os.Exit(1)
}

// A shell types the commands of one page, one after the other.
type shell struct {
	t       *testing.T
	dir     string // where the outputs are
	in      io.Writer
	answers *bufio.Scanner
	last    int // exit code of the last command
	n       int
	serving map[string]string // program: variable with the process
}

// open begins a shell in an empty folder, in a network without anybody else.
func open(t *testing.T, bin string) *shell {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home, out := t.TempDir(), t.TempDir()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute) // the daemons end in the cleanup
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self)
	cmd.Dir = home
	cmd.Env = []string{inShell + "=1", "HOME=" + home, "PATH=" + bin + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin", "LANG=C.UTF-8", "TZ=UTC", "REPOSITORY=" + repository(t)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Setpgid: true}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("no shell with a network of its own: %v", err)
	}
	s := &shell{t: t, dir: out, in: in, answers: bufio.NewScanner(answers), serving: map[string]string{}}
	t.Cleanup(func() {
		for program := range s.serving {
			s.stop(program)
		}
		_ = in.Close()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what a page left behind
		_ = cmd.Wait()
	})
	return s
}

func repository(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// say gives the shell some lines and waits until it has done them. Their exit
// code comes back.
func (s *shell) say(lines string) int {
	s.t.Helper()
	if _, err := fmt.Fprintf(s.in, "%s\necho \"\ndone $?\"\n", lines); err != nil {
		s.t.Fatalf("the shell is gone: %v", err)
	}
	for s.answers.Scan() {
		if code, ok := strings.CutPrefix(s.answers.Text(), "done "); ok {
			n, err := strconv.Atoi(code)
			if err != nil {
				s.t.Fatal(err)
			}
			return n
		}
	}
	s.t.Fatalf("the shell ended at %q: %v", lines, s.answers.Err())
	return 0
}

var serves = regexp.MustCompile(`^(?:\./|sudo )?(meterseal|meterseal-vendor) serve\b|^go run (?:\./cmd/)(meterseal|meterseal-vendor) serve\b`)

// ready is what a daemon prints when it answers.
var ready = map[string]string{"meterseal": "^ready", "meterseal-vendor": "^portal"}

// run types one command and returns its exit code and what it printed.
func (s *shell) run(command string) (code int, out []string) {
	s.t.Helper()
	s.n++
	script := filepath.Join(s.dir, fmt.Sprintf("%03d.sh", s.n))
	printed := strings.TrimSuffix(script, ".sh") + ".out"
	if m := serves.FindStringSubmatch(command); m != nil {
		program := m[1] + m[2]
		s.stop(program)
		command = regexp.MustCompile(`\s&\s*$`).ReplaceAllString(command, "")
		s.write(script, "exec "+command+"\n")
		pid := fmt.Sprintf("daemon%d", s.n)
		s.serving[program] = pid
		code = s.say(fmt.Sprintf(`failed=0; : >%[2]s; bash %[1]s >%[2]s 2>&1 </dev/null & %[3]s=$!
until grep -q '%[4]s' %[2]s; do
	kill -0 $%[3]s 2>/dev/null || { wait $%[3]s; failed=$?; break; }
	command sleep 0.02
done
(exit $failed)`, script, printed, pid, ready[program]))
	} else {
		s.write(script, command+"\n")
		code = s.say(fmt.Sprintf("(exit %d); . %s >%s 2>&1 </dev/null", s.last, script, printed))
	}
	s.last = code
	text, err := os.ReadFile(printed)
	if err != nil {
		s.t.Fatal(err)
	}
	return code, strings.Split(strings.TrimRight(string(text), "\n"), "\n")
}

func (s *shell) write(file, text string) {
	s.t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// stop ends a daemon as Ctrl-C does, and waits for its end.
func (s *shell) stop(program string) {
	s.t.Helper()
	if pid := s.serving[program]; pid != "" {
		delete(s.serving, program)
		s.say(fmt.Sprintf("kill -TERM $%s; wait $%s", pid, pid))
	}
}

// stopNewest ends what "^C" on a page ends: the only daemon, or that of the site.
func (s *shell) stopNewest() {
	for _, program := range []string{"meterseal", "meterseal-vendor"} {
		if s.serving[program] != "" {
			s.stop(program)
			return
		}
	}
}
