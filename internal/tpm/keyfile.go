package tpm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/meterseal/meterseal/ledger"
)

// SealedSuffix is what the name of a sealed key file has after that of the clear
// one.
const SealedSuffix = ".tpm"

// WriteKeyFile seals k into a new file, of the mode and as durable as
// ledger.WriteKeyFile makes it. No clear key is ever on the disk.
func (t *TPM) WriteKeyFile(path string, k *ledger.SecretKey) error {
	sealed, err := t.Seal([]byte(k.Secret()))
	if err != nil {
		return err
	}
	return ledger.WritePrivateFile(path, sealed)
}

// ReadKeyFile reads a key that WriteKeyFile has sealed. Errors: those of
// [TPM.Unseal], ledger.ErrKeyExposed, and those of os.Open.
func (t *TPM) ReadKeyFile(path string) (*ledger.SecretKey, error) {
	sealed, err := ledger.ReadPrivateFile(path)
	if err != nil {
		return nil, err
	}
	secret, err := t.Unseal(sealed)
	if err != nil {
		return nil, fmt.Errorf("read key %q: %w", path, err)
	}
	k, err := ledger.ParseSecretKey(string(secret))
	if err != nil {
		return nil, fmt.Errorf("read key %q: %w", path, err)
	}
	return k, nil
}

// SealKeyFile seals the clear key file at path into path + SealedSuffix, reads it
// back and then removes the clear one. A crash on the way leaves both, or the
// clear one alone; the next call goes on from there. It refuses a sealed file
// that holds another key.
//
// Removing a file does not wipe it from a disk, and backups hold it too: what
// was clear once stays so for who kept a copy, until the key is rotated.
func (t *TPM) SealKeyFile(path string) error {
	clear, err := ledger.ReadKeyFile(path)
	if err != nil {
		return err
	}
	sealed, err := t.ReadKeyFile(path + SealedSuffix)
	if errors.Is(err, os.ErrNotExist) {
		if err := t.WriteKeyFile(path+SealedSuffix, clear); err != nil {
			return err
		}
		sealed, err = t.ReadKeyFile(path + SealedSuffix)
	}
	if err != nil {
		return err
	}
	if sealed.Secret() != clear.Secret() {
		return fmt.Errorf("seal key %q: %s holds another key: keep the one of this ledger, and move the other away", path, path+SealedSuffix)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("seal key %q: %w", path, err)
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes a removal durable. Where a folder cannot be opened for that
// (Windows) the file may come back after a power cut, and the next call removes it.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, os.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
