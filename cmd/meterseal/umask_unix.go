//go:build unix

package main

import "syscall"

// keepPrivate has every file and folder that this program makes belong to its
// user alone, also those of the libraries under it.
func keepPrivate() { syscall.Umask(0o077) }
