// Package credential has what somebody proves himself with: passwords, one-time
// codes, random secrets.
//
// The guarantee: nothing that is kept lets its reader sign in, except the secret of
// one-time codes, which alone is not enough. The limit: a password that is short or
// known elsewhere can be guessed whatever its hash.
package credential

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"golang.org/x/crypto/argon2"
)

// A Cost is what hashing a password takes.
type Cost struct {
	MemoryKiB, Passes uint32
	Threads           uint8
}

// DefaultCost is that of the portal: RFC 9106's second choice, about a tenth of a
// second.
var DefaultCost = Cost{MemoryKiB: 64 << 10, Passes: 3, Threads: 4}

// ErrBusy is returned where too many wait to have a password hashed. Try again later.
var ErrBusy = errors.New("too many passwords are being checked")

// Bounds of what is hashed at once: sign-ins would else be an attack on memory.
const (
	atOnce  = 2
	waiting = 64
)

// A Hasher hashes passwords, at most two at once.
type Hasher struct {
	cost         Cost
	turn, queued chan struct{}
	decoy        string
}

// NewHasher returns a hasher; the zero cost is DefaultCost.
func NewHasher(cost Cost) (*Hasher, error) {
	if cost == (Cost{}) {
		cost = DefaultCost
	}
	h := &Hasher{cost: cost, turn: make(chan struct{}, atOnce), queued: make(chan struct{}, waiting)}
	var err error
	h.decoy, err = h.Hash(context.Background(), rand.Text())
	return h, err
}

// Hash returns the PHC string of a password.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	var salt [16]byte
	rand.Read(salt[:])
	key, err := h.key(ctx, password, salt[:], h.cost)
	if err != nil {
		return "", err
	}
	b := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.cost.MemoryKiB, h.cost.Passes, h.cost.Threads,
		b.EncodeToString(salt[:]), b.EncodeToString(key)), nil
}

// Verify tells whether a password is that of a PHC string. Where there is none, it
// takes as long and is false: nobody learns who has a password.
func (h *Hasher) Verify(ctx context.Context, password, phc string) (bool, error) {
	none := phc == ""
	if none {
		phc = h.decoy
	}
	cost, salt, want, err := parse(phc)
	if err != nil {
		return false, err
	}
	got, err := h.key(ctx, password, salt, cost)
	return err == nil && subtle.ConstantTimeCompare(got, want) == 1 && !none, err
}

// collectKiB is the memory of a hash from which on it is given back at once.
const collectKiB = 16 << 10

// keyBytes is how long a hash is.
const keyBytes = 32

func (h *Hasher) key(ctx context.Context, password string, salt []byte, c Cost) ([]byte, error) {
	select {
	case h.queued <- struct{}{}:
		defer func() { <-h.queued }()
	default:
		return nil, ErrBusy
	}
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	key := argon2.IDKey([]byte(password), salt, c.Passes, c.MemoryKiB, c.Threads, keyBytes)
	if c.MemoryKiB >= collectKiB {
		debug.FreeOSMemory() // before the next one begins: else several are held that nobody needs
	}
	return key, nil
}

// memoryKiBMax bounds what a stored hash may ask for.
const memoryKiBMax = 1 << 20

func parse(phc string) (c Cost, salt, key []byte, err error) {
	var version int
	fields := strings.Split(phc, "$")
	if len(fields) != 6 || fields[1] != "argon2id" {
		return c, nil, nil, errors.New("read password hash: it is no PHC string of argon2id")
	}
	if _, err = fmt.Sscanf(fields[2], "v=%d", &version); err == nil {
		_, err = fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &c.MemoryKiB, &c.Passes, &c.Threads)
	}
	if err == nil {
		salt, err = base64.RawStdEncoding.DecodeString(fields[4])
	}
	if err == nil {
		key, err = base64.RawStdEncoding.DecodeString(fields[5])
	}
	if err == nil && (version != argon2.Version || c.MemoryKiB > memoryKiBMax || c.Passes == 0 || c.Threads == 0 || len(key) != keyBytes) {
		err = fmt.Errorf("version %d, memory %d KiB", version, c.MemoryKiB)
	}
	if err != nil {
		return c, nil, nil, fmt.Errorf("read password hash: %w", err)
	}
	return c, salt, key, nil
}
