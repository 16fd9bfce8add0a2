package web

import (
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) settingsRoutes() []Route {
	return []Route{
		{"GET", "/settings", gate.Administer, s.settings},
		{"POST", "/settings", gate.Administer, s.settings},
		{"GET", "/settings/mails", gate.Administer, s.mails},
	}
}

var doneSettings = notice("settings-saved", "The settings were saved.")

// settings shows the form and takes it.
func (s *Server) settings(w http.ResponseWriter, r *http.Request) error {
	x, err := s.Portal.Settings(r.Context())
	if err != nil {
		return err
	}
	p := page{Title: "Settings", Nav: "settings", Data: x, Command: "settings set --name 'Vendor Ltd' --accent '#1d5fa8'", API: "PUT /api/v1/settings"}
	if r.Method != http.MethodPost {
		return s.show(w, r, "settings", p)
	}
	r.Body = http.MaxBytesReader(w, r.Body, formBytesMax)
	if err := r.ParseMultipartForm(formBytesMax); err != nil {
		var size *http.MaxBytesError
		if errors.As(err, &size) {
			return err
		}
		return &portal.Error{Code: portal.CodeBadRequest, Status: http.StatusBadRequest, Message: "the form cannot be read: " + err.Error(), Hint: "open the page again"}
	}
	form := r.PostForm
	x.Name, x.Domain, x.Contact = strings.TrimSpace(form.Get("name")), strings.TrimSpace(form.Get("domain")), strings.TrimSpace(form.Get("contact"))
	x.Accent, x.AccentDark = strings.TrimSpace(form.Get("accent")), strings.TrimSpace(form.Get("accent_dark"))
	x.RemindCustomers, x.RemindTo = form.Get("remind_customers") != "", strings.Fields(form.Get("remind_to"))
	if form.Get("no_logo") != "" {
		x.LogoType, x.Logo = "", nil
	} else if err := takeLogo(r.MultipartForm, &x); err != nil {
		return err
	}
	if err := s.Portal.SetSettings(r.Context(), x, gate.CallerOf(r.Context()).Actor()); err != nil {
		return s.again(w, r, "settings", p, form, err)
	}
	return done(w, r, "/settings", doneSettings)
}

// takeLogo reads the picture of a form, if there is one.
func takeLogo(form *multipart.Form, x *portal.Settings) error {
	if len(form.File["logo"]) == 0 || form.File["logo"][0].Size == 0 {
		return nil
	}
	f, err := form.File["logo"][0].Open()
	if err != nil {
		return err
	}
	defer f.Close()
	if x.Logo, err = io.ReadAll(f); err != nil {
		return err
	}
	x.LogoType = http.DetectContentType(x.Logo)
	return nil
}

// mails lists reminders that were written, and what became of them.
func (s *Server) mails(w http.ResponseWriter, r *http.Request) error {
	p, err := s.Portal.Mails(r.Context(), listOptions(r))
	if err != nil {
		return err
	}
	return s.show(w, r, "mails", page{Title: "Mails", Nav: "settings", Crumbs: []crumb{{"Settings", "/settings"}}, Data: p, Command: "settings mails", API: "GET /api/v1/mails"})
}
