package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	sumsFile = "SHA256SUMS"
	// signedFor is the namespace of the signature: one for releases counts as nothing else.
	signedFor = "meterseal-release"
)

// writeSums writes the checksums of all files below dir, in the form that
// "sha256sum --check" reads.
func writeSums(dir string) error {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || strings.HasPrefix(e.Name(), sumsFile) {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(data), filepath.ToSlash(rel))
		return nil
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, sumsFile), []byte(b.String()), 0o644)
}

// sign signs the checksums in dir with an OpenSSH key. A customer who has its public
// half on paper needs nothing else, and no network, to check them.
func sign(dir, key string) error {
	key, err := filepath.Abs(key)
	if err != nil {
		return err
	}
	sums := filepath.Join(dir, sumsFile)
	if err := os.Remove(sums + ".sig"); err != nil && !os.IsNotExist(err) {
		return err
	}
	return command("", nil, "ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", signedFor, sums)
}
