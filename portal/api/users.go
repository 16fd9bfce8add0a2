package api

import (
	"net/http"
	"time"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) userRoutes() []Route {
	user := id("the user, or the address")
	routes := []Route{{
		Method: http.MethodGet, Path: "/api/v1/users", ID: "listUsers", Right: gate.Administer,
		Summary: "Users, by address",
		Params: lists(param{Name: "state", Enum: []string{"active", "invited", "disabled"}, Doc: "only those"},
			param{Name: "customer", Doc: "of this customer only"}),
		Answers: ok("A page of them", portal.Page[portal.User]{}),
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			page, err := s.Portal.Users(r.Context(), options(r, q))
			if err != nil {
				return err
			}
			return s.answer(w, r, page)
		},
	}, {
		Method: http.MethodPost, Path: "/api/v1/users", ID: "makeUser", Right: gate.Administer,
		Summary: "Make a user, and a one-time link for him to choose a password",
		Body:    takes(newUser{}), Answers: made("The user, and his link: it is shown once", invited{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			var body newUser
			if err := readJSON(w, r, &body); err != nil {
				return err
			}
			u, link, err := s.Portal.AddUser(r.Context(), portal.User{Email: body.Email, Name: body.Name, Role: portal.Role(body.Role), Customer: body.Customer}, actor(r))
			if err != nil {
				return err
			}
			keepSecret(w)
			w.Header().Set("Location", "/api/v1/users/"+u.ID)
			keepSecret(w)
			return s.answerTagged(w, r, http.StatusCreated, "", invited{u, welcomePath + link})
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/users/{id}", ID: "getUser", Right: gate.Administer,
		Summary: "A user",
		Params:  []param{user}, Answers: ok("The user", portal.User{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			u, err := s.Portal.User(r.Context(), r.PathValue("id"))
			if err != nil {
				return err
			}
			return s.answer(w, r, u)
		},
	}}
	for _, x := range []struct{ path, id, summary string }{
		{"invite", "inviteUser", "Make the one-time link of a user anew; the one before ends"},
		{"reset", "resetUser", "Take password, second factors, sessions and tokens of a user away, and make a one-time link"},
		{"disable", "disableUser", "End what a user may do, and all his sessions"},
		{"enable", "enableUser", "Let a disabled user in again"},
	} {
		routes = append(routes, Route{
			Method: http.MethodPost, Path: "/api/v1/users/{id}/" + x.path, ID: x.id, Right: gate.Administer,
			Summary: x.summary,
			Params:  []param{user}, Answers: done("The user as he is now, and the link if there is one", invited{}), Problems: []int{404},
			Serve: func(w http.ResponseWriter, r *http.Request, _ values) error { return s.changeUser(w, r, x.path) },
		})
	}
	return routes
}

// welcomePath leads to the page on which a one-time link is used.
const welcomePath = "/welcome?token="

type newUser struct {
	Email    string `json:"email"`
	Name     string `json:"name,omitempty"`
	Role     string `json:"role" doc:"admin, staff, billing, viewer or customer"`
	Customer string `json:"customer,omitempty" doc:"for the role customer: the one he belongs to"`
}

type invited struct {
	portal.User
	Link string `json:"link,omitempty" doc:"path of the portal that is shown once and works once: to be handed over"`
}

func (s *Server) changeUser(w http.ResponseWriter, r *http.Request, do string) error {
	ctx, id := r.Context(), r.PathValue("id")
	var link string
	var err error
	switch do {
	case "invite":
		link, err = s.Portal.InviteUser(ctx, id, actor(r))
	case "reset":
		link, err = s.Portal.ResetUser(ctx, id, false, actor(r))
	default:
		err = s.Portal.DisableUser(ctx, id, do == "disable", actor(r))
	}
	if err != nil {
		return err
	}
	u, err := s.Portal.User(ctx, id)
	if err != nil {
		return err
	}
	if link != "" {
		keepSecret(w)
		link = welcomePath + link
	}
	keepSecret(w)
	return s.answerTagged(w, r, http.StatusOK, "", invited{u, link})
}

func (s *Server) tokenRoutes() []Route {
	return []Route{{
		Method: http.MethodGet, Path: "/api/v1/tokens", ID: "listTokens", Right: gate.Administer,
		Summary: "API tokens of everybody, newest first; not what they are themselves, which is kept nowhere",
		Params:  []param{{Name: "user", Doc: "of this user only: id or address"}},
		Answers: ok("The tokens", portal.Page[portal.Token]{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			user := q.Text["user"]
			if user != "" {
				u, err := s.Portal.User(r.Context(), user)
				if err != nil {
					return err
				}
				user = u.ID
			}
			all, err := s.Portal.Tokens(r.Context(), user)
			if err != nil {
				return err
			}
			return s.answer(w, r, whole(all))
		},
	}, {
		Method: http.MethodPost, Path: "/api/v1/tokens", ID: "makeToken", Right: gate.Administer,
		Summary: "Make an API token of a user",
		Body:    takes(newToken{}), Answers: made("The token, and what it is itself: that is shown once", madeToken{}), Problems: []int{404},
		Serve: s.makeToken,
	}, {
		Method: http.MethodDelete, Path: "/api/v1/tokens/{id}", ID: "revokeToken", Right: gate.Administer,
		Summary: "Revoke an API token",
		Params:  []param{id("the token")}, Answers: []content{{Status: http.StatusNoContent, Doc: "It is refused from now on"}}, Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			if err := s.Portal.RevokeToken(r.Context(), r.PathValue("id"), "", actor(r)); err != nil {
				return err
			}
			w.WriteHeader(http.StatusNoContent)
			return nil
		},
	}}
}

type newToken struct {
	User    string    `json:"user" doc:"id or address"`
	Name    string    `json:"name" doc:"what it is for"`
	Scopes  []string  `json:"scopes,omitempty" doc:"rights that it is narrowed to; none: all of the user's"`
	Expires time.Time `json:"expires,omitzero" doc:"none: it does not end by itself"`
}

type madeToken struct {
	portal.Token
	Secret string `json:"secret" doc:"for the header Authorization: Bearer"`
}

func (s *Server) makeToken(w http.ResponseWriter, r *http.Request, _ values) error {
	var body newToken
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	if err := required("user", body.User); err != nil {
		return err
	}
	u, err := s.Portal.User(r.Context(), body.User)
	if err != nil {
		return err
	}
	if err := gate.CheckScopes(u.Role, body.Scopes); err != nil {
		return err
	}
	t, secret, err := s.Portal.AddToken(r.Context(), portal.Token{UserID: u.ID, Name: body.Name, Scopes: body.Scopes, Expires: body.Expires}, actor(r))
	if err != nil {
		return err
	}
	keepSecret(w)
	keepSecret(w)
	return s.answerTagged(w, r, http.StatusCreated, "", madeToken{t, secret})
}
