package ledger

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// ErrSignature is returned when a note lacks the signature that was asked for,
// or has it but it does not verify: signature/invalid.
var ErrSignature = errors.New("signature invalid")

// A Note is a C2SP signed note in the strict form of this project: lines of
// ASCII 0x20 to 0x7E, one empty line, and 1 to SignaturesMax signature lines.
type Note struct {
	Text string // with the LF of its last line
	Sigs []Signature
}

// A Signature is one signature line.
type Signature struct {
	Name  string
	KeyID uint32
	Raw   []byte // after the key id
}

// signaturePrefix begins a signature line: em dash and space.
const signaturePrefix = "— "

// Field returns the base64 field of the line: key id and signature.
func (s Signature) Field() string { return base64.StdEncoding.EncodeToString(s.Bytes()) }

// Bytes returns the decoded field of the line: key id and signature.
func (s Signature) Bytes() []byte {
	return append(binary.BigEndian.AppendUint32(nil, s.KeyID), s.Raw...)
}

// Time returns when a cosignature was made, seconds since 1970 UTC: the first 8
// bytes of signatures of type 0x04 and 0x06.
func (s Signature) Time() (int64, error) {
	if len(s.Raw) <= 8 {
		return 0, malformed("cosignature of %d bytes", len(s.Raw))
	}
	t := binary.BigEndian.Uint64(s.Raw)
	if t>>63 != 0 {
		return 0, malformed("cosignature of the time %d", t)
	}
	return int64(t), nil
}

// ParseNote splits a note of at most max bytes. It takes the one spelling of a
// note, so Bytes gives the same bytes; it verifies nothing.
func ParseNote(b []byte, max int) (*Note, error) {
	if len(b) > max {
		return nil, malformed("note of %d bytes, at most %d", len(b), max)
	}
	text, sigs, ok := strings.Cut(string(b), "\n\n")
	if !ok || text == "" || !strings.HasSuffix(sigs, "\n") {
		return nil, malformed("note without text, empty line or signature")
	}
	n := &Note{Text: text + "\n"}
	if err := checkNoteText(n.Text); err != nil {
		return nil, err
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(sigs, "\n"), "\n") {
		if len(n.Sigs) == SignaturesMax {
			return nil, malformed("more than %d signature lines", SignaturesMax)
		}
		sig, err := parseSignature(line)
		if err != nil {
			return nil, err
		}
		n.Sigs = append(n.Sigs, sig)
	}
	return n, nil
}

func checkNoteText(text string) error {
	if text == "" || text[len(text)-1] != '\n' {
		return malformed("text of a note without line end")
	}
	for line := range strings.SplitSeq(text[:len(text)-1], "\n") {
		if len(line) == 0 || len(line) > LineBytesMax {
			return malformed("line of %d bytes in a note", len(line))
		}
		for i := range len(line) {
			if c := line[i]; c < 0x20 || c > 0x7e {
				return malformed("character %#02x in a note", c)
			}
		}
	}
	return nil
}

func parseSignature(line string) (Signature, error) {
	rest, ok := strings.CutPrefix(line, signaturePrefix)
	name, b64, _ := strings.Cut(rest, " ")
	raw, err := ParseBase64(b64)
	if !ok || len(line) > LineBytesMax || checkKeyName(name) != nil || err != nil || len(raw) < 5 {
		return Signature{}, malformed("%.300q is not a signature line", line)
	}
	return Signature{Name: name, KeyID: binary.BigEndian.Uint32(raw), Raw: raw[4:]}, nil
}

// Bytes returns the note.
func (n *Note) Bytes() []byte {
	b := append([]byte(n.Text), '\n')
	for _, s := range n.Sigs {
		b = append(append(b, signaturePrefix...), s.Name...)
		b = append(append(append(b, ' '), s.Field()...), '\n')
	}
	return b
}

// Verify returns the signature that v's key made. It wraps ErrSignature when
// there is none, when it does not verify, and when there are two: only one of
// them would be checked elsewhere.
func (n *Note) Verify(v note.Verifier) (Signature, error) {
	found := -1
	for i, s := range n.Sigs {
		if s.Name != v.Name() || s.KeyID != v.KeyHash() {
			continue
		}
		if found >= 0 {
			return Signature{}, fmt.Errorf("%w: two of %s", ErrSignature, v.Name())
		}
		found = i
	}
	if found < 0 {
		return Signature{}, fmt.Errorf("%w: none of %s+%08x", ErrSignature, v.Name(), v.KeyHash())
	}
	if !v.Verify([]byte(n.Text), n.Sigs[found].Raw) {
		return Signature{}, fmt.Errorf("%w: that of %s+%08x does not fit the text", ErrSignature, v.Name(), v.KeyHash())
	}
	return n.Sigs[found], nil
}

// SignNote signs text, which ends with LF, with each signer in order. It parses
// what comes out, so that nobody is handed a note that cannot be opened.
func SignNote(text string, signers ...note.Signer) ([]byte, error) {
	n := &Note{Text: text}
	if err := n.sign(signers); err != nil {
		return nil, err
	}
	b := n.Bytes()
	if _, err := ParseNote(b, NoteBytesMax); err != nil {
		return nil, fmt.Errorf("sign note: %w", err)
	}
	return b, nil
}

// CosignNote returns the note with the signatures of more signers after those
// that it has, which stay as they are.
func CosignNote(b []byte, signers ...note.Signer) ([]byte, error) {
	n, err := ParseNote(b, NoteBytesMax)
	if err != nil {
		return nil, err
	}
	if err := n.sign(signers); err != nil {
		return nil, err
	}
	out := n.Bytes()
	if _, err := ParseNote(out, NoteBytesMax); err != nil {
		return nil, fmt.Errorf("cosign note: %w", err)
	}
	return out, nil
}

func (n *Note) sign(signers []note.Signer) error {
	for _, s := range signers {
		raw, err := s.Sign([]byte(n.Text))
		if err != nil {
			return fmt.Errorf("sign note as %q: %w", s.Name(), err)
		}
		n.Sigs = append(n.Sigs, Signature{Name: s.Name(), KeyID: s.KeyHash(), Raw: raw})
	}
	return nil
}
