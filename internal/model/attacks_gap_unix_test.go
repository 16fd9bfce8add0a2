//go:build unix

package model_test

import "syscall"

// stand stops the daemon's process, or lets it go on.
func (p *plant) stand(still bool) {
	p.t.Helper()
	signal := syscall.SIGCONT
	if still {
		signal = syscall.SIGSTOP
	}
	p.must(syscall.Kill(p.d.PID(), signal))
}
