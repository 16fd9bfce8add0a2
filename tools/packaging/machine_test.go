package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A machine is this one as a copy: its files under a layer that takes every change
// and is thrown away, its own processes, and a network of loopback only. What is
// installed there is installed by the real dpkg and rpm, and touches nothing here.
type machine struct {
	t    *testing.T
	root string // of the copy; seen from inside the namespaces only
	pid  string // of its first process, which holds the namespaces
}

// newMachine starts a copy of this machine; the files of shared are below /shared there.
func newMachine(t *testing.T, shared string) *machine {
	t.Helper()
	for _, tool := range []string{"unshare", "nsenter", "ip", "setpriv"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: %s is not installed, so no package was installed", tool)
		}
	}
	m := &machine{t: t, root: t.TempDir()}
	script := fmt.Sprintf(`set -e
		mount -t tmpfs tmpfs %[1]s
		mkdir %[1]s/changes %[1]s/work %[1]s/root
		mount -t overlay overlay -o lowerdir=/,upperdir=%[1]s/changes,workdir=%[1]s/work %[1]s/root
		mount -t proc proc %[1]s/root/proc
		mount --rbind /dev %[1]s/root/dev
		mount -t tmpfs tmpfs %[1]s/root/run
		mount -t tmpfs tmpfs %[1]s/root/tmp
		mkdir -p %[1]s/root/shared
		mount --bind %[2]s %[1]s/root/shared
		ip link set lo up
		echo ready
		exec sleep infinity`, m.root, shared)
	cmd := exec.Command("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Skipf("SKIPPED: no copy of this machine can be made here (root is needed), so no package was installed: %s", errs.String())
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	m.pid = strings.TrimSpace(string(children))
	return m
}

// command is a line of shell on the machine.
func (m *machine) command(line string) *exec.Cmd {
	cmd := exec.Command("nsenter", "-t", m.pid, "-m", "-n", "-p", "chroot", m.root+"/root", "sh", "-c", line)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	return cmd
}

// try runs a line of shell and returns what it said, and how it ended.
func (m *machine) try(line string) (string, error) {
	out, err := m.command(line).CombinedOutput()
	return string(out), err
}

// do is try for a line that has to succeed.
func (m *machine) do(line string) string {
	m.t.Helper()
	out, err := m.try(line)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return out
}

// says wants a line to succeed and to print every one of words.
func (m *machine) says(line string, words ...string) {
	m.t.Helper()
	out := m.do(line)
	for _, w := range words {
		if !strings.Contains(out, w) {
			m.t.Errorf("%s: got\n%s\nwant %q in it", line, out, w)
		}
	}
}

// refuses wants a line to fail.
func (m *machine) refuses(line string) {
	m.t.Helper()
	if out, err := m.try(line); err == nil {
		m.t.Errorf("%s succeeded, want an error\n%s", line, out)
	}
}

// serve starts the daemon of program as its unit does, without systemd: the user,
// the command line, no right to gain any. It returns when the daemon answers, with
// what ends it.
func (m *machine) serve(unit string) (stop func()) {
	m.t.Helper()
	var user, line string
	for l := range strings.Lines(m.do("cat " + unit)) {
		key, value, _ := strings.Cut(strings.TrimSpace(l), "=")
		switch key {
		case "User":
			user = value
		case "ExecStart":
			line = value
		}
	}
	cmd := m.command(fmt.Sprintf("umask 077; cd /; exec setpriv --reuid %[1]s --regid %[1]s --init-groups --no-new-privs %[2]s", user, line))
	errs, err := cmd.StderrPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	var said []string
	ready := false
	lines := bufio.NewScanner(errs)
	for !ready && lines.Scan() {
		said = append(said, lines.Text())
		ready = strings.HasPrefix(lines.Text(), "ready")
	}
	if !ready {
		_ = cmd.Wait()
		m.t.Fatalf("%s as %s: %v\n%s", line, user, cmd.ProcessState, strings.Join(said, "\n"))
	}
	go func() {
		for lines.Scan() { // so that it can always write
		}
	}()
	return func() {
		m.t.Helper()
		m.do("kill $(pidof " + filepath.Base(strings.Fields(line)[0]) + ")")
		if err := cmd.Wait(); err != nil {
			m.t.Errorf("%s ended with %v", line, err)
		}
	}
}
