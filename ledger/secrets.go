package ledger

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"strconv"
	"time"
)

// Month is a calendar month of UTC, counted from year 0.
type Month int32

// MonthOf returns the month that holds a time, seconds since 1970 UTC.
func MonthOf(unix int64) Month {
	t := time.Unix(unix, 0).UTC()
	return Month(t.Year()*12 + int(t.Month()) - 1)
}

// ParseMonth parses 2026-12.
func ParseMonth(s string) (Month, error) {
	t, err := time.Parse("2006-01", s)
	if err != nil || t.Format("2006-01") != s {
		return 0, malformed("%.20q is not a month like 2026-12", s)
	}
	return MonthOf(t.Unix()), nil
}

// String spells the month as 2026-12.
func (m Month) String() string { return fmt.Sprintf("%04d-%02d", m/12, m%12+1) }

// Secrets are the two secrets that all daemons of a site share: what salts and
// tags are derived from. They sign nothing, and a verifier needs neither.
//
// It keeps the period key used last, so it is not safe for concurrent use.
type Secrets struct {
	Salt  [32]byte // period key of Month
	Tag   [32]byte
	Month Month // the month of open; see docs/decisions/0012-period-keys.md
	Moved bool  // Month is a later one: the keys of those before it are destroyed

	cached   Month
	cacheKey [32]byte
	hasCache bool
}

// NewSecrets returns secrets whose salt key is that of the month that holds
// opened, seconds since 1970 UTC.
func NewSecrets(salt, tag [32]byte, opened int64) *Secrets {
	return &Secrets{Salt: salt, Tag: tag, Month: MonthOf(opened)}
}

// PeriodKey returns the key of a calendar month. Later months than Month follow
// by a ratchet, one step each: whoever has a key can go on but not back. Earlier
// months, which only replayed data have, derive from Salt directly.
func (s *Secrets) PeriodKey(m Month) [32]byte {
	if s.hasCache && s.cached == m {
		return s.cacheKey
	}
	key, from := s.Salt, s.Month
	if s.hasCache && s.cached > s.Month && s.cached < m {
		key, from = s.cacheKey, s.cached
	}
	if m < s.Month {
		key = periodStep(key, m)
	}
	for ; from < m; from++ {
		key = periodStep(key, from+1)
	}
	s.cached, s.cacheKey, s.hasCache = m, key, true
	return key
}

// Forget moves Salt on to month m. From then on nobody who has only these secrets
// can make a salt of an earlier month. It does nothing unless m is later than
// Month.
func (s *Secrets) Forget(m Month) {
	if m > s.Month {
		*s = Secrets{Salt: s.PeriodKey(m), Tag: s.Tag, Month: m, Moved: true}
	}
}

// Destroyed reports whether the key that the salts of c derive from is gone. What
// CellKey returns then is a key, but not that one.
func (s *Secrets) Destroyed(c Cell) bool { return s.Moved && c.KeyMonth() < s.Month }

func periodStep(key [32]byte, m Month) [32]byte {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte("meterseal-period/v1\n" + m.String()))
	return [32]byte(mac.Sum(nil))
}

// A Cell names the events that are booked together and hashed under one root.
type Cell struct {
	Kind     string // "usage", "late", "adjust" or "seat"
	Node     string // seats: UnknownNode
	Meter    string // seats: the pool
	From, To int64
	Close    uint64 // number of the next close; not used if Kind is "usage"
	// Base is the oldest month that had a key when the cell was opened. The key of an
	// earlier one derives from its key; 0: from Salt.
	Base Month
}

// KeyMonth returns the month whose key the salts of c derive from: that of From,
// or Base if From is earlier.
func (c Cell) KeyMonth() Month { return max(MonthOf(c.From), c.Base) }

// CellKey returns the AES-256 key of a cell's salts.
func (s *Secrets) CellKey(c Cell) [32]byte {
	key := s.PeriodKey(c.KeyMonth())
	if m := MonthOf(c.From); m < c.Base {
		key = periodStep(key, m)
	}
	b := make([]byte, 0, 256)
	b = append(b, "meterseal-salt/v1\n"...)
	b = append(b, c.Kind...)
	b = appendWord(b, c.Node)
	b = appendWord(b, c.Meter)
	b = appendInt(b, c.From)
	b = appendInt(b, c.To)
	if c.Kind != "usage" {
		b = appendUint(b, c.Close)
	}
	mac := hmac.New(sha256.New, key[:])
	mac.Write(b)
	return [32]byte(mac.Sum(nil))
}

// CellSalts returns the salts of a cell.
func (s *Secrets) CellSalts(c Cell) *Salts {
	key := s.CellKey(c)
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("ledger: AES-256 refuses its key: " + err.Error())
	}
	return &Salts{block: block}
}

// Salts gives the salts of a cell's events, in any order; it allocates at most
// once. It is not safe for concurrent use.
type Salts struct {
	block   cipher.Block
	in, out [aes.BlockSize]byte

	ahead []byte // salts of events from on, once a cell has many
	from  uint64
}

// From saltsAheadAfter events on, salts are made saltsAhead events at a time,
// which costs a fifth; a cell with few events does not pay for their memory.
const (
	saltsAheadAfter = 32
	saltsAhead      = 32
)

// Event writes the salt (16 bytes) and the private salt (16) of event i: the
// bytes 32i to 32i+31 of the AES-256-CTR key stream with zero IV.
func (s *Salts) Event(i uint64, dst *[2 * TagBytes]byte) {
	if i < saltsAheadAfter || i >= 1<<59 {
		s.one(i, dst)
		return
	}
	if s.ahead == nil || i-s.from >= saltsAhead {
		s.fill(i)
	}
	copy(dst[:], s.ahead[(i-s.from)*uint64(len(dst)):])
}

func (s *Salts) one(i uint64, dst *[2 * TagBytes]byte) {
	hi := i >> 63 // the counter is 128 bits; 2i needs 65
	for k := uint64(0); k < 2; k++ {
		binary.BigEndian.PutUint64(s.in[:8], hi)
		binary.BigEndian.PutUint64(s.in[8:], 2*i+k)
		s.block.Encrypt(s.out[:], s.in[:])
		copy(dst[16*k:], s.out[:])
	}
}

// fill makes the salts of events from i on.
func (s *Salts) fill(i uint64) {
	if s.ahead == nil {
		s.ahead = make([]byte, saltsAhead*2*TagBytes)
	}
	clear(s.in[:8])
	binary.BigEndian.PutUint64(s.in[8:], 2*i)
	clear(s.ahead)
	cipher.NewCTR(s.block, s.in[:]).XORKeyStream(s.ahead, s.ahead)
	s.from = i
}

// tagCacheMax is how many subjects a Tagger remembers, about 200 bytes each.
const tagCacheMax = 1 << 13

// A Tagger computes tags: what stands for a subject (a user) where its name may
// not be shown. Equal subjects have equal tags. It remembers the subjects that
// it saw last; it is not safe for concurrent use.
type Tagger struct {
	mac   hash.Hash
	sum   [sha256.Size]byte
	cache map[string][TagBytes]byte
}

// Tagger returns a new tagger.
func (s *Secrets) Tagger() *Tagger {
	return &Tagger{mac: hmac.New(sha256.New, s.Tag[:]), cache: map[string][TagBytes]byte{}}
}

// TagOf returns the tag of one subject: the first 16 bytes of
// HMAC-SHA-256(tag key, subject). For many of them make a Tagger.
func (s *Secrets) TagOf(subject string) [TagBytes]byte { return s.Tagger().Tag(subject) }

// Tag returns the tag of a subject.
func (t *Tagger) Tag(subject string) [TagBytes]byte {
	if tag, ok := t.cache[subject]; ok {
		return tag
	}
	t.mac.Reset()
	t.mac.Write([]byte(subject))
	tag := [TagBytes]byte(t.mac.Sum(t.sum[:0])[:TagBytes])
	if len(t.cache) >= tagCacheMax {
		clear(t.cache)
	}
	t.cache[string(append([]byte(nil), subject...))] = tag // the key must not alias an event's buffer
	return tag
}

// FormatTag spells a tag as in an event line.
func FormatTag(t [TagBytes]byte) string { return string(AppendB16(nil, t)) }

// String returns what names the cell, for messages.
func (c Cell) String() string {
	return c.Kind + " " + c.Node + " " + c.Meter + " " + strconv.FormatInt(c.From, 10)
}
