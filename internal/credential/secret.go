package credential

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
)

// NewSecret returns a random secret of 256 bits and what is kept of it.
func NewSecret(prefix string) (secret, hash string) {
	secret = prefix + rand.Text() + rand.Text()
	return secret, HashSecret(secret)
}

// HashSecret is what is kept of a random secret: nobody guesses those, so one
// SHA-256 is enough, and looking it up compares nothing that could be timed.
func HashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
