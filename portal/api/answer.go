package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/portal"
)

// bodyBytesMax bounds a body, as sent and as unpacked. Reports have a bound of
// their own.
const bodyBytesMax = 1 << 20

// answer writes v as JSON with its ETag; whoever has that already gets 304.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, v any) error {
	return s.answerTagged(w, r, http.StatusOK, "", v)
}

// answerTagged is answer for what can be edited: tag is its portal.Tag, which
// If-Match compares.
func (s *Server) answerTagged(w http.ResponseWriter, r *http.Request, status int, tag string, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	if tag != "" {
		tag += "."
	}
	sum := sha256.Sum256(b.Bytes())
	etag := `"` + tag + hex.EncodeToString(sum[:8]) + `"`
	h := w.Header()
	h.Set("ETag", etag)
	if (r.Method == http.MethodGet || r.Method == http.MethodHead) && matches(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", httpapi.JSONType)
	w.WriteHeader(status)
	if _, err := b.WriteTo(w); err != nil {
		s.Log.Debug("answer not written", "err", err)
	}
	return nil
}

// matches tells whether a list of entity tags names one.
func matches(header, etag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		if one = strings.TrimPrefix(strings.TrimSpace(one), "W/"); one == etag || one == "*" {
			return true
		}
	}
	return false
}

// ok is the answer 200 as JSON.
func ok(doc string, of any) []content {
	return []content{{Status: http.StatusOK, MediaType: httpapi.JSONType, Doc: doc, Of: of}, {Status: http.StatusNotModified, Doc: "As If-None-Match has it"}}
}

// done is the answer 200 of a change.
func done(doc string, of any) []content {
	return []content{{Status: http.StatusOK, MediaType: httpapi.JSONType, Doc: doc, Of: of}}
}

// made is the answer 201.
func made(doc string, of any) []content {
	return []content{{Status: http.StatusCreated, MediaType: httpapi.JSONType, Doc: doc, Of: of}}
}

// text is the answer 200 as a text or file.
func text(mediaType, doc string) []content {
	return []content{{Status: http.StatusOK, MediaType: mediaType, Doc: doc}}
}

// takes is a body as JSON.
func takes(of any) []content { return []content{{MediaType: httpapi.JSONType, Of: of}} }

// id is a segment of the path.
func id(doc string) param { return param{Name: "id", In: "path", Doc: doc} }

// send answers with a file.
func send(w http.ResponseWriter, mediaType, name string, body []byte) error {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	_, err := w.Write(body)
	if err != nil {
		return nil //nolint:nilerr // nobody is there to be told
	}
	return nil
}

// readJSON reads the body of r strictly into v: what is not known is refused, so
// that a misspelled field is not taken for a wish to leave things as they are.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	data, err := readBody(w, r)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(data)) == 0 {
		data = []byte("{}")
	} else if t, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); t != httpapi.JSONType {
		return httpapi.BadRequest("body", "the body is "+httpapi.Shown(t), "send "+httpapi.JSONType)
	}
	const hint = "GET /openapi.json describes the body"
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err = d.Decode(v)
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &typ) && typ.Field != "":
		return httpapi.BadRequest("body."+typ.Field, typ.Value+" is no "+typ.Type.String(), hint)
	case err != nil:
		return httpapi.BadRequest("body", strings.TrimPrefix(err.Error(), "json: "), hint)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return httpapi.BadRequest("body", "something follows the JSON value", "send one value")
	}
	return nil
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	r.Body = http.MaxBytesReader(w, r.Body, bodyBytesMax)
	return httpapi.ReadBody(r, bodyBytesMax)
}

// limitMax is the longest page of a list.
const limitMax = 500

// lists are the parameters of a list, and those of its own.
func lists(more ...param) []param {
	return append([]param{
		{Name: "search", Doc: "part of an id or a name, whatever the case"},
		{Name: "limit", Kind: httpapi.Count, Max: limitMax, Doc: "items of a page; 50 if not given"},
		{Name: "cursor", Doc: "next_cursor of the page before"},
	}, more...)
}

// options are those of a list. What belongs to others is not in it.
func options(r *http.Request, q values) portal.ListOptions {
	o := portal.ListOptions{Search: q.Text["search"], State: q.Text["state"], Customer: q.Text["customer"], Product: q.Text["product"], License: q.Text["license"],
		Code: q.Text["code"], Cursor: q.Text["cursor"], Limit: int(q.N["limit"])}
	if c := own(r.Context()); c != "" {
		o.Customer = c
	}
	return o
}
