//go:build unix

package cli

import "syscall"

// KeepPrivate has every file and folder that this program makes belong to its
// user alone, also those of the libraries under it.
func KeepPrivate() { syscall.Umask(0o077) }
