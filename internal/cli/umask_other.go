//go:build !unix

package cli

// KeepPrivate is for the access list of the data directory, which the installer
// sets.
func KeepPrivate() {}
