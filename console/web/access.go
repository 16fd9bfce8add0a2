package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
)

func (s *Server) accessRoutes() []Route {
	return []Route{
		{"GET", "/access", access.Read, s.access},
		{"POST", "/access/operators", access.Admin, s.addOperator},
		{"POST", "/access/operators/revoke", access.Admin, s.revokeOperator},
		{"POST", "/access/tokens", access.Admin, s.addToken},
		{"POST", "/access/tokens/revoke", access.Admin, s.revokeToken},
	}
}

// rightWords say what each right lets its holder do.
var rightWords = map[access.Right]string{
	access.Read:   "see everything on these pages: usage, status, license, nodes, what was rejected, metrics",
	access.Report: "prepare, read and download usage reports, run exports",
	access.Import: "take replies and licenses into use",
	access.Admin:  "nodes, operators, tokens, replay, seats of others, backup, support bundle, site key, the end of the ledger",
	access.Events: "send usage events, and correct them",
	access.Allow:  "ask whether something may be used, reserve it, consume it",
	access.Seats:  "take seats and give them back",
	access.Enroll: "get credentials for one more node; of tokens alone, and of no other right beside it",
}

// rightChoice is a right to choose in a form.
type rightChoice struct {
	Name, Says string
	Chosen     bool
	Mine       bool // who opened the page has it
}

// accessData is for the page.
type accessData struct {
	Rights           []rightChoice
	May              bool // see who has access
	Operators        []console.Operator
	Tokens           []console.Token
	ForOps, ForToken []rightChoice
	Spans            []choice
}

// accessPage is the page with what was typed into its forms.
func (s *Server) accessPage(r *http.Request, form url.Values) (page, error) {
	c := console.CallerOf(r)
	d := accessData{May: c.May(access.Admin), Spans: lifetimes}
	p := page{Title: "Access", Nav: "access", Command: "operator list", API: "GET /v1/operators"}
	for _, name := range [...]access.Right{access.Read, access.Report, access.Import, access.Admin, access.Events, access.Allow, access.Seats, access.Enroll} {
		x := rightChoice{Name: string(name), Says: rightWords[name], Mine: c.May(name)}
		d.Rights = append(d.Rights, x)
		x.Chosen = slices.Contains(form["token-right"], x.Name)
		d.ForToken = append(d.ForToken, x)
		x.Chosen = slices.Contains(form["operator-right"], x.Name) || form == nil && (name == access.Read || name == access.Report || name == access.Import)
		if name != access.Enroll {
			d.ForOps = append(d.ForOps, x)
		}
	}
	if d.May {
		var operators console.OperatorList
		var tokens console.TokenList
		if err := s.get(r, "/v1/operators", &operators); err != nil {
			return p, err
		}
		if err := s.get(r, "/v1/tokens", &tokens); err != nil {
			return p, err
		}
		d.Operators, d.Tokens = operators.Operators, tokens.Tokens
	}
	p.Data = d
	return p, nil
}

func (s *Server) access(w http.ResponseWriter, r *http.Request) error {
	p, err := s.accessPage(r, nil)
	if err != nil {
		return err
	}
	return s.show(w, r, "access", p)
}

func (s *Server) accessAgain(w http.ResponseWriter, r *http.Request, form url.Values, refused error) error {
	p, err := s.accessPage(r, form)
	if err != nil {
		return err
	}
	return s.again(w, r, "access", p, form, refused)
}

func rightsOf(names []string) (list []access.Right) {
	for _, n := range names {
		list = append(list, access.Right(n))
	}
	return list
}

func (s *Server) addOperator(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	n := console.NewOperator{Name: strings.TrimSpace(form.Get("operator-name")), Rights: rightsOf(form["operator-right"]), Again: form.Get("again") != ""}
	var made console.OperatorLink
	if err := s.call(r, http.MethodPost, "/v1/operators", n, &made); err != nil {
		return s.accessAgain(w, r, form, err)
	}
	return s.showOnce(w, r, page{Title: "One-time link of " + made.Name, Nav: "access", Crumbs: []crumb{{"Access", "/access"}}, Command: "operator add " + made.Name, API: "POST /v1/operators"},
		onceView{Says: "Give this link to " + made.Name + " by a way that you trust. It works once; with it the password is chosen.", Text: s.address(r) + made.Path, Ends: &made.Ends, Back: "Access", To: "/access"})
}

// address is that of this daemon as the browser that sent r knows it.
func (s *Server) address(r *http.Request) string {
	if origin := r.Header.Get("Origin"); strings.HasPrefix(origin, "http") {
		return origin
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func (s *Server) revokeOperator(w http.ResponseWriter, r *http.Request) error {
	return s.revoke(w, r, "/v1/operators/", "operator-revoked")
}

func (s *Server) revokeToken(w http.ResponseWriter, r *http.Request) error {
	return s.revoke(w, r, "/v1/tokens/", "token-revoked")
}

// revoke ends what the field name names.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request, path, what string) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	if err := s.call(r, http.MethodDelete, path+url.PathEscape(form.Get("name")), nil, nil); err != nil {
		return s.accessAgain(w, r, nil, err)
	}
	return done(w, r, "/access", what)
}

func (s *Server) addToken(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	t := console.NewToken{Name: strings.TrimSpace(form.Get("token-name")), Rights: rightsOf(form["token-right"]), Node: strings.TrimSpace(form.Get("token-node"))}
	if t.Expires, err = seconds(form, "token-expires"); err != nil {
		return err
	}
	var made console.NewTokenMade
	if err := s.call(r, http.MethodPost, "/v1/tokens", t, &made); err != nil {
		return s.accessAgain(w, r, form, err)
	}
	v := onceView{Says: "Put this token where its program reads it; it is sent as Authorization: Bearer.", Text: made.Secret, File: made.Name + ".token", Ends: made.Expires, Back: "Access", To: "/access"}
	return s.showOnce(w, r, page{Title: "Token " + made.Name, Nav: "access", Crumbs: []crumb{{"Access", "/access"}}, Command: "token add " + made.Name, API: "POST /v1/tokens"}, v)
}
