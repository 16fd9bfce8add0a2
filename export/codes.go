package export

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/meterseal/meterseal/ledger"
)

// Typed codes carry an activation where no medium may pass: the vendor shows an
// initialization code, the site answers with an activation code, the vendor
// with a confirmation code. People type them row by row. Each row is
//
//	XXXXX-XXXXX-XXXXX-XXXXX-CC
//
// 20 characters of Crockford's base32 and 2 that check them, so that a slip is
// found in its row. A slip passes that check once in a thousand; what the code
// is tied to, or its signature, refuses it then.

// CodeKind is which of the three codes a code is, as its check characters know it.
type CodeKind string

// The kinds.
const (
	KindInitialize CodeKind = "initialize" // vendor to site, 1 row
	KindActivate   CodeKind = "activate"   // site to vendor, 4 rows
	KindConfirm    CodeKind = "confirm"    // vendor to site, 6 rows
)

const (
	rowChars   = 20 // of a row, without those that check it
	checkChars = 2  // that check them
	groupChars = 5
	rowBits    = 5 * rowChars
)

// codeLayout is the first byte of each kind and its number of bytes, which fill
// the characters of its rows.
var codeLayout = map[CodeKind]struct {
	first byte
	bytes int
	name  string
}{
	KindInitialize: {0x10, 12, "initialization code"},
	KindActivate:   {0x11, 50, "activation code"},
	KindConfirm:    {0x12, 75, "confirmation code"},
}

// Rows returns how many rows a code of the kind has.
func (k CodeKind) Rows() int { return (codeLayout[k].bytes*8 + rowBits - 1) / rowBits }

// CheckRow checks one row as it is typed, numbered from 1. It ignores case,
// hyphens and spaces and takes I and L as 1 and O as 0. Errors are an [*Error]
// with the code format/mistyped, which name the row.
func (k CodeKind) CheckRow(number int, row string) error {
	_, err := k.row(number, codeText(row))
	return err
}

// row returns the 20 characters of a row that codeText has cleaned.
func (k CodeKind) row(number int, row string) (string, error) {
	for _, c := range row {
		if !strings.ContainsRune("0123456789ABCDEFGHJKMNPQRSTVWXYZ", c) {
			return "", refuse(CodeMistyped, "row %d: %q stands in no code", number, c)
		}
	}
	if len(row) != rowChars+checkChars {
		return "", refuse(CodeMistyped, "row %d: %d characters, %d are due", number, len(row), rowChars+checkChars)
	}
	chars, check := row[:rowChars], row[rowChars:]
	if check != k.check(number, chars) {
		return "", refuse(CodeMistyped, "row %d: a character is wrong or two are exchanged", number)
	}
	return chars, nil
}

// check returns the characters that check a row: the first 10 bits of a hash.
func (k CodeKind) check(number int, chars string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "meterseal-code/v1 %s %d %s", k, number, chars))
	return ledger.Base32(sum[:])[:checkChars]
}

// codeText returns what was typed as the alphabet has it, without what stands
// between groups and rows.
func codeText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune("- \t\r\n", r):
			return -1
		case r >= 'a' && r <= 'z':
			r -= 'a' - 'A'
		}
		switch r {
		case 'I', 'L':
			return '1'
		case 'O':
			return '0'
		}
		return r
	}, s)
}

// encode returns the rows of a payload, each with LF.
func (k CodeKind) encode(payload []byte) string {
	chars := ledger.Base32(payload)
	var out strings.Builder
	for n := range k.Rows() {
		row := chars[n*rowChars : (n+1)*rowChars]
		for i := 0; i < rowChars; i += groupChars {
			out.WriteString(row[i:i+groupChars] + "-")
		}
		out.WriteString(k.check(n+1, row) + "\n")
	}
	return out.String()
}

// decode returns the payload of a code as people type it: in rows, or in one.
func (k CodeKind) decode(s string) ([]byte, error) {
	layout, rows := codeLayout[k], strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	if len(rows) != k.Rows() { // rows run together or were broken: only their length can tell
		all := codeText(s)
		if len(all) != k.Rows()*(rowChars+checkChars) {
			return nil, k.wrongLength(len(all))
		}
		rows = rows[:0]
		for ; all != ""; all = all[rowChars+checkChars:] {
			rows = append(rows, all[:rowChars+checkChars])
		}
	}
	var chars string
	for i, row := range rows {
		row, err := k.row(i+1, codeText(row))
		if err != nil {
			return nil, err
		}
		chars += row
	}
	b, err := ledger.ParseBase32(chars, layout.bytes)
	if err != nil || b[0] != layout.first {
		return nil, refuse(CodeMistyped, "this is no %s of version 1", layout.name)
	}
	return b[1:], nil
}

// wrongLength says what is due, and which code it looks like.
func (k CodeKind) wrongLength(n int) error {
	looks := ""
	for _, other := range []CodeKind{KindInitialize, KindActivate, KindConfirm} {
		if other != k && n == other.Rows()*(rowChars+checkChars) {
			looks = "; this looks like the " + codeLayout[other].name
		}
	}
	return refuse(CodeMistyped, "%d characters, the %s has %d in %d rows of %d%s", n, codeLayout[k].name,
		k.Rows()*(rowChars+checkChars), k.Rows(), rowChars+checkChars, looks)
}

// An InitializationCode begins an activation: the vendor shows it once for one
// license.
type InitializationCode struct {
	Random [11]byte
}

// NewInitializationCode makes one with rand, crypto/rand.Reader.
func NewInitializationCode(rand io.Reader) (c InitializationCode, err error) {
	if _, err = io.ReadFull(rand, c.Random[:]); err != nil {
		err = fmt.Errorf("make initialization code: %w", err)
	}
	return c, err
}

// ParseInitializationCode reads what [InitializationCode.String] wrote, as people type it.
func ParseInitializationCode(s string) (c InitializationCode, err error) {
	b, err := KindInitialize.decode(s)
	copy(c.Random[:], b)
	return c, err
}

func (c InitializationCode) bytes() []byte {
	return append([]byte{codeLayout[KindInitialize].first}, c.Random[:]...)
}

// String returns the row, with LF.
func (c InitializationCode) String() string { return KindInitialize.encode(c.bytes()) }

// An ActivationCode is what a site answers: who it is, and what its ledger
// opened with. It carries no usage.
type ActivationCode struct {
	PublicKey [ed25519.PublicKeySize]byte // of the site
	Nonce     [8]byte                     // of the open record
	Time      int64                       // of the open record, seconds
	Tie       [5]byte                     // to the open record and the initialization code
}

// NewActivationCode returns the answer to an initialization code by a ledger that
// opened with this record, under the site key that it names. The record must
// have no attributes: the code has no room for them.
func NewActivationCode(open *ledger.Open, init InitializationCode) (ActivationCode, error) {
	k, err := ledger.ParseVKey(open.VKey)
	if err == nil {
		err = k.CheckRole(ledger.RoleSite)
	}
	if err != nil {
		return ActivationCode{}, fmt.Errorf("activation code: %w", err)
	}
	if len(open.Attrs) > 0 || open.Format != 1 || open.Time < 0 || open.Time > math.MaxUint32 {
		return ActivationCode{}, fmt.Errorf("activation code: a ledger that supersedes another, or of the time %d, activates by file", open.Time)
	}
	return ActivationCode{[ed25519.PublicKeySize]byte(k.Public), open.Nonce, open.Time, tie(open, init)}, nil
}

// tie is what binds an activation to one open record and one initialization code.
func tie(open *ledger.Open, init InitializationCode) (t [5]byte) {
	leaf := ledger.LeafHash([]byte(ledger.Line(open)))
	sum := sha256.Sum256(append(leaf[:], init.bytes()...))
	copy(t[:], sum[:])
	return t
}

// ParseActivationCode reads what [ActivationCode.String] wrote, as people type it.
func ParseActivationCode(s string) (c ActivationCode, err error) {
	b, err := KindActivate.decode(s)
	if err != nil {
		return c, err
	}
	copy(c.PublicKey[:], b[:32])
	copy(c.Nonce[:], b[32:40])
	c.Time = int64(binary.BigEndian.Uint32(b[40:44]))
	copy(c.Tie[:], b[44:])
	return c, nil
}

// String returns the four rows, each with LF.
func (c ActivationCode) String() string {
	b := append([]byte{codeLayout[KindActivate].first}, c.PublicKey[:]...)
	b = append(b, c.Nonce[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(c.Time))
	return KindActivate.encode(append(b, c.Tie[:]...))
}

// Open returns the open record of the site's ledger, from which the vendor has
// its origin, key and leaf. domain and license are those that the unbound
// license on site gives the origin.
func (c ActivationCode) Open(domain, license string) (*ledger.Open, error) {
	o := ledger.Origin{Domain: domain, License: license, Ledger: ledger.LedgerID(domain, license, c.PublicKey[:], c.Nonce)}
	if _, err := ledger.ParseOrigin(o.String()); err != nil {
		return nil, err
	}
	vkey := ledger.NewVKey(o.String(), ledger.KeyEd25519, c.PublicKey[:])
	return &ledger.Open{Format: 1, Time: c.Time, Origin: o.String(), VKey: vkey.String(), Nonce: c.Nonce}, nil
}

// Answers reports whether the code answers this initialization code, with the
// ledger that [ActivationCode.Open] gave.
func (c ActivationCode) Answers(open *ledger.Open, init InitializationCode) bool {
	return c.Tie == tie(open, init)
}

// A ConfirmationCode is what the vendor answers: what the site cannot know of the
// bound license, and the signature of its text.
type ConfirmationCode struct {
	Serial    uint16
	Issued    time.Time // whole seconds up to 2106
	End       time.Time // likewise; zero: never
	Signature [ed25519.SignatureSize]byte
}

// ParseConfirmationCode reads what [ConfirmationCode.String] wrote, as people type it.
func ParseConfirmationCode(s string) (c ConfirmationCode, err error) {
	b, err := KindConfirm.decode(s)
	if err != nil {
		return c, err
	}
	c.Serial = binary.BigEndian.Uint16(b)
	c.Issued = time.Unix(int64(binary.BigEndian.Uint32(b[2:])), 0).UTC()
	if end := binary.BigEndian.Uint32(b[6:]); end > 0 {
		c.End = time.Unix(int64(end), 0).UTC()
	}
	copy(c.Signature[:], b[10:])
	return c, nil
}

// Check reports what does not fit a code: a serial of 0, or instants that 32
// bits do not hold.
func (c ConfirmationCode) Check() error {
	holds := func(t time.Time) bool { return t.Unix() > 0 && t.Unix() <= math.MaxUint32 }
	if c.Serial == 0 || !holds(c.Issued) || !c.End.IsZero() && !holds(c.End) {
		return fmt.Errorf("confirmation code of serial %d, %v to %v: it activates by file", c.Serial, c.Issued, c.End)
	}
	return nil
}

// String returns the six rows, each with LF.
func (c ConfirmationCode) String() string {
	b := binary.BigEndian.AppendUint16([]byte{codeLayout[KindConfirm].first}, c.Serial)
	b = binary.BigEndian.AppendUint32(b, uint32(c.Issued.Unix()))
	end := uint32(0)
	if !c.End.IsZero() {
		end = uint32(c.End.Unix())
	}
	b = binary.BigEndian.AppendUint32(b, end)
	return KindConfirm.encode(append(b, c.Signature[:]...))
}
