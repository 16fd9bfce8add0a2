package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
)

const signInPath = "/sign-in"

func (s *Server) signInRoutes() []Route {
	if s.SignIn == nil {
		return nil
	}
	return []Route{
		{"GET", signInPath, access.Public, s.signInPage},
		{"POST", signInPath, access.Public, s.signIn},
		{"POST", "/sign-out", access.Public, s.signOut},
		{"GET", "/welcome", access.Public, s.welcomePage},
		{"POST", "/welcome", access.Public, s.welcome},
	}
}

// signInData is for the page of the form.
type signInData struct{ Next, Right string }

func signInOf(q url.Values) page {
	return page{Title: "Sign in", Bare: true, Data: signInData{localPath(q.Get("next")), q.Get("right")}}
}

func (s *Server) signInPage(w http.ResponseWriter, r *http.Request) error {
	return s.show(w, r, "signin", signInOf(r.URL.Query()))
}

func (s *Server) signIn(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	secret, err := s.SignIn.SignIn(r.Context(), form.Get("name"), form.Get("password"), console.RemoteHost(r))
	if err != nil {
		s.Log.Warn("sign-in refused", "remote", console.RemoteHost(r), "err", err)
		return s.again(w, r, "signin", signInOf(form), url.Values{"name": form["name"]}, err)
	}
	s.Log.Info("operator signed in", "operator", form.Get("name"), "remote", console.RemoteHost(r))
	setCookie(w, r, secret)
	return done(w, r, localPath(form.Get("next")), "signed-in")
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request) error {
	if c, err := r.Cookie(console.SessionCookie(r)); err == nil {
		s.SignIn.SignOut(c.Value)
	}
	setCookie(w, r, "")
	return done(w, r, "/", "signed-out")
}

// welcomeData is for the page of a one-time link.
type welcomeData struct {
	Link, Name string
	First      bool // nobody is an operator yet: he chooses his name
}

func (s *Server) welcomeOf(link string) (page, error) {
	name, ok := s.SignIn.Linked(link)
	if !ok {
		return page{}, &Problem{Status: http.StatusForbidden, Code: access.CodeNotAllowed, Message: "the link was used, or its time is over",
			Hint: `meterseal operator add --again gives a new one; before there is an operator, each start of the daemon prints one`}
	}
	return page{Title: "Welcome", Bare: true, Data: welcomeData{link, name, name == access.FirstOperator}}, nil
}

func (s *Server) welcomePage(w http.ResponseWriter, r *http.Request) error {
	p, err := s.welcomeOf(r.URL.Query().Get("link"))
	if err != nil {
		return err
	}
	return s.show(w, r, "welcome", p)
}

func (s *Server) welcome(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	p, err := s.welcomeOf(form.Get("link"))
	if err != nil {
		return err
	}
	kept := url.Values{"name": form["name"]}
	if form.Get("password") != form.Get("repeated") {
		return s.again(w, r, "welcome", p, kept, &Problem{Status: http.StatusBadRequest, Code: "malformed", Message: "the two passwords differ", Hint: "type the same twice"})
	}
	secret, err := s.SignIn.UseLink(r.Context(), form.Get("link"), form.Get("name"), form.Get("password"))
	if err != nil {
		return s.again(w, r, "welcome", p, kept, err)
	}
	setCookie(w, r, secret)
	return done(w, r, "/", "signed-in")
}

func setCookie(w http.ResponseWriter, r *http.Request, secret string) {
	c := &http.Cookie{Name: console.SessionCookie(r), Value: secret, Path: "/", Secure: r.TLS != nil, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if secret == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// localPath returns an address of this daemon; anything else is its first page.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.Contains(next, `\`) {
		return "/"
	}
	return next
}
