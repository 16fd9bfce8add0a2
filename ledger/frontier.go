package ledger

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// A Frontier is what must be kept of a tree to append to it: the roots of the
// perfect subtrees that make up its leaves, largest first, one per 1-bit of the
// size. The zero value is the empty tree. The tree of a cell's events is one,
// and so is the ledger for a verifier that keeps no records.
//
// A Frontier is not safe for concurrent use.
type Frontier struct {
	size   uint64
	hashes []Hash
}

// NewFrontier returns the frontier of a size with these hashes, largest subtree
// first; it keeps a copy. It refuses any other number of hashes than the size
// has 1-bits, and sizes of 2^63 and above.
func NewFrontier(size uint64, hashes []Hash) (*Frontier, error) {
	if size > math.MaxInt64 {
		return nil, malformed("tree of %d leaves", size)
	}
	if len(hashes) != bits.OnesCount64(size) {
		return nil, malformed("frontier of %d hashes for %d leaves, not %d", len(hashes), size, bits.OnesCount64(size))
	}
	return &Frontier{size: size, hashes: append([]Hash(nil), hashes...)}, nil
}

// Size returns the number of leaves.
func (f *Frontier) Size() uint64 { return f.size }

// Hashes returns the frontier, largest subtree first. The slice is valid until
// the next Append.
func (f *Frontier) Hashes() []Hash { return f.hashes }

// Append adds a leaf. It allocates only when the frontier grows.
func (f *Frontier) Append(leaf Hash) { f.append(leaf, NodeHash) }

func (f *Frontier) append(leaf Hash, nodeHash func(l, r Hash) Hash) {
	n := len(f.hashes)
	for s := f.size; s&1 == 1; s >>= 1 {
		n--
		leaf = nodeHash(f.hashes[n], leaf)
	}
	f.hashes = append(f.hashes[:n], leaf)
	f.size++
}

// Root returns the root of the tree.
func (f *Frontier) Root() Hash {
	n := len(f.hashes)
	if n == 0 {
		return EmptyRoot
	}
	r := f.hashes[n-1]
	for i := n - 2; i >= 0; i-- {
		r = NodeHash(f.hashes[i], r)
	}
	return r
}

// Clone returns a copy that shares nothing with f.
func (f *Frontier) Clone() *Frontier {
	return &Frontier{size: f.size, hashes: append([]Hash(nil), f.hashes...)}
}

// Reset makes f the empty tree and keeps its memory.
func (f *Frontier) Reset() { f.size, f.hashes = 0, f.hashes[:0] }

// AppendBinary appends the stored form: size (8 bytes, big-endian), then the
// hashes. It never fails.
func (f *Frontier) AppendBinary(dst []byte) ([]byte, error) {
	dst = binary.BigEndian.AppendUint64(dst, f.size)
	for i := range f.hashes {
		dst = append(dst, f.hashes[i][:]...)
	}
	return dst, nil
}

// ParseFrontier parses the stored form of AppendBinary.
func ParseFrontier(b []byte) (*Frontier, error) {
	if len(b) < 8 || (len(b)-8)%HashBytes != 0 || len(b) > 8+FrontierHashesMax*HashBytes {
		return nil, malformed("stored frontier of %d bytes", len(b))
	}
	hashes := make([]Hash, 0, (len(b)-8)/HashBytes)
	for p := b[8:]; len(p) > 0; p = p[HashBytes:] {
		hashes = append(hashes, Hash(p[:HashBytes]))
	}
	return NewFrontier(binary.BigEndian.Uint64(b), hashes)
}
