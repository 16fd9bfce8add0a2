package ledger

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// ErrKeyExposed stops the start when others than its owner can read a key file
// or enter its folder (key_file_exposed): set mode 0600 and 0700, and treat a
// key that was exposed as lost.
var ErrKeyExposed = errors.New("key file is readable by other users")

// keyFileBytesMax is above the longest key line.
const keyFileBytesMax = 4096

// ReadKeyFile reads a private key: one line, in a file of mode 0600 in a folder
// of mode 0700. Errors: ErrKeyExposed, ErrMalformed, and those of os.Open.
func ReadKeyFile(path string) (*SecretKey, error) {
	b, err := ReadPrivateFile(path)
	if err != nil {
		return nil, err
	}
	line, ok := strings.CutSuffix(string(b), "\n")
	if !ok {
		return nil, fmt.Errorf("read key %q: %w: no line end", path, ErrMalformed)
	}
	k, err := ParseSecretKey(line)
	if err != nil {
		return nil, fmt.Errorf("read key %q: %w", path, err)
	}
	return k, nil
}

// WriteKeyFile writes k to a new file and syncs file and folder. It makes the
// folder if it is missing and never replaces a file.
func WriteKeyFile(path string, k *SecretKey) error {
	return WritePrivateFile(path, []byte(k.Secret()+"\n"))
}

// ReadSecretFile reads the 32 bytes of salt.key or tag.key, with the modes of
// ReadKeyFile.
func ReadSecretFile(path string) (secret [32]byte, err error) {
	b, err := ReadPrivateFile(path)
	if err != nil {
		return secret, err
	}
	if len(b) != len(secret) {
		return secret, fmt.Errorf("read key %q: %w: %d bytes instead of %d", path, ErrMalformed, len(b), len(secret))
	}
	return [32]byte(b), nil
}

// ReadSaltFile reads salt.key: 32 bytes, the period key of the month in which the
// ledger was opened; or, once keys were destroyed, 32 bytes and the month that they
// are of, "2026-12" and LF. month is 0 in the first case.
func ReadSaltFile(path string) (salt [32]byte, month Month, err error) {
	b, err := ReadPrivateFile(path)
	if err != nil {
		return salt, 0, err
	}
	if len(b) > len(salt) {
		text, ok := strings.CutSuffix(string(b[len(salt):]), "\n")
		if month, err = ParseMonth(text); err != nil || !ok {
			return salt, 0, fmt.Errorf("read key %q: %w: what follows the key is no month", path, ErrMalformed)
		}
		b = b[:len(salt)]
	}
	if len(b) != len(salt) {
		return salt, 0, fmt.Errorf("read key %q: %w: %d bytes instead of %d", path, ErrMalformed, len(b), len(salt))
	}
	return [32]byte(b), month, nil
}

// ReplaceSaltFile puts the key of a later month in the place of the one in path:
// after a crash there is the one or the other, whole. Then it overwrites the bytes
// of the old one where they stood. What the disk itself keeps (snapshots, spare
// blocks of flash memory) is out of reach.
func ReplaceSaltFile(path string, salt [32]byte, month Month) error {
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("replace key: %w", err)
	}
	defer old.Close()
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a crash
		return fmt.Errorf("replace key: %w", err)
	}
	if err := WritePrivateFile(next, append(salt[:], month.String()+"\n"...)); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("replace key: %w", err)
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return fmt.Errorf("replace key %q: %w", path, err)
	}
	if _, err := old.WriteAt(make([]byte, len(salt)), 0); err != nil {
		return fmt.Errorf("overwrite the old key: %w", err)
	}
	return old.Sync()
}

// WriteSecretFile writes 32 new random bytes as WriteKeyFile does, and returns
// them.
func WriteSecretFile(path string) (secret [32]byte, err error) {
	if _, err := rand.Read(secret[:]); err != nil {
		return secret, fmt.Errorf("write key %q: %w", path, err)
	}
	return secret, WritePrivateFile(path, secret[:])
}

// ReadPrivateFile reads a file that only its owner may read, of 4,096 bytes at
// most. Errors: ErrKeyExposed, ErrMalformed, and those of os.Open.
func ReadPrivateFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read key %q: %w: not a file", path, ErrMalformed)
	}
	folder, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if err := checkPrivate(path, info.Mode()); err != nil {
		return nil, err
	}
	if err := checkPrivate(filepath.Dir(path), folder.Mode()); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, keyFileBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if len(b) > keyFileBytesMax {
		return nil, fmt.Errorf("read key %q: %w: more than %d bytes", path, ErrMalformed, keyFileBytesMax)
	}
	return b, nil
}

// checkPrivate refuses rights of group and others. Windows has no such modes;
// there the folder's access list is for the installer.
func checkPrivate(path string, mode fs.FileMode) error {
	if runtime.GOOS != "windows" && mode.Perm()&0o077 != 0 {
		return fmt.Errorf("%w: %q has mode %04o", ErrKeyExposed, path, mode.Perm())
	}
	return nil
}

// WritePrivateFile writes a new file that only its owner may read, as
// WriteKeyFile does.
func WritePrivateFile(path string, b []byte) (err error) {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = syncFolder(folder)
	}
	if err != nil {
		os.Remove(path) // a torn key file would stop every later start
		return fmt.Errorf("write key %q: %w", path, err)
	}
	return nil
}

func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be opened for it
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
