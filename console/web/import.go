package web

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/export"
)

// importView is a document on its way into use.
type importView struct {
	File string
	Doc  string // base64, so that a form changes no byte of it
	Code bool   // it is a typed code
	Rows []codeRow
	What *console.Imported // nil: nothing was read yet
}

// A codeRow is one row of a typed code.
type codeRow struct {
	Number int
	Text   string
	Wrong  string // why it cannot be; empty: it can
}

func importPage(v importView) page {
	return page{Title: "Import", Nav: "reports", Crumbs: []crumb{{"Reports", "/reports"}}, Data: v, Command: "import FILE", API: "POST /v1/reply?dry_run=true"}
}

func (s *Server) importPage(w http.ResponseWriter, r *http.Request) error {
	return s.show(w, r, "import", importPage(importView{}))
}

// importDocument first says what would change, and does it when that is confirmed.
func (s *Server) importDocument(w http.ResponseWriter, r *http.Request) error {
	v, doc, err := readImport(r)
	if err != nil {
		return s.again(w, r, "import", importPage(v), nil, err)
	}
	sure := r.PostFormValue("sure") != ""
	path := fmt.Sprintf("/v1/reply?dry_run=%t&code=%t", !sure, v.Code)
	out, _, err := s.send(r, http.MethodPost, path, "text/plain", strings.NewReader(string(doc)))
	if err != nil {
		if v.Code {
			v.Rows = checkRows(string(doc), export.KindConfirm)
		}
		return s.again(w, r, "import", importPage(v), r.PostForm, err)
	}
	if sure {
		return done(w, r, "/license", "imported")
	}
	v.What = &console.Imported{}
	if err := decode(out, v.What); err != nil {
		return err
	}
	v.Doc = base64.StdEncoding.EncodeToString(doc)
	return s.show(w, r, "import", importPage(v))
}

// readImport returns the document of the form: a file, what was typed, or what was
// looked at before.
func readImport(r *http.Request) (v importView, doc []byte, err error) {
	if err := r.ParseMultipartForm(console.MaxBodyBytes); err != nil && !errors.Is(err, http.ErrNotMultipart) {
		return v, nil, &Problem{Status: http.StatusBadRequest, Code: "malformed", Message: "the form cannot be read: " + err.Error(), Hint: "open the page again"}
	}
	v.Code = r.PostFormValue("code") == "true"
	if kept := r.PostFormValue("doc"); kept != "" {
		doc, err = base64.StdEncoding.DecodeString(kept)
		return v, doc, err
	}
	if f, head, err := r.FormFile("file"); err == nil {
		defer f.Close()
		v.File = head.Filename
		doc, err := io.ReadAll(f)
		return v, doc, err
	}
	typed := strings.TrimSpace(strings.ReplaceAll(r.PostFormValue("typed"), "\r\n", "\n"))
	switch {
	case typed == "":
		return v, nil, &Problem{Status: http.StatusBadRequest, Code: "malformed", Message: "nothing was chosen or typed", Hint: "choose the reply, or type the rows of the code"}
	case export.IsParts([]byte(typed)):
		doc, err = export.JoinParts(strings.Fields(typed))
		if err != nil {
			err = documentProblem(err)
		}
		return v, doc, err
	case strings.HasPrefix(typed, "ms1."), strings.HasPrefix(typed, "meterseal-"):
		return v, []byte(typed + "\n"), nil
	}
	v.Code = true
	return v, []byte(typed + "\n"), nil
}

// checkRows says of each row of a typed code whether it can be right.
func checkRows(code string, kind export.CodeKind) (rows []codeRow) {
	for i, text := range strings.Split(strings.TrimSpace(code), "\n") {
		row := codeRow{Number: i + 1, Text: strings.TrimSpace(text)}
		if i >= kind.Rows() {
			row.Wrong = fmt.Sprintf("the code has %d rows", kind.Rows())
		} else if err := kind.CheckRow(i+1, row.Text); err != nil {
			row.Wrong = err.Error()
		}
		rows = append(rows, row)
	}
	return rows
}

func decode(b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("web: %w", err)
	}
	return nil
}
