//go:build linux

package year_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/storytest"
)

// Y-01, Y-02, O-22: the whole story plays in a network namespace of its own,
// once without any route, and once with a route on which everything that
// somebody sends can be seen. Nothing leaves: a capture has packets of loopback
// only.
func TestYearWithoutNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("the story is played twice more here; the run without -short does")
	}
	for _, tool := range []string{"unshare", "ip", "tcpdump"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: %s is not installed, so nothing was captured", tool)
		}
	}
	if err := exec.Command("unshare", "--net", "true").Run(); err != nil {
		t.Skipf("SKIPPED: no network namespace can be made here (root is needed), so nothing was captured: %v", err)
	}
	bin := storytest.Programs(t)
	t.Run("no routes", func(t *testing.T) {
		lines := capture(t, bin, "")
		if len(lines) == 0 {
			t.Fatal("the capture is empty: it did not even see loopback")
		}
		onlyLoopback(t, lines)
	})
	t.Run("a route to nowhere", func(t *testing.T) {
		// A pair of interfaces, the second of which nobody listens on.
		setup := `ip link add out0 type veth peer name out1
			ip addr add 192.0.2.1/24 dev out0
			ip link set out0 up
			ip link set out1 up
			ip route add default via 192.0.2.2`
		onlyLoopback(t, capture(t, bin, setup))
		// The capture would have seen it: something is sent on purpose.
		seen := capture(t, bin, setup+"\n"+`timeout 1 bash -c 'echo hello >/dev/udp/198.51.100.1/53' || true`)
		if strings.Count(strings.Join(seen, "\n"), "192.0.2.2") == 0 {
			t.Fatal("a packet was sent and the capture did not see it")
		}
	})
}

// capture plays the story in a namespace after the shell commands of setup, and
// returns what tcpdump saw, a packet a line.
func capture(t *testing.T, bin, setup string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "year.pcap")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Without IPv6, since the kernel itself greets on every new interface.
	script := fmt.Sprintf(`set -e
		echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 || true
		ip link set lo up
		tcpdump -U -i any -w %[1]s 2>%[1]s.log & dump=$!
		while ! grep -q 'listening on' %[1]s.log; do kill -0 $dump; sleep 0.05; done
		%[2]s
		%[3]s -test.run '^TestYear$/^sqlite$' -test.count=1
		kill -INT $dump
		wait $dump`, file, setup, self)
	cmd := exec.Command("unshare", "--net", "--", "bash", "-c", script)
	cmd.Env = append(os.Environ(), "METERSEAL_STORY_PROGRAMS="+bin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = nil
	done := time.AfterFunc(5*time.Minute, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer done.Stop()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the story without a network: %v\n%s", err, out)
	}
	out, err := exec.Command("tcpdump", "-nn", "-r", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return lines
}

var loopback = regexp.MustCompile(` lo +(In|Out) +IP 127\.0\.0\.1\.\d+ > 127\.0\.0\.1\.\d+: `)

func onlyLoopback(t *testing.T, lines []string) {
	t.Helper()
	for _, line := range lines {
		if !loopback.MatchString(line) {
			t.Fatalf("a packet that is not of loopback: %s", line)
		}
	}
	t.Logf("%d packets, all of loopback", len(lines))
}
