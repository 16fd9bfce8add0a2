//go:build unix

package exporter

import (
	"os/exec"
	"syscall"
)

// ownGroup lets a command that is ended take its children with it.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
