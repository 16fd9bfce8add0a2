//go:build !unix

package meter

import (
	"os"
	"path/filepath"
)

// lockDir opens a file in the folder; this system has no lock that ends with the
// process, so whoever starts a second one with the same folder is not stopped.
func lockDir(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
}
