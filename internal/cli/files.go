package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// WriteFile has write fill a new file, which appears under its name when it is
// whole and on disk. A file of other content stays unless force is set. Mode
// 0600: what is written here may say who used what.
func WriteFile(path string, force bool, write func(w io.Writer) error) error {
	return PlaceFile(path, force, func(tmp string) error {
		f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		err = write(f)
		return errors.Join(err, f.Sync(), f.Close())
	})
}

// PlaceFile is WriteFile for what writes to a path.
func PlaceFile(path string, force bool, write func(tmp string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), partNames)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	tmp := f.Name()
	defer os.Remove(tmp)
	f.Close()
	if err := write(tmp); err != nil {
		return err
	}
	if !force {
		free, err := sameOrFree(tmp, path)
		if err != nil {
			return err
		}
		if !free {
			return Fail(ExitError, "file_exists", "choose another name, or use --force", "%s exists and holds something else", path)
		}
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return SyncFolder(filepath.Dir(path))
}

// partNames match what is written until it has its name; partAge is when nobody
// writes to such a file any more, so that it is of a program that was killed.
const (
	partNames = ".meterseal-*.part"
	partAge   = 24 * time.Hour
)

// RemoveParts removes what killed programs left half written in a folder: files of
// such a name to which nothing was written for a day.
func RemoveParts(folder string, now time.Time) error {
	list, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range list {
		if ok, _ := filepath.Match(partNames, e.Name()); !ok || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err == nil && now.Sub(info.ModTime()) > partAge {
			err = os.Remove(filepath.Join(folder, e.Name()))
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) { // gone: another one was quicker
			return err
		}
	}
	return nil
}

// sameOrFree tells whether path may be replaced by tmp: it is not there, or
// holds the same bytes.
func sameOrFree(tmp, path string) (bool, error) {
	old, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer old.Close()
	f, err := os.Open(tmp)
	if err != nil {
		return false, err
	}
	defer f.Close()
	a, b := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, errA := io.ReadFull(old, a)
		m, errB := io.ReadFull(f, b)
		if !bytes.Equal(a[:n], b[:m]) {
			return false, nil
		}
		end := func(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
		if errA != nil || errB != nil {
			if end(errA) && end(errB) {
				return true, nil
			}
			return false, errors.Join(errA, errB)
		}
	}
}

// WriteSynced writes a small file of the data directory and syncs it.
func WriteSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// SyncFolder makes names in a folder durable, where the system can: a folder
// that this user may not read, such as the one above a data directory, is for
// whoever made it.
func SyncFolder(path string) error {
	d, err := os.Open(path)
	if errors.Is(err, os.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, os.ErrInvalid) && !errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	return nil
}
