package export

import (
	"encoding/json"
	"io"
)

// WriteJSON writes report as one indented JSON object, the fields of [Report]
// in their order. docs/reference/report-json.md documents each; later versions
// only add fields.
func WriteJSON(w io.Writer, report *Report) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(report)
}
