package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) userRoutes() []Route {
	return []Route{
		{"GET", "/users", gate.Administer, s.users},
		{"POST", "/users", gate.Administer, s.addUser},
		{"GET", "/users/{id}", gate.Administer, s.user},
		{"POST", "/users/{id}", gate.Administer, s.setUser},
		{"POST", "/users/{id}/do", gate.Administer, s.doUser},
		{"POST", "/users/{id}/tokens/{token}/revoke", gate.Administer, s.revokeUserToken},
		{"GET", "/customers/{id}/logins", gate.Manage, s.logins},
		{"POST", "/customers/{id}/logins", gate.Manage, s.addLogin},
		{"POST", "/customers/{id}/logins/{user}", gate.Manage, s.doLogin},
	}
}

var (
	doneUser       = notice("user-saved", "The user was saved.")
	doneDisabled   = notice("user-disabled", "The user is disabled: sessions have ended, tokens are refused.")
	doneEnabled    = notice("user-enabled", "The user may sign in again.")
	doneUserEnded  = notice("user-sessions-ended", "All sessions of the user have ended.")
	doneUserFactor = notice("user-second-factor", "One-time codes and passkeys were taken away, and all sessions have ended.")
)

var roleChoices = []option{
	{string(portal.RoleCustomer), "customer: what belongs to one customer"},
	{string(portal.RoleViewer), "viewer: reads everything"},
	{string(portal.RoleBilling), "billing: reads, and makes statements"},
	{string(portal.RoleStaff), "staff: everything but users, keys, settings, webhooks"},
	{string(portal.RoleAdmin), "admin: everything"},
}

// welcomeURL is the one-time link as it is handed over.
func (s *Server) welcomeURL(r *http.Request, link string) string {
	return s.Gate.PublicURL(r) + "/welcome?token=" + url.QueryEscape(link)
}

func (s *Server) usersView(r *http.Request) (page, error) {
	o := listOptions(r)
	list, err := s.Portal.Users(r.Context(), o)
	return page{Title: "Users", Nav: "users", Command: "user list", API: "GET /api/v1/users", Data: map[string]any{"Page": list, "Roles": roleChoices}}, err
}

func (s *Server) users(w http.ResponseWriter, r *http.Request) error {
	if asCSV(r) {
		return writeCSV(w, "users", []string{"id", "email", "name", "role", "customer", "created", "last_sign_in", "disabled", "second_factor"},
			rowsOf(portal.All(r.Context(), listOptions(r), s.Portal.Users), func(u portal.User) []string {
				second := "no"
				if u.SecondFactor() {
					second = "yes"
				}
				return []string{u.ID, u.Email, u.Name, string(u.Role), u.Customer, spelled(u.Created), spelled(u.Seen), spelled(u.Disabled), second}
			}))
	}
	p, err := s.usersView(r)
	if err != nil {
		return err
	}
	return s.show(w, r, "users", p)
}

func userOf(form url.Values) portal.User {
	return portal.User{Email: form.Get("email"), Name: form.Get("name"), Role: portal.Role(form.Get("role")), Customer: strings.TrimSpace(form.Get("customer"))}
}

func (s *Server) addUser(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	u, link, err := s.Portal.AddUser(r.Context(), userOf(form), gate.CallerOf(r.Context()).Actor())
	p, broken := s.usersView(r)
	if broken != nil {
		return broken
	}
	if err != nil {
		return s.again(w, r, "users", p, form, err)
	}
	return s.showLink(w, r, u, link, page{Nav: "users", Crumbs: []crumb{{"Users", "/users"}}})
}

// showLink shows a one-time link, once.
func (s *Server) showLink(w http.ResponseWriter, r *http.Request, u portal.User, link string, p page) error {
	p.Title, p.Data = "One-time link", map[string]any{"User": u, "Link": s.welcomeURL(r, link)}
	return s.show(w, r, "userlink", p)
}

func (s *Server) userView(r *http.Request, id string) (page, error) {
	p := page{Nav: "users", Crumbs: []crumb{{"Users", "/users"}}, Command: "user list", API: "GET /api/v1/users/" + id}
	u, err := s.Portal.User(r.Context(), id)
	if err != nil {
		return p, err
	}
	sessions, err := s.Portal.Sessions(r.Context(), u.ID)
	if err != nil {
		return p, err
	}
	tokens, err := s.Portal.Tokens(r.Context(), u.ID)
	p.Title, p.Data = u.Name, map[string]any{"User": u, "Sessions": sessions, "Tokens": tokens, "Roles": roleChoices}
	return p, err
}

func (s *Server) user(w http.ResponseWriter, r *http.Request) error {
	p, err := s.userView(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.show(w, r, "user", p)
}

func (s *Server) setUser(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	u := userOf(form)
	u.ID = r.PathValue("id")
	if err := s.Portal.SetUser(r.Context(), u, gate.CallerOf(r.Context()).Actor()); err != nil {
		return s.userAgain(w, r, u.ID, form, err)
	}
	return done(w, r, "/users/"+url.PathEscape(u.ID), doneUser)
}

func (s *Server) userAgain(w http.ResponseWriter, r *http.Request, id string, form url.Values, refused error) error {
	p, err := s.userView(r, id)
	if err != nil {
		return err
	}
	return s.again(w, r, "user", p, form, refused)
}

// doUser does what the buttons of a user's page say: the value of the field "do".
func (s *Server) doUser(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	back := page{Nav: "users", Crumbs: []crumb{{"Users", "/users"}}}
	what, err := s.changeLogin(w, r, id, form.Get("do"), back)
	if err != nil {
		return s.userAgain(w, r, id, nil, err)
	}
	if what == "" {
		return nil
	}
	return done(w, r, "/users/"+url.PathEscape(id), what)
}

// changeLogin returns the notice of what it did; empty: it has shown a page.
func (s *Server) changeLogin(w http.ResponseWriter, r *http.Request, id, do string, linkPage page) (string, error) {
	ctx, actor := r.Context(), gate.CallerOf(r.Context()).Actor()
	u, err := s.Portal.User(ctx, id)
	if err != nil {
		return "", err
	}
	var link string
	switch do {
	case "link":
		if link, err = s.Portal.InviteUser(ctx, u.ID, actor); err != nil {
			return "", err
		}
		return "", s.showLink(w, r, u, link, linkPage)
	case "reset":
		if link, err = s.Portal.ResetUser(ctx, u.ID, false, actor); err != nil {
			return "", err
		}
		return "", s.showLink(w, r, u, link, linkPage)
	case "reset-second-factor":
		_, err = s.Portal.ResetUser(ctx, u.ID, true, actor)
		return doneUserFactor, err
	case "end-sessions":
		return doneUserEnded, s.Portal.EndUserSessions(ctx, u.ID, "", "", actor)
	case "disable":
		return doneDisabled, s.Portal.DisableUser(ctx, u.ID, true, actor)
	case "enable":
		return doneEnabled, s.Portal.DisableUser(ctx, u.ID, false, actor)
	}
	return "", &portal.Error{Code: portal.CodeBadRequest, Status: http.StatusBadRequest, Message: "do is " + do + ", which is nothing to do with a user", Hint: "open the page again"}
}

func (s *Server) revokeUserToken(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if err := s.Portal.RevokeToken(r.Context(), r.PathValue("token"), id, gate.CallerOf(r.Context()).Actor()); err != nil {
		return err
	}
	return done(w, r, "/users/"+url.PathEscape(id), doneTokenRevoked)
}

// loginsView is the page on which staff give a customer's people their logins.
func (s *Server) loginsView(r *http.Request) (page, error) {
	id := r.PathValue("id")
	p := page{Title: "Logins", Nav: "customers", Crumbs: []crumb{{"Customers", "/customers"}, {id, "/customers/" + url.PathEscape(id)}}, Command: "user add EMAIL --role customer --customer " + id}
	if _, err := s.Portal.Customer(r.Context(), id); err != nil {
		return p, err
	}
	o := listOptions(r)
	o.Customer = id
	list, err := s.Portal.Users(r.Context(), o)
	p.Data = map[string]any{"Page": list, "Customer": id}
	return p, err
}

func (s *Server) logins(w http.ResponseWriter, r *http.Request) error {
	p, err := s.loginsView(r)
	if err != nil {
		return err
	}
	return s.show(w, r, "logins", p)
}

func (s *Server) addLogin(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	u := portal.User{Email: form.Get("email"), Name: form.Get("name"), Role: portal.RoleCustomer, Customer: r.PathValue("id")}
	u, link, err := s.Portal.AddUser(r.Context(), u, gate.CallerOf(r.Context()).Actor())
	p, broken := s.loginsView(r)
	if broken != nil {
		return broken
	}
	if err != nil {
		return s.again(w, r, "logins", p, form, err)
	}
	p.Crumbs = append(p.Crumbs, crumb{"Logins", "/customers/" + url.PathEscape(u.Customer) + "/logins"})
	return s.showLink(w, r, u, link, p)
}

// doLogin is doUser for staff: only for users of the customer whose page it is.
func (s *Server) doLogin(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	p, err := s.loginsView(r)
	if err != nil {
		return err
	}
	u, err := s.Portal.User(r.Context(), r.PathValue("user"))
	if err == nil && (u.Role != portal.RoleCustomer || u.Customer != r.PathValue("id")) {
		err = &portal.Error{Code: portal.CodeNotFound, Status: http.StatusNotFound, Message: "the customer has no such login", Hint: "list what there is"}
	}
	if err != nil {
		return err
	}
	logins := "/customers/" + url.PathEscape(u.Customer) + "/logins"
	back := p
	back.Crumbs = append(back.Crumbs, crumb{"Logins", logins})
	what, err := s.changeLogin(w, r, u.ID, form.Get("do"), back)
	if err != nil {
		return s.again(w, r, "logins", p, nil, err)
	}
	if what == "" {
		return nil
	}
	return done(w, r, logins, what)
}
