package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// ReadStrict reads one JSON object into v, which points to a struct, for requests
// that are not events. As with events, what could be meant in two ways is refused:
// a field that v does not have, one that stands twice, also in other case, for
// encoding/json takes the last of them, and what follows the object.
//
// The *Error is malformed, with the field at fault if it is known. nil: v is read.
func ReadStrict(data []byte, v any) *Error {
	const hint = "send one JSON object"
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return onceEach(data)
		}
		return malformed("json", "", hint, "something follows the JSON object")
	}
	message := strings.TrimPrefix(err.Error(), "json: ")
	if name, ok := strings.CutPrefix(message, "unknown field "); ok {
		name = strings.Trim(name, `"`)
		return malformed("unknown_field", name, "leave it out", "field %s is not known", shown(name))
	}
	return malformed("json", "", hint, "%s", message)
}

// onceEach refuses JSON in which a name stands twice within an object. The fields of
// the outer one are read in any case.
func onceEach(data []byte) *Error {
	s := scanner{b: data}
	if err := s.skip(0, MaxDataDepth); err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return nil //nolint:nilerr // no object, which the decoder says better
	}
	read := make(map[string]bool, len(fields))
	for name := range fields {
		folded := strings.ToLower(strings.ToUpper(name))
		if read[folded] {
			return doubled(folded)
		}
		read[folded] = true
	}
	return nil
}
