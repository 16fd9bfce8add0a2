package api

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// uploadHeader is the name that a client gives an upload, to ask how far it is.
const uploadHeader = "Upload-Id"

// A stream is a file that is being sent. It is read once, from the line.
type stream struct {
	io.Reader
	err  error     // what the line gave, but for its end
	read func(int) // is told of what came; nil: nobody
}

// upload returns the file that r brings, as the body or in a form.
func upload(r *http.Request, q values) (*stream, portal.AcceptOptions, error) {
	c := gate.CallerOf(r.Context())
	o := portal.AcceptOptions{Ledger: q.Text["cluster"], Customer: q.Text["customer"], User: c.Email, Actor: c.Actor()}
	if customer := own(r.Context()); customer != "" {
		o.Customer = customer
	}
	body, err := decoded(r)
	if err != nil {
		return nil, o, err
	}
	file := &stream{Reader: body}
	if t, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); t == "multipart/form-data" {
		if file.Reader, err = fileOf(multipart.NewReader(body, params["boundary"]), &o); err != nil {
			return nil, o, err
		}
	}
	in := bufio.NewReaderSize(file.Reader, 64<<10)
	file.Reader = in
	if head, _ := in.Peek(8); export.IsParts(head) { // too short: the portal says so
		report, err := export.ReadParts(in)
		if err != nil {
			return nil, o, err
		}
		file.Reader = bytes.NewReader(report)
	}
	return file, o, nil
}

// fieldBytesMax bounds a field of a form that is no file.
const fieldBytesMax = 1 << 10

// fileOf returns the field file of a form, of which the fields before it are
// read.
func fileOf(form *multipart.Reader, o *portal.AcceptOptions) (io.Reader, error) {
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return nil, httpapi.BadRequest("body.file", "is missing", "send the report in the field file")
		}
		if err != nil {
			return nil, unreadable(err)
		}
		switch part.FormName() {
		case "file":
			return part, nil
		case "cluster":
			b, err := io.ReadAll(io.LimitReader(part, fieldBytesMax))
			if err != nil {
				return nil, unreadable(err)
			}
			o.Ledger = string(b)
		default:
			return nil, httpapi.BadRequest("body."+part.FormName(), "is not known", "send the fields cluster and file, in this order")
		}
	}
}

func (s *stream) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if s.read != nil {
		s.read(n)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// fault says whose fault it is that a file was not taken in: the line's, or ours.
func (s *stream) fault(err error) error {
	if s.err != nil {
		return unreadable(s.err)
	}
	return err
}

func unreadable(err error) error {
	var size *http.MaxBytesError
	var refusal *portal.Error
	switch {
	case errors.As(err, &size), errors.As(err, &refusal):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &httpapi.Error{Status: http.StatusRequestTimeout, Message: "the body did not come in time", Hint: "send it again: nothing was booked"}
	}
	return &httpapi.Error{Status: http.StatusBadRequest, Message: "read body: " + err.Error(), Hint: "send it again, whole: nothing was booked"}
}

// decoded returns the body of r without its Content-Encoding.
func decoded(r *http.Request) (io.Reader, error) {
	encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))
	in := &counted{Reader: r.Body}
	var out io.Reader
	switch encoding {
	case "", "identity":
		return r.Body, nil
	case "gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, unreadable(err)
		}
		out = z
	case "zstd":
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(export.WindowBytesMax))
		if err != nil {
			return nil, unreadable(err)
		}
		out = z.IOReadCloser()
	default:
		return nil, &httpapi.Error{Status: http.StatusUnsupportedMediaType, Message: "Content-Encoding " + httpapi.Shown(encoding) + " is not read",
			Hint: "send gzip, zstd or plain"}
	}
	return &unpacked{in: in, out: out}, nil
}

type counted struct {
	io.Reader
	n int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	return n, err
}

// unpacked is what a decoder gives, as long as it is not out of proportion to what
// it was given: a bomb is not written to the disk first.
type unpacked struct {
	in  *counted
	out io.Reader
	n   int64
}

// unpackedFree is what may come out of a body of a few bytes.
const unpackedFree = 1 << 20

func (u *unpacked) Read(b []byte) (int, error) {
	n, err := u.out.Read(b)
	if u.n += int64(n); u.n > unpackedFree+u.in.n*export.RatioMaxDefault {
		return 0, &portal.Error{Code: export.CodeSizeRatio, Status: http.StatusRequestEntityTooLarge, FixBy: export.FixBy(export.CodeSizeRatio),
			Message: "the body unpacks to more than " + "200 times its size", Hint: export.Hint(export.CodeSizeRatio)}
	}
	return n, err
}
