// Package systemdtest plays the side of systemd, for tests.
package systemdtest

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

// Listen lets the test and the processes that it starts believe that systemd runs
// them. Each call of next returns what systemd was told next.
func Listen(t *testing.T) (next func() string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", socket)
	return func() string {
		t.Helper()
		b := make([]byte, 512)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}
