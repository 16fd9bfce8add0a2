package web

import (
	"net/http"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/access"
)

func (s *Server) licenseRoutes() []Route {
	return []Route{
		{"GET", "/license", access.Read, s.licensePage},
		{"POST", "/license/activation", access.Import, s.activationCode},
		{"POST", "/license/rotate", access.Admin, s.rotateKey},
		{"POST", "/license/deactivate", access.Admin, s.deactivate},
	}
}

// licenseView is the license with its use.
type licenseView struct {
	License *console.LicenseDetail // nil: this site evaluates
	Events  []console.LicenseEvent // the newest first
	Status  console.Status
	Answer  []string // rows of the activation code
	Rows    []codeRow
}

func licensed(v licenseView) page {
	return page{Title: "License", Nav: "license", Data: v, Command: "license show", API: "GET /v1/license"}
}

func (s *Server) viewLicense(r *http.Request) (v licenseView, err error) {
	if err := s.get(r, "/v1/status", &v.Status); err != nil {
		return v, err
	}
	var d console.LicenseDetail
	if err := s.get(r, "/v1/license", &d); err != nil {
		return v, s.maybe(err)
	}
	if d.ID == "" {
		return v, nil
	}
	v.License = &d
	var history struct {
		Events []console.LicenseEvent `json:"events"`
	}
	err = s.get(r, "/v1/license/history", &history)
	for i := range history.Events {
		v.Events = append(v.Events, history.Events[len(history.Events)-1-i])
	}
	return v, err
}

func (s *Server) licensePage(w http.ResponseWriter, r *http.Request) error {
	v, err := s.viewLicense(r)
	if err != nil {
		return err
	}
	return s.show(w, r, "license", licensed(v))
}

// activationCode answers the vendor's code where no file may leave (L-13).
func (s *Server) activationCode(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	v, err := s.viewLicense(r)
	if err != nil {
		return err
	}
	var answer struct {
		Code string `json:"code"`
	}
	if err := s.call(r, http.MethodPost, "/v1/activation", map[string]string{"code": form.Get("code")}, &answer); err != nil {
		v.Rows = checkRows(form.Get("code"), export.KindInitialize)
		return s.again(w, r, "license", licensed(v), form, err)
	}
	for _, row := range checkRows(answer.Code, export.KindActivate) {
		v.Answer = append(v.Answer, row.Text)
	}
	return s.show(w, r, "license", licensed(v))
}

// named tells whether the solution name was typed: for what cannot be undone.
func (s *Server) named(r *http.Request, v *licenseView) error {
	if v.License == nil || r.PostFormValue("solution_name") != v.License.SolutionName {
		return &Problem{Status: http.StatusUnprocessableEntity, Code: "solution_name_mismatch", Message: "the solution name of the license was not typed",
			Hint: "type it as it stands on this page, if you mean to do this", Errors: []console.FieldError{{Location: "body.solution_name", Message: "is not that of the license"}}}
	}
	return nil
}

func (s *Server) rotateKey(w http.ResponseWriter, r *http.Request) error {
	v, err := s.viewLicense(r)
	if err != nil {
		return err
	}
	if err = s.named(r, &v); err == nil {
		err = s.call(r, http.MethodPost, "/v1/keys/rotate", nil, nil)
	}
	if err != nil {
		return s.again(w, r, "license", licensed(v), r.PostForm, err)
	}
	return done(w, r, "/license", "key-rotated")
}

// deactivate ends the ledger and sends its last report.
func (s *Server) deactivate(w http.ResponseWriter, r *http.Request) error {
	v, err := s.viewLicense(r)
	if err != nil {
		return err
	}
	if err = s.named(r, &v); err == nil {
		err = s.passJSON(w, r, "/v1/deactivate", console.DeactivateOptions{SolutionName: r.PostFormValue("solution_name")})
	}
	if err != nil {
		return s.again(w, r, "license", licensed(v), r.PostForm, err)
	}
	return nil
}
