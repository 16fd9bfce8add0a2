//go:build unix

package meter

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockDir takes the spool folder for this process until the file closes.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: %s; stop the other process, or give each its own Options.Dir and Options.Node", ErrSpoolInUse, dir)
	}
	return f, nil
}
