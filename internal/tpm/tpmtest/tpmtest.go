// Package tpmtest starts software TPMs for tests: real TPM 2.0s (swtpm), each a
// process with a unix socket and a folder that holds its state.
package tpmtest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/meterseal/meterseal/internal/crashtest"
)

// A TPM is a running one.
type TPM struct {
	Path  string // of its socket
	State string // the folder with everything it keeps

	t    testing.TB
	proc *crashtest.Proc
}

// New starts a TPM that nobody has used before. It ends with the test. Without
// swtpm the test is skipped.
func New(t testing.TB) *TPM {
	t.Helper()
	if _, err := exec.LookPath("swtpm"); err != nil {
		t.Skip("SKIPPED, nothing of the TPM was tested: swtpm is not installed (go tool task deps)")
	}
	// The path of a socket has to be short: t.TempDir has the test's name in it.
	sockets, err := os.MkdirTemp("", "tpm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	s := &TPM{t: t, Path: filepath.Join(sockets, "tpm"), State: t.TempDir()}
	s.Start()
	return s
}

// Start starts it again, after Stop.
func (s *TPM) Start() {
	s.t.Helper()
	control := s.Path + ".control"
	for _, p := range []string{s.Path, control} {
		_ = os.Remove(p) // of the run before
	}
	s.proc = crashtest.Start(s.t, crashtest.Command{Path: "swtpm", Args: []string{"socket", "--tpm2",
		"--server", "type=unixio,path=" + s.Path, "--ctrl", "type=unixio,path=" + control, "--tpmstate", "dir=" + s.State, "--flags", "startup-clear"}})
	crashtest.Eventually(s.t, "swtpm to listen", func() (bool, string) {
		c, err := net.Dial("unix", s.Path)
		if err != nil {
			return false, err.Error() + "\n" + s.proc.Output()
		}
		return c.Close() == nil, ""
	})
}

// Stop pulls the plug. A TPM keeps what it has answered for.
func (s *TPM) Stop() { s.proc.Kill() }
