package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) signInRoutes() []Route {
	return []Route{
		{"GET", signInPath, gate.Public, s.signInPage},
		{"POST", signInPath, gate.Public, s.signIn},
		{"GET", signInPath + "/code", gate.Public, s.codePage},
		{"POST", signInPath + "/code", gate.Public, s.code},
		{"POST", "/sign-out", gate.Public, s.signOut},
		{"GET", "/welcome", gate.Public, s.welcomePage},
		{"POST", "/welcome", gate.Public, s.welcome},
	}
}

var doneSignedOut = notice("signed-out", "You are signed out.")

// here keeps only addresses of this portal: a link to the sign-in must not lead to
// another site.
func here(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") || strings.HasPrefix(next, signInPath) {
		return "/"
	}
	return next
}

func (s *Server) signInPage(w http.ResponseWriter, r *http.Request) error {
	if gate.CallerOf(r.Context()).User != "" {
		http.Redirect(w, r, here(r.URL.Query().Get("next")), http.StatusSeeOther)
		return nil
	}
	return s.show(w, r, "signin", s.signInView(r.URL.Query().Get("next")))
}

func (s *Server) signInView(next string) page {
	return page{Title: "Sign in", Data: map[string]any{"Next": here(next), "Passkeys": s.Gate.Passkeys(), "OIDC": s.Gate.HasOIDC()}}
}

func (s *Server) signIn(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	next := here(form.Get("next"))
	more, err := s.Gate.SignIn(w, r, form.Get("email"), form.Get("password"))
	if err != nil {
		form.Del("password")
		return s.again(w, r, "signin", s.signInView(next), form, err)
	}
	if more {
		next = signInPath + "/code?next=" + url.QueryEscape(next)
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

func (s *Server) codePage(w http.ResponseWriter, r *http.Request) error {
	u, found, err := s.Gate.Halfway(r)
	if err != nil {
		return err
	}
	if !found {
		http.Redirect(w, r, signInPath, http.StatusSeeOther)
		return nil
	}
	return s.show(w, r, "signin_code", codeView(u, r.URL.Query().Get("next")))
}

func codeView(u portal.User, next string) page {
	return page{Title: "Second factor", Data: map[string]any{"User": u, "Next": here(next)}}
}

func (s *Server) code(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	u, _, err := s.Gate.Halfway(r)
	if err != nil {
		return err
	}
	if err := s.Gate.SignInCode(w, r, form.Get("code")); err != nil {
		form.Del("code")
		return s.again(w, r, "signin_code", codeView(u, form.Get("next")), form, err)
	}
	http.Redirect(w, r, here(form.Get("next")), http.StatusSeeOther)
	return nil
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request) error {
	if err := s.Gate.SignOut(w, r); err != nil {
		return err
	}
	return done(w, r, signInPath, doneSignedOut)
}

// welcomePage is where a one-time link leads. Looking at it does not use it.
func (s *Server) welcomePage(w http.ResponseWriter, r *http.Request) error {
	link := r.URL.Query().Get("token")
	u, err := s.Portal.LinkUser(r.Context(), link)
	if err != nil {
		return err
	}
	return s.show(w, r, "welcome", welcomeView(u, link))
}

func welcomeView(u portal.User, link string) page {
	return page{Title: "Choose your password", Data: map[string]any{"User": u, "Token": link}}
}

func (s *Server) welcome(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	link, password, same := form.Get("token"), form.Get("password"), form.Get("password") == form.Get("again")
	form.Del("password")
	form.Del("again")
	u, err := s.Portal.LinkUser(r.Context(), link)
	if err != nil {
		return err
	}
	if same {
		u, err = s.Gate.UseLink(r.Context(), link, password)
	} else {
		err = notTheSame
	}
	if err != nil {
		return s.again(w, r, "welcome", welcomeView(u, link), form, err)
	}
	if u.SecondFactor() {
		return done(w, r, signInPath, donePasswordSet)
	}
	if err := s.Gate.Begin(w, r, u); err != nil {
		return err
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

var (
	donePasswordSet = notice("password-set", "Your password is set. Sign in with it.")
	notTheSame      = &portal.Error{Code: portal.CodeBadRequest, Status: http.StatusBadRequest, Message: "the two passwords are not the same", Hint: "type it twice"}
)
