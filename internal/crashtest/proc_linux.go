package crashtest

import "syscall"

// dieWithParent has the kernel kill a child when the test process ends without
// having done so itself, for example at a test timeout.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
