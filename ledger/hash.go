package ledger

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"

	"golang.org/x/mod/sumdb/tlog"
)

// HashBytes is the length of a Hash.
const HashBytes = tlog.HashSize

// Hash is a SHA-256 value: of a leaf, an inner node, a root or a document. Its
// String is the spelling in documents, 44 characters of base64.
type Hash = tlog.Hash

// EmptyRoot is the root of the tree without leaves, SHA-256 of nothing.
var EmptyRoot = Hash(sha256.Sum256(nil))

// leafBufferBytes is how long a leaf may be to be hashed on the stack; nearly
// all records are shorter.
const leafBufferBytes = 512

// LeafHash returns the leaf of a record or event line without its LF:
// H(0x00 ‖ line), RFC 6962 section 2.1.
func LeafHash(line []byte) Hash {
	if len(line) < leafBufferBytes {
		var buf [leafBufferBytes]byte // buf[0] is the prefix 0x00
		n := copy(buf[1:], line)
		return sha256.Sum256(buf[:1+n])
	}
	return tlog.RecordHash(line)
}

// NodeHash returns the inner node over l and r: H(0x01 ‖ l ‖ r).
func NodeHash(l, r Hash) Hash {
	var buf [1 + 2*HashBytes]byte
	buf[0] = 1
	copy(buf[1:], l[:])
	copy(buf[1+HashBytes:], r[:])
	return sha256.Sum256(buf[:])
}

// shortHasher is SHA-256 of many short messages: it pads a message in its own
// buffer, so that crypto/sha256 sees whole blocks only, and takes the hash from
// the state that it hands out. That spares about a fifth of [sha256.Sum256] at
// the lengths of event lines and nodes. Where the state is not where it has been
// since Go 1.10, it is Sum256 itself.
type shortHasher struct {
	digest hash.Hash
	state  encoding.BinaryAppender // of digest; nil: use Sum256
	out    []byte
}

// stateAt is where the hash stands in the state of a digest.
const stateAt = 4

func newShortHasher() *shortHasher {
	h := &shortHasher{digest: sha256.New(), out: make([]byte, 0, 128)}
	h.state, _ = h.digest.(encoding.BinaryAppender)
	var buf [2 * sha256.BlockSize]byte
	for n := range buf[:sha256.BlockSize] {
		if h.state == nil || h.sum(buf[:n]) != sha256.Sum256(buf[:n]) {
			h.state = nil
			break
		}
	}
	return h
}

// sum returns SHA-256 of msg; it writes beyond msg within its capacity.
func (h *shortHasher) sum(msg []byte) (sum Hash) {
	if h.state == nil {
		return sha256.Sum256(msg)
	}
	const lengthAt = sha256.BlockSize - 8
	n := len(msg)
	zeros := (2*sha256.BlockSize + lengthAt - 1 - n%sha256.BlockSize) % sha256.BlockSize
	msg = append(msg, padding[:1+zeros]...)
	msg = binary.BigEndian.AppendUint64(msg, uint64(n)*8)
	h.digest.Reset()
	h.digest.Write(msg)
	state, err := h.state.AppendBinary(h.out)
	if err != nil || len(state) < stateAt+len(sum) {
		return sha256.Sum256(msg[:n])
	}
	copy(sum[:], state[stateAt:])
	return sum
}

// padding is what follows a message: a 1-bit, then zeros.
var padding = [sha256.BlockSize]byte{0x80}
