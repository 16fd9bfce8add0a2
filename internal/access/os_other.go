//go:build !unix

package access

import "os"

// lockFile opens a file; there is no lock on this system.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}

// syncFolder does nothing: a folder cannot be opened for it.
func syncFolder(string) error { return nil }
