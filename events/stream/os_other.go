//go:build !unix

package stream

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// lockDirectory opens a file in the directory; this system has no lock that
// ends with the process, so two daemons are only kept apart by their port.
func lockDirectory(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: write %s/lock: %w", ErrNoPermission, dir, err)
	}
	return f, nil
}

// FreeBytes is not known here; the stream's own size is the only limit.
func FreeBytes(string) (int64, error) { return 1 << 40, nil }

func isAddressInUse(err error) bool {
	return strings.Contains(err.Error(), "address already in use") || strings.Contains(err.Error(), "Only one usage")
}
