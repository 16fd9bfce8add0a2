//go:build !unix

package main

// keepPrivate is for the access list of the data directory, which the installer
// sets.
func keepPrivate() {}
