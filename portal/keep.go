package portal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
)

// A kept file is what somebody sent, as it came, in a temporary file. It moves
// to its name once it is known to be worth keeping.
type kept struct {
	*os.File
	path  string
	sha   string // SHA-256, hex
	bytes int64
}

// keep copies r to a file and hashes it on the way.
func (p *Portal) keep(r io.Reader) (*kept, error) {
	f, err := os.CreateTemp(filepath.Join(p.o.Dir, tempFolder), "upload-*")
	if err != nil {
		return nil, fmt.Errorf("keep upload: %w", err)
	}
	k := &kept{File: f, path: f.Name()}
	sum, most := sha256.New(), p.uploadBytesMax()
	k.bytes, err = io.Copy(io.MultiWriter(f, sum), io.LimitReader(r, most+1))
	if err == nil && k.bytes > most {
		err = refuse(export.CodeSizeTooLarge, "the file has more than %d bytes", most)
	}
	if err != nil {
		k.drop()
		return nil, fmt.Errorf("keep upload: %w", err)
	}
	k.sha = hex.EncodeToString(sum.Sum(nil))
	return k, nil
}

// sweepAge is when a file that is being received was left by a crash.
const sweepAge = 24 * time.Hour

// sweep removes what crashes left in the folder of temporary files. Those of
// other processes are younger.
func sweep(dir string) error {
	files, err := os.ReadDir(dir)
	for _, f := range files {
		if info, err := f.Info(); err == nil && time.Since(info.ModTime()) > sweepAge {
			os.Remove(filepath.Join(dir, f.Name()))
		}
	}
	return err
}

func (p *Portal) uploadBytesMax() int64 {
	if p.o.UploadBytesMax > 0 {
		return p.o.UploadBytesMax
	}
	return export.SizeMaxDefault
}

// begin goes back to the first byte.
func (k *kept) begin() error {
	if _, err := k.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read upload: %w", err)
	}
	return nil
}

// store gives the file its lasting name, durably. It may be called again.
func (k *kept) store(p *Portal) error {
	to := p.path(uploadsFolder, k.sha)
	if k.path == to {
		return nil
	}
	if err := k.Sync(); err != nil {
		return fmt.Errorf("keep upload: %w", err)
	}
	if err := os.Rename(k.path, to); err != nil {
		return fmt.Errorf("keep upload: %w", err)
	}
	k.path = to
	return syncFolder(filepath.Dir(to))
}

// drop closes the file, and removes it if it has no lasting name.
func (k *kept) drop() {
	k.Close()
	if filepath.Base(filepath.Dir(k.path)) == tempFolder {
		os.Remove(k.path)
	}
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync %q: %w", path, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %q: %w", path, err)
	}
	return nil
}

// writeDurably writes a small file that a decision rests on.
func writeDurably(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	return syncFolder(filepath.Dir(path))
}

func (p *Portal) unwrap() export.UnwrapOptions {
	return export.UnwrapOptions{RatioMax: p.o.RatioMax, Identities: p.o.Identities}
}

// peekBytes holds the head of a report and its first note.
const peekBytes = 128 << 10

// A peeked head is what a file says it is. Nothing of it is verified.
type peeked struct {
	origin   string // of the first key; empty: there is no such head
	baseNote []byte // nil: the base is 0
}

// peek reads the head of a report. What is no report gives an empty head: the
// verifier says what is wrong with it.
func (p *Portal) peek(k *kept) (h peeked, err error) {
	if err := k.begin(); err != nil {
		return h, err
	}
	text, _, err := export.Unwrap(k, p.unwrap())
	if err != nil {
		return h, nil //nolint:nilerr // see above
	}
	b := make([]byte, peekBytes)
	n, _ := io.ReadFull(text, b)
	head, rest, ok := bytes.Cut(b[:n], []byte("\n\n"))
	if !ok {
		return h, nil
	}
	for line := range bytes.Lines(head) {
		name, value, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		switch {
		case name == "key" && h.origin == "":
			if key, err := ledger.ParseVKey(value); err == nil {
				h.origin = key.Origin()
			}
		case name == "old" && !strings.HasPrefix(value, "0 "):
			note, sigs, _ := bytes.Cut(rest, []byte("\n\n"))
			sigs, _, _ = bytes.Cut(sigs, []byte("\n\n"))
			h.baseNote = fmt.Appendf(nil, "%s\n\n%s\n", note, sigs)
		}
	}
	return h, nil
}

// textHash returns H of the text of the file, which a rejection names. It is
// zero if the file has no text.
func (p *Portal) textHash(k *kept) (h ledger.Hash, ok bool) {
	if k.begin() != nil {
		return h, false
	}
	text, _, err := export.Unwrap(k, p.unwrap())
	if err != nil {
		return h, false
	}
	sum := sha256.New()
	if n, err := io.Copy(sum, io.LimitReader(text, p.uploadBytesMax()+1)); err != nil || n > p.uploadBytesMax() {
		return h, false
	}
	return ledger.Hash(sum.Sum(nil)), true
}
