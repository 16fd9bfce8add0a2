package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// FileName is the name of the file in the data directory; a backup has it too, as
// it holds no secret: public keys and hashes.
const FileName = "access.json"

const lockName = "access.lock"

// version of the file; a later one is not touched.
const version = 1

// ErrInUse: another process has the book open, the daemon most likely.
var ErrInUse = errors.New("nodes and tokens are in use by another process")

// ErrNewer: a newer program wrote the book. Install that.
var ErrNewer = errors.New("nodes and tokens are of a newer version")

// A Book is the nodes, tokens and operators of one site. It may be used from several
// goroutines; a change is on the disk when the method that makes it returns.
type Book struct {
	dir, keys string
	now       func() time.Time
	lock      *os.File

	changing sync.Mutex   // one change at a time
	mu       sync.RWMutex // protects content, which is replaced and never changed
	content  *content
}

// content is the file.
type content struct {
	Version int     `json:"version"`
	Nodes   []Node  `json:"nodes"`
	Tokens  []Token `json:"tokens"`

	Operators []Operator `json:"operators,omitempty"`
}

// Open reads the book of a data directory and holds it until Close. Keys is the
// folder of the site's private keys. now is the clock; nil: time.Now.
//
// Errors: [ErrInUse], [ErrNewer].
func Open(dir, keys string, now func() time.Time) (*Book, error) {
	if now == nil {
		now = time.Now
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockFile(filepath.Join(dir, lockName))
	if err != nil {
		return nil, err
	}
	b := &Book{dir: dir, keys: keys, now: now, lock: lock, content: &content{Version: version}}
	if err := b.read(); err != nil {
		lock.Close()
		return nil, err
	}
	return b, nil
}

// Close lets others open the book.
func (b *Book) Close() error { return b.lock.Close() }

func (b *Book) read() error {
	path := filepath.Join(b.dir, FileName)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var head struct{ Version int } // first: what else a newer one holds nobody knows
	if json.Unmarshal(data, &head) == nil && head.Version > version {
		return fmt.Errorf("%w: %s has version %d, this program reads %d", ErrNewer, path, head.Version, version)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err = dec.Decode(b.content); err == nil {
		if _, end := dec.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("something follows the object")
		}
	}
	if err == nil && b.content.Version != version {
		err = fmt.Errorf("version %d, want %d", b.content.Version, version)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// get returns the content, which nobody changes.
func (b *Book) get() *content {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.content
}

// change lets edit change a copy, which counts once it is on the disk.
func (b *Book) change(edit func(*content) error) error {
	b.changing.Lock()
	defer b.changing.Unlock()
	next := b.get().clone()
	if err := edit(next); err != nil {
		return err
	}
	if err := b.write(next); err != nil {
		return err
	}
	b.mu.Lock()
	b.content = next
	b.mu.Unlock()
	return nil
}

func (c *content) clone() *content {
	out := &content{Version: c.Version}
	for _, n := range c.Nodes {
		n.Keys = append([]NodeKey(nil), n.Keys...)
		out.Nodes = append(out.Nodes, n)
	}
	for _, t := range c.Tokens {
		t.Rights = append([]Right(nil), t.Rights...)
		out.Tokens = append(out.Tokens, t)
	}
	for _, o := range c.Operators {
		o.Rights = append([]Right(nil), o.Rights...)
		out.Operators = append(out.Operators, o)
	}
	return out
}

// write puts c in the place of the file: the old one is there until the new one
// is on the disk as a whole.
func (b *Book) write(c *content) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(b.dir, FileName)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncFolder(b.dir)
}
