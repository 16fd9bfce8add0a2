package ledger

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// A Checkpoint is the size and root of a ledger. Signed it is a note of exactly
// three lines, without extension lines. A size is signed once and the note is
// kept: two roots of one size are proof of a fork.
type Checkpoint struct {
	Origin string
	Size   uint64 // below 2^63
	Root   Hash
}

// Text returns the three lines: origin, size, root.
func (c Checkpoint) Text() string {
	return c.Origin + "\n" + strconv.FormatUint(c.Size, 10) + "\n" + c.Root.String() + "\n"
}

// String returns the text on one line, for messages.
func (c Checkpoint) String() string {
	return c.Origin + " " + strconv.FormatUint(c.Size, 10) + " " + c.Root.String()
}

// parseCheckpointText takes the one spelling of three lines.
func parseCheckpointText(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return Checkpoint{}, malformed("checkpoint of %d lines, not 3", len(lines)-1)
	}
	c := Checkpoint{Origin: lines[0]}
	if err := checkKeyName(c.Origin); err != nil {
		return Checkpoint{}, err
	}
	var err error
	if c.Size, err = ParseUint(lines[1]); err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint size: %w", err)
	}
	if c.Root, err = ParseHash(lines[2]); err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint root: %w", err)
	}
	if c.Size == 0 && c.Root != EmptyRoot {
		return Checkpoint{}, malformed("checkpoint of size 0 with a root")
	}
	if c.Text() != text {
		return Checkpoint{}, malformed("checkpoint is not its one spelling")
	}
	return c, nil
}

// A SignedCheckpoint is a checkpoint note.
type SignedCheckpoint struct {
	Checkpoint
	Note *Note // text and all signature lines, also those of unknown keys
}

// SignCheckpoint returns the checkpoint note, signed by each signer in order.
func SignCheckpoint(c Checkpoint, signers ...note.Signer) ([]byte, error) {
	if _, err := parseCheckpointText(c.Text()); err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	if len(signers) == 0 {
		return nil, fmt.Errorf("sign checkpoint of %q: no signer", c.Origin)
	}
	b, err := SignNote(c.Text(), signers...)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	if len(b) > CheckpointNoteBytesMax {
		return nil, malformed("checkpoint note of %d bytes, at most %d", len(b), CheckpointNoteBytesMax)
	}
	return b, nil
}

// ParseCheckpoint parses a checkpoint note and verifies it with each verifier:
// every one of them must have signed. Without verifiers it only parses, and the
// caller asks SignedCheckpoint.Note.Verify. Signature lines of other keys are
// kept and mean nothing.
//
// It takes three lines in their one spelling only: no extension line, no size
// 005, no root of another length or with stray padding bits. Errors wrap
// ErrMalformed or ErrSignature.
func ParseCheckpoint(b []byte, verifiers ...note.Verifier) (*SignedCheckpoint, error) {
	n, err := ParseNote(b, CheckpointNoteBytesMax)
	if err != nil {
		return nil, err
	}
	c, err := parseCheckpointText(n.Text)
	if err != nil {
		return nil, err
	}
	for _, v := range verifiers {
		if _, err := n.Verify(v); err != nil {
			return nil, err
		}
	}
	return &SignedCheckpoint{Checkpoint: c, Note: n}, nil
}
