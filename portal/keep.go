package portal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

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

var errPeeked = errors.New("peeked")

// peek returns the origin and base that the head of a report names, and whether
// there is such a head. Nothing of it is verified.
func (p *Portal) peek(k *kept) (head export.VisitedHead, origin string, err error) {
	if err := k.begin(); err != nil {
		return head, "", err
	}
	_, err = export.VerifyReport(k, export.VerifyOptions{TrustFile: true, SizeMax: p.uploadBytesMax(), Unwrap: p.unwrap(),
		VisitHead: func(h export.VisitedHead) error { head = h; return errPeeked }})
	if !errors.Is(err, errPeeked) {
		if errors.Is(err, export.ErrRefused) {
			err = nil // VerifyReport says it again, knowing more
		}
		return head, "", err
	}
	line, _, _ := bytes.Cut(head.Note, []byte("\n"))
	return head, string(line), nil
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
