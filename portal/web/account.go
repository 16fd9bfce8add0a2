package web

import (
	"bytes"
	"encoding/base64"
	"html/template"
	"image/png"
	"net/http"
	"time"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) accountRoutes() []Route {
	return []Route{
		{"GET", "/account", gate.Account, s.account},
		{"POST", "/account/password", gate.Account, s.changePassword},
		{"GET", "/account/totp", gate.Account, s.totpPage},
		{"POST", "/account/totp", gate.Account, s.setTOTP},
		{"POST", "/account/totp/remove", gate.Account, s.removeTOTP},
		{"POST", "/account/recovery", gate.Account, s.newRecovery},
		{"POST", "/account/sessions/end", gate.Account, s.endSessions},
		{"GET", "/account/tokens", gate.Account, s.tokens},
		{"POST", "/account/tokens", gate.Account, s.addToken},
		{"POST", "/account/tokens/{id}/revoke", gate.Account, s.revokeToken},
	}
}

var (
	donePassword     = notice("password-changed", "Your password was changed, and your other sessions have ended.")
	doneTOTPRemoved  = notice("totp-removed", "One-time codes are not asked for any more.")
	doneSessions     = notice("sessions-ended", "The session has ended.")
	doneTokenRevoked = notice("token-revoked", "The token was revoked. Programs that use it are refused from now on.")
)

// accountView is the page Account of the caller.
func (s *Server) accountView(r *http.Request) (page, error) {
	c := gate.CallerOf(r.Context())
	p := page{Title: "Account", Nav: "account"}
	u, err := s.Portal.User(r.Context(), c.User)
	if err != nil {
		return p, err
	}
	sessions, err := s.Portal.Sessions(r.Context(), c.User)
	if err != nil {
		return p, err
	}
	left, err := s.Portal.RecoveryLeft(r.Context(), c.User)
	p.Data = map[string]any{"User": u, "Sessions": sessions, "Mine": c.Session, "RecoveryLeft": left}
	return p, err
}

func (s *Server) account(w http.ResponseWriter, r *http.Request) error {
	p, err := s.accountView(r)
	if err != nil {
		return err
	}
	return s.show(w, r, "account", p)
}

// accountAgain shows the page with why something was refused. What was typed were
// secrets.
func (s *Server) accountAgain(w http.ResponseWriter, r *http.Request, refused error) error {
	p, err := s.accountView(r)
	if err != nil {
		return err
	}
	return s.again(w, r, "account", p, nil, refused)
}

func (s *Server) changePassword(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	err = notTheSame
	if form.Get("password") == form.Get("again") {
		err = s.Gate.ChangePassword(r, form.Get("old"), form.Get("password"))
	}
	if err != nil {
		return s.accountAgain(w, r, err)
	}
	return done(w, r, "/account", donePassword)
}

// totpPage shows a new secret. Nothing is kept before a code of it was typed.
func (s *Server) totpPage(w http.ResponseWriter, r *http.Request) error {
	secret, _ := s.Gate.NewTOTP(gate.CallerOf(r.Context()), s.brand(r.Context()).Name)
	p, err := s.totpView(r, secret)
	if err != nil {
		return err
	}
	return s.show(w, r, "totp", p)
}

func (s *Server) totpView(r *http.Request, secret string) (page, error) {
	c := gate.CallerOf(r.Context())
	address := gate.TOTPAddress(c, s.brand(r.Context()).Name, secret)
	image, err := mixedQR(address)
	return page{Title: "One-time codes", Nav: "account", Crumbs: []crumb{{"Account", "/account"}},
		Data: map[string]any{"Secret": secret, "Image": image}}, err
}

// mixedQR is qrImage for text of any letters. The page has its margin.
func mixedQR(text string) (template.URL, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err == nil {
		code, err = barcode.Scale(code, code.Bounds().Dx()*partPixels, code.Bounds().Dy()*partPixels)
	}
	var b bytes.Buffer
	if err == nil {
		err = png.Encode(&b, code)
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), err
}

func (s *Server) setTOTP(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	codes, err := s.Gate.SetTOTP(r, form.Get("secret"), form.Get("code"), form.Get("password"))
	if err != nil {
		p, broken := s.totpView(r, form.Get("secret"))
		if broken != nil {
			return broken
		}
		form.Del("password")
		return s.again(w, r, "totp", p, form, err)
	}
	return s.showCodes(w, r, codes)
}

func (s *Server) showCodes(w http.ResponseWriter, r *http.Request, codes []string) error {
	return s.show(w, r, "recovery", page{Title: "Recovery codes", Nav: "account", Crumbs: []crumb{{"Account", "/account"}}, Data: codes})
}

func (s *Server) removeTOTP(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err == nil {
		err = s.Gate.RemoveTOTP(r, form.Get("password"))
	}
	if err != nil {
		return s.accountAgain(w, r, err)
	}
	return done(w, r, "/account", doneTOTPRemoved)
}

func (s *Server) newRecovery(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	codes, err := s.Gate.NewRecoveryCodes(r, form.Get("password"))
	if err != nil {
		return s.accountAgain(w, r, err)
	}
	return s.showCodes(w, r, codes)
}

// endSessions ends one session of the caller, or all but this one.
func (s *Server) endSessions(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	c := gate.CallerOf(r.Context())
	if err := s.Portal.EndUserSessions(r.Context(), c.User, form.Get("session"), c.Session, c.Actor()); err != nil {
		return s.accountAgain(w, r, err)
	}
	return done(w, r, "/account", doneSessions)
}

func (s *Server) tokensView(r *http.Request) (page, error) {
	c := gate.CallerOf(r.Context())
	list, err := s.Portal.Tokens(r.Context(), c.User)
	return page{Title: "API tokens", Nav: "account", Crumbs: []crumb{{"Account", "/account"}}, Command: "token add USER --name NAME", API: "POST /api/v1/tokens",
		Data: map[string]any{"Tokens": list, "Scopes": gate.Scopes(c.Role)}}, err
}

func (s *Server) tokens(w http.ResponseWriter, r *http.Request) error {
	p, err := s.tokensView(r)
	if err != nil {
		return err
	}
	return s.show(w, r, "tokens", p)
}

func (s *Server) addToken(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	c := gate.CallerOf(r.Context())
	t := portal.Token{UserID: c.User, Name: form.Get("name"), Scopes: form["scope"]}
	if day := form.Get("expires"); day != "" {
		if t.Expires, err = time.Parse(time.DateOnly, day); err != nil {
			err = badField("expires", "expires is "+day+", want a day such as 2027-01-31", "write it as year, month, day")
		}
	}
	var secret string
	if err == nil {
		_, secret, err = s.Gate.AddToken(r.Context(), t, c.Role, c.Actor())
	}
	p, broken := s.tokensView(r)
	if broken != nil {
		return broken
	}
	if err != nil {
		return s.again(w, r, "tokens", p, form, err)
	}
	p.Data.(map[string]any)["Secret"] = secret
	return s.show(w, r, "tokens", p)
}

func (s *Server) revokeToken(w http.ResponseWriter, r *http.Request) error {
	c := gate.CallerOf(r.Context())
	if err := s.Portal.RevokeToken(r.Context(), r.PathValue("id"), c.User, c.Actor()); err != nil {
		return err
	}
	return done(w, r, "/account/tokens", doneTokenRevoked)
}
