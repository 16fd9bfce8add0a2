package ledger

import (
	"bytes"
	"crypto/sha256"
	"testing"
)

// shortHasher is SHA-256 at every length around the blocks of its padding.
func TestShortHasher(t *testing.T) {
	h := newShortHasher()
	if h.state == nil {
		t.Error("crypto/sha256 does not hand out its state: event hashes are correct, but slower")
	}
	msg := bytes.Repeat([]byte("meterseal"), 60)
	for n := range msg {
		for _, room := range []int{0, 200} {
			buf := append(make([]byte, 0, n+room), msg[:n]...)
			if got, want := h.sum(buf), sha256.Sum256(msg[:n]); got != want {
				t.Fatalf("sum of %d bytes = %v, want %x", n, got, want)
			}
		}
	}
}
