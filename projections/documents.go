package projections

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/meterseal/meterseal/ledger"
)

// Documents that came from the vendor stand beside the ledger, since only their
// digests are in it and the stream does not hold them. Each is on disk when its
// method returns. So a document is kept first and the record that names it
// appended then: a crash between the two leaves a document that nothing names,
// never a record whose document is lost.

// maxDocumentBytes bounds a document: a reply is the largest.
const maxDocumentBytes = 1 << 20

// KeepReceipt keeps a receipt: the checkpoint note of a size that was signed
// here, with the vendor's cosignature, which the caller has verified. A later
// receipt for the same size takes its place.
//
// Errors: [ErrNotFound] if no checkpoint of this size was signed here;
// [ErrForeign] if the note is not of that checkpoint.
func (s *Store) KeepReceipt(size uint64, note []byte) error {
	own, err := s.Checkpoint(size)
	if err != nil {
		return err
	}
	want, err := ledger.ParseCheckpoint(own)
	if err != nil {
		return fmt.Errorf("%w: checkpoint of size %d: %w", ErrDamaged, size, err)
	}
	got, err := ledger.ParseCheckpoint(note)
	if err != nil {
		return fmt.Errorf("%w: receipt of size %d: %w", ErrForeign, size, err)
	}
	if got.Checkpoint != want.Checkpoint {
		return fmt.Errorf("%w: receipt of size %d is of %v, signed was %v", ErrForeign, size, got.Checkpoint, want.Checkpoint)
	}
	return s.keep(key8(keyReceipt, size), note)
}

// Receipt returns the receipt of a size. Errors: [ErrNotFound].
func (s *Store) Receipt(size uint64) ([]byte, error) {
	v, err := s.get(key8(keyReceipt, size))
	if err != nil {
		return nil, fmt.Errorf("receipt of size %d: %w", size, err)
	}
	return v, nil
}

// ReceiptOver returns the receipt of the smallest size that holds a record: the
// first one that the vendor gave for it. Errors: [ErrNotFound].
func (s *Store) ReceiptOver(index uint64) (size uint64, note []byte, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: key8(keyReceipt, index+1), UpperBound: []byte{keyReceipt + 1}})
	if err != nil {
		return 0, nil, fmt.Errorf("receipt over record %d: %w", index, err)
	}
	if it.First() {
		size, note = binary.BigEndian.Uint64(it.Key()[1:]), bytes.Clone(it.Value())
	} else {
		err = fmt.Errorf("receipt over record %d: %w", index, ErrNotFound)
	}
	if e := errors.Join(it.Error(), it.Close()); e != nil {
		return 0, nil, fmt.Errorf("receipt over record %d: %w", index, e)
	}
	return size, note, err
}

// KeepDocument keeps a document as it came, under a kind ("license", "reply")
// and a name of that kind. A name that exists gets the new content.
func (s *Store) KeepDocument(kind, name string, content []byte) error {
	key, err := documentKey(kind, name)
	if err != nil {
		return err
	}
	if name == "" || len(content) > maxDocumentBytes {
		return fmt.Errorf("document %s %q of %d bytes: want a name and at most %d bytes", kind, name, len(content), maxDocumentBytes)
	}
	return s.keep(key, content)
}

// Document returns a kept document. Errors: [ErrNotFound].
func (s *Store) Document(kind, name string) ([]byte, error) {
	key, err := documentKey(kind, name)
	if err != nil {
		return nil, err
	}
	v, err := s.get(key)
	if err != nil {
		return nil, fmt.Errorf("document %s %s: %w", kind, name, err)
	}
	return v, nil
}

// Documents returns the names of the documents of a kind, ascending.
func (s *Store) Documents(kind string) ([]string, error) {
	prefix, err := documentKey(kind, "")
	if err != nil {
		return nil, err
	}
	var names []string
	err = s.scan(prefix, func(k, _ []byte) error {
		names = append(names, string(k[len(prefix):]))
		return nil
	})
	return names, err
}

// CopyDocuments copies receipts and documents from another store of the same
// ledger, such as the one that a rebuild replaces: they cannot be folded again.
func (s *Store) CopyDocuments(from *Store) error {
	b := s.db.NewBatch()
	defer b.Close()
	for _, prefix := range [...]byte{keyReceipt, keyDocument} {
		err := from.scan([]byte{prefix}, func(k, v []byte) error {
			set(b, k, v)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if b.Empty() {
		return nil
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("copy documents: %w", err)
	}
	return nil
}

func (s *Store) keep(key, value []byte) error {
	if old, err := s.get(key); err == nil && string(old) == string(value) {
		return nil
	} else if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err := s.db.Set(key, value, pebble.Sync); err != nil {
		return fmt.Errorf("keep document: %w", err)
	}
	return nil
}

// documentKey returns the key of a document, or of all of its kind for an empty
// name.
func documentKey(kind, name string) ([]byte, error) {
	if kind == "" || len(kind) > 32 || len(name) > 255 || strings.ContainsRune(kind+name, 0) {
		return nil, fmt.Errorf("document %q %q: want a kind of up to 32 bytes and a name of up to 255", kind, name)
	}
	return append(append([]byte{keyDocument}, kind...), append([]byte{0}, name...)...), nil
}
