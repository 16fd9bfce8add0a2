package web

import (
	"bytes"
	"context"
	"encoding/base64"
	"html/template"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/portal"
)

const plainText = "text/plain; charset=utf-8"

// attach sends bytes as a file to keep.
func attach(w http.ResponseWriter, name, kind string, b []byte) error {
	attachHead(w, name, kind, int64(len(b)))
	_, _ = w.Write(b) // who does not get it has gone
	return nil
}

// attachHead says that a file to keep follows.
func attachHead(w http.ResponseWriter, name, kind string, size int64) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": fileName(name)}))
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	h.Set("Cache-Control", "no-store")
}

// fileName keeps what every system takes in the name of a file.
func fileName(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || strings.ContainsRune(`"\/:*?<>|`, r) {
			return '-'
		}
		return r
	}, s)
}

// attachReport sends a report as it came.
func (s *Server) attachReport(ctx context.Context, w http.ResponseWriter, id string) error {
	f, err := s.Portal.ReportFile(ctx, id)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	attachHead(w, id+".usage", "application/octet-stream", info.Size())
	if _, err := io.Copy(w, f); err != nil {
		panic(http.ErrAbortHandler) // half a file must not look like one
	}
	return nil
}

// attachReply sends the reply to a report as it is now.
func attachReply(w http.ResponseWriter, a *portal.Answer) error {
	if len(a.Reply) == 0 {
		return &portal.Error{Code: portal.CodeNotFound, Status: http.StatusNotFound, Message: "report " + a.ReportID + " has no reply", Hint: "only a report that can be tied to a ledger gets one"}
	}
	return attach(w, a.ReplyName, plainText, a.Reply)
}

// A qrPart is a picture of a part of a document.
type qrPart struct {
	No   int
	Text string
	PNG  template.URL
}

// qrParts draws a document as QR codes.
func qrParts(doc []byte) ([]qrPart, error) {
	texts, err := export.SplitParts(doc)
	if err != nil {
		return nil, err
	}
	parts := make([]qrPart, len(texts))
	for i, text := range texts {
		parts[i] = qrPart{No: i + 1, Text: text}
		if parts[i].PNG, err = qrImage(text); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// partPixels is the width of a module of a QR code, before the page scales it.
const partPixels = 4

// qrImage is a QR code as the address of an image that holds it.
func qrImage(text string) (template.URL, error) {
	var b bytes.Buffer
	if err := export.WriteQRPNG(&b, text, partPixels); err != nil {
		return "", err
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}
