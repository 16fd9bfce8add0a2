package export

import (
	"bufio"
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/zstd"
)

// A frameReader passes on exactly one zstd frame (RFC 8878 section 3.1.1) and
// refuses what follows it, a skippable frame, a dictionary, and a window above
// WindowBytesMax. The decoder alone would read frame after frame.
type frameReader struct {
	r        *bufio.Reader
	started  bool
	checksum bool
	last     bool   // the block that is being passed on is the last one
	header   []byte // bytes to give out before the block
	block    int    // bytes of the block still to be given out
	done     bool
}

func (f *frameReader) Read(p []byte) (int, error) {
	if !f.started {
		if err := f.start(); err != nil {
			return 0, err
		}
	}
	for len(f.header) == 0 && f.block == 0 {
		if err := f.advance(); err != nil {
			return 0, err
		}
	}
	if len(f.header) > 0 {
		n := copy(p, f.header)
		f.header = f.header[n:]
		return n, nil
	}
	n, err := f.r.Read(p[:min(len(p), f.block)])
	f.block -= n
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// start reads the frame header.
func (f *frameReader) start() error {
	f.started = true
	var h zstd.Header
	peek, err := f.r.Peek(zstd.HeaderMaxSize)
	if err != nil && err != io.EOF {
		return err
	}
	if err := h.Decode(peek); err != nil {
		return err
	}
	switch {
	case h.Skippable:
		return refuse(CodeMalformed, "a skippable zstd frame")
	case h.DictionaryID != 0:
		return refuse(CodeMalformed, "the zstd frame needs dictionary %d", h.DictionaryID)
	case h.WindowSize > WindowBytesMax:
		return refuse(CodeSizeTooLarge, "the zstd window is above %d bytes", WindowBytesMax)
	}
	f.checksum = h.HasCheckSum
	f.header = make([]byte, h.HeaderSize)
	_, err = io.ReadFull(f.r, f.header)
	return err
}

// advance goes to the next block, or past the last one.
func (f *frameReader) advance() error {
	if f.done {
		if _, err := f.r.ReadByte(); err != io.EOF {
			return refuse(CodeMalformed, "bytes after the zstd frame")
		}
		return io.EOF
	}
	if f.last {
		f.done = true
		if f.checksum {
			f.block = 4
		}
		return nil
	}
	b := make([]byte, 3)
	if _, err := io.ReadFull(f.r, b); err != nil {
		return io.ErrUnexpectedEOF
	}
	h := uint32(b[0]) | uint32(binary.LittleEndian.Uint16(b[1:]))<<8
	f.header, f.last, f.block = b, h&1 == 1, int(h>>3)
	if h>>1&3 == 1 { // a run of one byte
		f.block = 1
	}
	return nil
}
