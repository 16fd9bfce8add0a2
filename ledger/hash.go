package ledger

import (
	"crypto/sha256"

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
