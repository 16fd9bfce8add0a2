package web

import (
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) activateRoutes() []Route {
	return []Route{
		my("GET", "/my/activate", s.activatePage),
		my("GET", "/my/activate/code", s.typedPage),
		my("POST", "/my/activate/start", s.startCode),
		my("POST", "/my/activate/code", s.activateByCode),
		my("POST", "/my/activate/check", s.checkRows),
		my("GET", "/my/deactivate", s.deactivatePage),
		my("GET", "/my/transfer", s.transferPage),
	}
}

// An activatable is a license with what it may do yet.
type activatable struct {
	*portal.License
	Left, Transfers string
	File, Codes     bool // may it be activated so
	Clusters        []*portal.Ledger
}

// activatables are the caller's licenses.
func (s *Server) activatables(r *http.Request) ([]activatable, error) {
	all, err := s.Portal.Licenses(r.Context(), gate.CallerOf(r.Context()).Customer)
	if err != nil {
		return nil, err
	}
	out := []activatable{}
	for _, lic := range all {
		a := activatable{License: lic, Left: activationsLeft(lic), Transfers: transfersLeft(lic)}
		live := lic.State == portal.Active
		a.File, a.Codes = live && lic.Terms.Offline(license.ActivateByFile), live && lic.Terms.Offline(license.ActivateByCode)
		if a.Clusters, err = s.Portal.Ledgers(r.Context(), lic.ID); err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// activatePage says in which ways a site is activated.
func (s *Server) activatePage(w http.ResponseWriter, r *http.Request) error {
	list, err := s.activatables(r)
	if err != nil {
		return err
	}
	return s.show(w, r, "myactivate", page{Title: "Activate a site", Nav: "activate", Data: list, API: "POST /api/v1/activations"})
}

// typedView is the page of typed codes.
type typedView struct {
	License  *portal.License
	Licenses []activatable // that allow codes
	Start    *portal.StartCode
	Rows     []codeRow
	Answer   *portal.CodeAnswer
	Rejoined []string // rows of the confirmation
	QR       template.URL
}

// A codeRow is one row of an activation code as it was typed.
type codeRow struct {
	Number int
	Text   string
	Wrong  string // what is wrong with it; empty: nothing, or nothing was typed
	Right  bool
}

// rowsOfCode puts the characters of a code, however they were typed, into the rows
// of an activation code: a paste of all of them into one row too.
func rowsOfCode(s string) []string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	n := export.KindActivate.Rows()
	if len(lines) != n {
		const groups = 5 // four of five characters, and two that check them
		words := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("- \t\r\n", r) })
		if len(words) != n*groups {
			return []string{strings.Join(words, "-")}
		}
		lines = lines[:0]
		for i := range n {
			lines = append(lines, strings.Join(words[i*groups:(i+1)*groups], "-"))
		}
	}
	return lines
}

// checkedRows says of each row what is wrong with it. An empty one is wrong only
// if all are asked for.
func checkedRows(typed []string, all bool) []codeRow {
	out := make([]codeRow, export.KindActivate.Rows())
	for i := range out {
		out[i].Number = i + 1
		if i < len(typed) {
			out[i].Text = strings.TrimSpace(typed[i])
		}
		if out[i].Text == "" && !all {
			continue
		}
		if err := export.KindActivate.CheckRow(i+1, out[i].Text); err != nil {
			out[i].Wrong = codeError(err).Message
		} else {
			out[i].Right = true
		}
	}
	return out
}

// codeError is what an error about a document or a code comes to; nil: it is none.
func codeError(err error) *portal.Error {
	var refusal *portal.Error
	var file *export.Error
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.As(err, &file):
		hint := file.Hint
		if hint == "" {
			hint = export.Hint(file.Code)
		}
		return &portal.Error{Code: file.Code, Status: http.StatusUnprocessableEntity, FixBy: file.FixBy(), Message: file.Error(), Hint: hint}
	}
	return nil
}

func codesPage(v typedView) page {
	return page{Title: "Activate by typed codes", Nav: "activate", Crumbs: []crumb{{"Activate", "/my/activate"}}, Data: v, API: "POST /api/v1/activations"}
}

// viewCodes is the page before anything was typed, for the license that the
// address or the form names.
func (s *Server) viewCodes(r *http.Request, licenseID string) (typedView, error) {
	v := typedView{Rows: checkedRows(nil, false)}
	all, err := s.activatables(r)
	if err != nil {
		return v, err
	}
	for _, a := range all {
		if a.Codes {
			v.Licenses = append(v.Licenses, a)
		}
	}
	if licenseID == "" && len(v.Licenses) == 1 {
		licenseID = v.Licenses[0].ID
	}
	if licenseID != "" {
		v.License, err = s.mine(r.Context(), licenseID)
	}
	return v, err
}

func (s *Server) typedPage(w http.ResponseWriter, r *http.Request) error {
	v, err := s.viewCodes(r, r.URL.Query().Get("license"))
	if err != nil {
		return err
	}
	return s.show(w, r, "mycode", codesPage(v))
}

// startCode makes the initialization code that the site is given.
func (s *Server) startCode(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	v, err := s.viewCodes(r, form.Get("license"))
	if err != nil {
		return err
	}
	if v.License == nil {
		return absent("license", form.Get("license"))
	}
	if v.Start, err = s.Portal.NewCode(r.Context(), v.License.ID, gate.CallerOf(r.Context()).Actor()); err != nil {
		return s.again(w, r, "mycode", codesPage(v), form, err)
	}
	if v.QR, err = qrImage(strings.TrimSpace(v.Start.Code)); err != nil {
		return err
	}
	return s.show(w, r, "mycode", codesPage(v))
}

// typedRows are the rows of the form, and the code that they are together.
func typedRows(form url.Values) []string {
	typed := make([]string, 0, export.KindActivate.Rows())
	for i := range export.KindActivate.Rows() {
		typed = append(typed, form.Get("row"+strconv.Itoa(i+1)))
	}
	if rest := strings.TrimSpace(strings.Join(typed[1:], "")); rest == "" && typed[0] != "" {
		return rowsOfCode(typed[0])
	}
	return typed
}

// activateByCode takes the code of the site, and shows the one that goes back.
func (s *Server) activateByCode(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	v, err := s.viewCodes(r, form.Get("license"))
	if err != nil {
		return err
	}
	if v.License == nil {
		return absent("license", form.Get("license"))
	}
	typed, c := typedRows(form), gate.CallerOf(r.Context())
	v.Rows = checkedRows(typed, true)
	v.Answer, err = s.Portal.ActivateByCode(r.Context(), v.License.ID, strings.Join(typed, "\n"), portal.AcceptOptions{Customer: c.Customer, User: c.Email, Actor: c.Actor()})
	if err != nil {
		if e := codeError(err); e != nil {
			err = e
		}
		return s.again(w, r, "mycode", codesPage(v), form, err)
	}
	p := codesPage(v)
	p.Title = "The site is activated"
	if v.Answer.Confirmation == "" {
		p.Title = "The activation waits for your vendor"
	} else {
		v.Rejoined = strings.Fields(v.Answer.Confirmation)
		if v.QR, err = qrImage(strings.Join(v.Rejoined, " ")); err != nil {
			return err
		}
	}
	p.Data = v
	return s.show(w, r, "mycode", p)
}

// checkRows tells the page's script which row is wrong, while it is typed.
func (s *Server) checkRows(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return answerJSON(w, nil, err)
	}
	type row struct {
		Row   string `json:"row"`
		Wrong string `json:"wrong,omitempty"`
		Right bool   `json:"right"`
	}
	rows := []row{}
	for _, x := range checkedRows(typedRows(form), false) {
		rows = append(rows, row{x.Text, x.Wrong, x.Right})
	}
	return answerJSON(w, rows, nil)
}

// deactivatePage says what a deactivation ends, and how it is done.
func (s *Server) deactivatePage(w http.ResponseWriter, r *http.Request) error {
	list, err := s.activatables(r)
	if err != nil {
		return err
	}
	return s.show(w, r, "mydeactivate", page{Title: "Deactivate a cluster", Nav: "activate", Crumbs: []crumb{{"Activate", "/my/activate"}}, Data: list, API: "POST /api/v1/reports"})
}

// transferPage says what is left to move a license to another site, and how.
func (s *Server) transferPage(w http.ResponseWriter, r *http.Request) error {
	list, err := s.activatables(r)
	if err != nil {
		return err
	}
	return s.show(w, r, "mytransfer", page{Title: "Move a license to another site", Nav: "activate", Crumbs: []crumb{{"Activate", "/my/activate"}}, Data: list, API: "POST /api/v1/reports"})
}
