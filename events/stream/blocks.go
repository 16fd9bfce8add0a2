package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// A record of a block file of nats-server begins with its length (4 bytes, the
// highest bit says that it has headers), its sequence (8, two bits are marks) and
// more that is of no interest here.
const (
	blockHeader  = 22
	blockLength  = 1<<31 - 1
	blockErased  = 1 << 63
	blockRemoved = 1 << 62
	// maxHole is how many sequences may be missing at one place of a block. Nothing
	// is ever deleted but from the beginning.
	maxHole = 1 << 20
)

// checkBlocks looks for what the embedded server could not survive reading: where
// a bit of a sequence was flipped, it notes every number up to there as deleted,
// one by one, until memory ends. It reads the head of each record alone, and leaves
// everything else to the server and to [Verify].
//
// Errors: [ErrDamaged].
func checkBlocks(dir string) error {
	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "*", "msgs", "*.blk"))
	if err != nil {
		return fmt.Errorf("find the blocks of %s: %w", dir, err)
	}
	slices.Sort(blocks)
	for _, path := range blocks {
		if err := checkBlock(path); err != nil {
			return err
		}
	}
	return nil
}

func checkBlock(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoPermission, err)
	}
	defer f.Close()
	var head [blockHeader]byte
	last := uint64(0)
	for at := int64(0); ; {
		switch _, err := f.ReadAt(head[:], at); {
		case errors.Is(err, io.EOF):
			return nil // the server cuts what is left of a record
		case err != nil:
			return fmt.Errorf("%w: read %s: %w", ErrDamaged, path, err)
		}
		length := int64(binary.LittleEndian.Uint32(head[:]) & blockLength)
		if length < blockHeader {
			return nil // the server finds that by itself
		}
		if seq := binary.LittleEndian.Uint64(head[4:]); seq&blockRemoved == 0 {
			if seq &^= blockErased; last > 0 && seq > last && seq-last > maxHole {
				return fmt.Errorf("%w: %s has a record %d after %d, at byte %d", ErrDamaged, path, seq, last, at)
			}
			last = max(last, seq&^blockErased)
		}
		at += length
	}
}
