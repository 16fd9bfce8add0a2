package export

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/fips140"
	"errors"
	"io"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

const (
	// RatioMaxDefault bounds how many bytes of text one byte of compressed
	// file may give.
	RatioMaxDefault int64 = 200
	// WindowBytesMax bounds the window of a zstd frame.
	WindowBytesMax = 8 << 20

	writeWindowBytes = 1 << 20 // of the frames that we write, so that reading them takes little memory
	ageMagic         = "age-encryption.org/v1\n"
	zstdMagic        = "\x28\xb5\x2f\xfd"
	gzipMagic        = "\x1f\x8b"
)

// ErrNoEncryption is returned where FIPS mode forbids what age is made of;
// nothing was written. Export without recipients, or without GODEBUG=fips140=only.
var ErrNoEncryption = errors.New("encryption is not available in FIPS mode: age uses algorithms outside it")

// WrapOptions says how the text of a report is wrapped once its reader has
// agreed to it. The zero value leaves it as it is.
type WrapOptions struct {
	// Zstd compresses the text into one zstd frame.
	Zstd bool
	// Recipients are those who can decrypt the file; none: not encrypted.
	Recipients []age.Recipient
}

// Suffix returns what the name of a file wrapped so ends in, after ".usage".
func (o WrapOptions) Suffix() string {
	s := ""
	if o.Zstd {
		s += ".zst"
	}
	if len(o.Recipients) > 0 {
		s += ".age"
	}
	return s
}

// ParseRecipients parses the values of a license's seal-to lines, age1… each.
func ParseRecipients(lines []string) ([]age.Recipient, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	return age.ParseRecipients(strings.NewReader(strings.Join(lines, "\n")))
}

// An Identity opens what is encrypted for its recipient.
type Identity = age.Identity

// PassphraseRecipient is whoever knows a passphrase, which scrypt makes expensive to
// guess. It is for one file of keys, not for reports: nobody else may be a recipient
// beside it.
func PassphraseRecipient(passphrase string) (age.Recipient, error) {
	return age.NewScryptRecipient(passphrase)
}

// PassphraseIdentity opens what was encrypted for [PassphraseRecipient].
func PassphraseIdentity(passphrase string) (Identity, error) {
	return age.NewScryptIdentity(passphrase)
}

// ParseIdentities parses the private halves of recipients, as age-keygen writes them.
func ParseIdentities(r io.Reader) ([]Identity, error) { return age.ParseIdentities(r) }

// Wrap returns a writer of text whose wrapped form goes to w. Close completes
// it and leaves w open. It fails with [ErrNoEncryption] where FIPS mode is
// enforced and there are recipients.
func Wrap(w io.Writer, o WrapOptions) (io.WriteCloser, error) {
	out := wrapped{Writer: w}
	if len(o.Recipients) > 0 {
		if fips140.Enforced() {
			return nil, ErrNoEncryption
		}
		a, err := age.Encrypt(w, o.Recipients...)
		if err != nil {
			return nil, err
		}
		out.Writer, out.closers = a, append(out.closers, a)
	}
	if o.Zstd {
		z, err := zstd.NewWriter(out.Writer, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(writeWindowBytes))
		if err != nil {
			return nil, err
		}
		out.Writer, out.closers = z, append(out.closers, z)
	}
	return &out, nil
}

// wrapped closes its layers from the inside out.
type wrapped struct {
	io.Writer
	closers []io.Closer
}

func (w *wrapped) Close() error {
	for i := len(w.closers) - 1; i >= 0; i-- {
		if err := w.closers[i].Close(); err != nil {
			return err
		}
	}
	w.closers = nil
	return nil
}

// UnwrapOptions bounds what a wrapped file may unpack to.
type UnwrapOptions struct {
	// RatioMax bounds text bytes per compressed byte; 0: RatioMaxDefault.
	RatioMax int64
	// Identities open an encrypted file; none: it is refused.
	Identities []age.Identity
}

// Unwrap returns a reader of the text within r, and how it was wrapped, from
// the outside in ("age", "zstd"): at most one encryption, then at most one
// compression, recognised by their first bytes. What is neither is given as it
// is. Beyond the ratio it stops with the code size/ratio; the cap in bytes is
// that of [VerifyReport].
func Unwrap(r io.Reader, o UnwrapOptions) (io.Reader, []string, error) {
	var layers []string
	raw := bufio.NewReaderSize(r, 32<<10)
	if head, _ := raw.Peek(len(ageMagic)); string(head) == ageMagic {
		text, err := decrypt(raw, o.Identities)
		if err != nil {
			return nil, nil, err
		}
		layers = append(layers, "age")
		raw = bufio.NewReaderSize(text, 32<<10)
	}
	head, err := raw.Peek(4)
	if err != nil && err != io.EOF {
		return nil, nil, asDamage(err)
	}
	ratio := o.RatioMax
	if ratio <= 0 {
		ratio = RatioMaxDefault
	}
	switch {
	case string(head) == zstdMagic:
		text, err := unzstd(raw, ratio)
		return text, append(layers, "zstd"), err
	case bytes.HasPrefix(head, []byte(gzipMagic)):
		text, err := gunzip(raw, ratio)
		return text, append(layers, "gzip"), err
	}
	if len(layers) > 0 {
		return &damageReader{raw}, layers, nil
	}
	return raw, layers, nil
}

func decrypt(r io.Reader, identities []age.Identity) (io.Reader, error) {
	if fips140.Enforced() {
		return nil, refuse(CodeEncryptionNeeded, "the file is encrypted, and FIPS mode forbids decrypting it").because(ErrNoEncryption)
	}
	if len(identities) == 0 {
		return nil, refuse(CodeEncryptionNeeded, "the file is encrypted with age")
	}
	text, err := age.Decrypt(r, identities...)
	if err != nil {
		return nil, refuse(CodeEncryptionNeeded, "the file cannot be decrypted: %v", err).because(err)
	}
	return text, nil
}

func unzstd(raw *bufio.Reader, ratio int64) (io.Reader, error) {
	in := &counter{r: &frameReader{r: raw}}
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(WindowBytesMax))
	if err != nil {
		return nil, asDamage(err)
	}
	return &ratioReader{r: z, in: in, ratio: ratio}, nil
}

func gunzip(raw *bufio.Reader, ratio int64) (io.Reader, error) {
	in := &counter{r: raw}
	b := bufio.NewReaderSize(in, 4<<10)
	g, err := gzip.NewReader(b)
	if err != nil {
		return nil, asDamage(err)
	}
	g.Multistream(false)
	return &ratioReader{r: &oneMember{g, b}, in: in, ratio: ratio}, nil
}

// oneMember ends a gzip stream after its first member, and refuses more.
type oneMember struct {
	g    *gzip.Reader
	rest *bufio.Reader
}

func (m *oneMember) Read(p []byte) (int, error) {
	n, err := m.g.Read(p)
	if err == io.EOF {
		if _, more := m.rest.ReadByte(); more != io.EOF {
			return n, refuse(CodeMalformed, "bytes after the gzip member")
		}
	}
	return n, err
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// ratioReader stops a decompression that gives too much for what it was given.
type ratioReader struct {
	r     io.Reader
	in    *counter
	out   int64
	ratio int64
}

func (r *ratioReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.out += int64(n)
	if r.out/r.ratio > r.in.n {
		return 0, refuse(CodeSizeRatio, "the file unpacks to more than %d times its size", r.ratio)
	}
	if err != nil && err != io.EOF {
		err = asDamage(err)
	}
	return n, err
}

// damageReader calls every error below it damage of the file.
type damageReader struct{ r io.Reader }

func (d *damageReader) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && err != io.EOF {
		err = asDamage(err)
	}
	return n, err
}

// asDamage says of an error within a wrapping that the file is damaged, unless
// it already has a code.
func asDamage(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return refuse(CodeSizeTooLarge, "the zstd window is above %d bytes", WindowBytesMax).because(err)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse(CodeTruncated, "the compressed or encrypted file is cut").because(err)
	}
	return refuse(CodeMalformed, "the compressed or encrypted file is damaged: %v", err).because(err)
}
