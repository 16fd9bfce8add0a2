package exporter

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
)

// fileName is ledger, records and days of a report:
// 4f1c2a9e-120-348_2026-11-01_2026-11-27.usage.zst.
func (r *runner) fileName(w *export.Written, v *export.Report) string {
	day := func(at interface{ Format(string) string }) string { return at.Format("2006-01-02") }
	zone := r.Schedule.Zone()
	return fmt.Sprintf("%s-%d-%d_%s_%s.usage%s", r.x.Site.LedgerID(), w.From, w.To, day(v.From.In(zone)), day(v.Until.In(zone)), r.Wrap.Suffix())
}

// half is the name under which a file is written until it is whole. There is one,
// so that what a crash left is found.
func (r *runner) half() string {
	return filepath.Join(r.Folder, "."+r.x.Site.LedgerID()+"-"+r.Name+".part")
}

// removeHalf removes what a crash left. A folder that is not there now has nothing.
func (r *runner) removeHalf() {
	if err := os.Remove(r.half()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.x.Log.Warn("remove half a file", "job", r.Name, "err", err)
	}
}

// write writes report, wrapped, under its name. The name appears when the file is
// whole and on disk. Of a one-way folder its digest follows, so that whoever has
// both on the other side can tell.
func (r *runner) write(name string, report io.Reader) (size int64, digest string, err error) {
	sum := sha256.New()
	err = r.put(name, func(f io.Writer) error {
		count := &counter{}
		w, err := export.Wrap(io.MultiWriter(f, sum, count), r.Wrap)
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, report); err != nil {
			return err
		}
		err = w.Close()
		size = count.n
		return err
	})
	digest = hex.EncodeToString(sum.Sum(nil))
	if err != nil || !r.OneWay {
		return size, digest, err
	}
	return size, digest, r.put(name+".sha256", func(f io.Writer) error {
		_, err := fmt.Fprintf(f, "%s  %s\n", digest, name)
		return err
	})
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) { c.n += int64(len(b)); return len(b), nil }

// put fills a file that appears under its name when it is whole and on disk.
func (r *runner) put(name string, fill func(io.Writer) error) (err error) {
	half := r.half()
	if err := os.Remove(half); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(half, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(r.Mode))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(half) // err says what is wrong
		}
	}()
	err = fill(f)
	if err == nil {
		err = f.Chmod(fs.FileMode(r.Mode)) // the daemon keeps what it makes to itself
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(half, filepath.Join(r.Folder, name)); err != nil {
		return err
	}
	return cli.SyncFolder(r.Folder)
}

// written are the names that fileName gives.
var written = regexp.MustCompile(`^-(\d+)-(\d+)_\d{4}-\d\d-\d\d_\d{4}-\d\d-\d\d\.usage(\.zst)?(\.age)?$`)

// prune removes files of this ledger beyond the newest Keep, if a receipt covers
// all that they hold.
func (r *runner) prune() error {
	if r.Keep == 0 {
		return nil
	}
	list, err := os.ReadDir(r.Folder)
	if err != nil {
		return &folderError{r.Folder, err}
	}
	type file struct {
		name     string
		from, to uint64
	}
	var files []file
	id := r.x.Site.LedgerID()
	for _, e := range list {
		name := e.Name()
		if len(name) < len(id) || name[:len(id)] != id || !e.Type().IsRegular() {
			continue
		}
		m := written.FindStringSubmatch(name[len(id):])
		if m == nil {
			continue
		}
		from, errFrom := strconv.ParseUint(m[1], 10, 64)
		to, errTo := strconv.ParseUint(m[2], 10, 64)
		if errFrom == nil && errTo == nil {
			files = append(files, file{name, from, to})
		}
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Or(cmp.Compare(b.to, a.to), cmp.Compare(b.from, a.from)) })
	covered := r.x.Site.Covered()
	for _, f := range files[min(r.Keep, len(files)):] {
		if f.to > covered {
			continue
		}
		if err := os.Remove(filepath.Join(r.Folder, f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &folderError{r.Folder, err}
		}
		r.x.Log.Info("old report removed", "job", r.Name, "path", f.name, "records", f.to)
	}
	return nil
}
