package httpapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// ReadBody returns the body of r, unpacked, of at most sizeMax bytes; what came is
// bounded by the caller's http.MaxBytesReader. What is beyond the cap is an error
// with the beginning of it: an [*Error], or an *http.MaxBytesError.
func ReadBody(r *http.Request, sizeMax int) ([]byte, error) {
	encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))
	switch encoding {
	case "", "identity", "gzip", "zstd":
	default:
		return nil, &Error{Status: http.StatusUnsupportedMediaType,
			Message: "Content-Encoding " + Shown(encoding) + " is not read", Hint: "send gzip, zstd or plain"}
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return data, unreadable(err)
	}
	if encoding == "gzip" || encoding == "zstd" {
		return unpack(encoding, data, sizeMax)
	}
	return data, nil
}

// unpacking bounds the memory for windows, 8 MiB each as RFC 9659 has it: a frame
// of a few bytes asks for one. Nobody holds a place while he is slow to send,
// since a body is unpacked when all of it is here.
var unpacking = make(chan struct{}, 4)

func unpack(encoding string, packed []byte, sizeMax int) ([]byte, error) {
	unpacking <- struct{}{}
	defer func() { <-unpacking }()
	var body io.Reader
	if encoding == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, unreadable(err)
		}
		body = z
	} else {
		z, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return nil, unreadable(err)
		}
		defer z.Close()
		body = z
	}
	data, err := io.ReadAll(io.LimitReader(body, int64(sizeMax)+1))
	switch {
	case len(data) > sizeMax: // whatever comes behind it
		return data[:sizeMax], &Error{Status: http.StatusRequestEntityTooLarge, Message: "the body is too large, unpacked", Hint: "send less at a time"}
	case err != nil:
		return data, unreadable(err)
	}
	return data, nil
}

// unreadable says that the body cannot be read, unless it is too large, or came
// too slowly: then the same may be sent again.
func unreadable(err error) error {
	var size *http.MaxBytesError
	switch {
	case errors.As(err, &size):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{Status: http.StatusRequestTimeout, Message: "the body did not come in time", Hint: "send it again"}
	}
	return &Error{Status: http.StatusBadRequest, Message: "read body: " + err.Error(), Hint: "check Content-Encoding, and that nothing was cut off"}
}

// Write answers with v as JSON.
func Write(w http.ResponseWriter, status int, contentType string, v any) error {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
