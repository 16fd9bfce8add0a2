package web

import (
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/pages"
)

func (s *Server) nodeRoutes() []Route {
	return []Route{
		{"GET", "/nodes", access.Read, s.nodes},
		{"POST", "/nodes", access.Admin, s.addNode},
		{"GET", "/nodes/{name}", access.Read, s.node},
		{"POST", "/nodes/{name}/rotate", access.Admin, s.rotateNode},
		{"POST", "/nodes/{name}/revoke", access.Admin, s.revokeNode},
	}
}

// nodesAtOnce is how many nodes a page lists.
const nodesAtOnce = 100

var nodeOrders = []choice{
	{"silent", "Silent first"},
	{"name", "Name"},
	{"accepted", "Most events"},
	{"rejected", "Most rejected"},
}

// lifetimes are how long something that is given out is good; in seconds.
var lifetimes = []choice{
	{"", "for ever"},
	{"86400", "1 day"},
	{"604800", "7 days"},
	{"2592000", "30 days"},
	{"7776000", "90 days"},
	{"31536000", "365 days"},
}

var graces = []choice{
	{"", "end at once"},
	{"3600", "are good for 1 more hour"},
	{"86400", "are good for 1 more day"},
	{"604800", "are good for 7 more days"},
}

// nodesData is for the list.
type nodesData struct {
	console.NodeList
	Q, Sort string
	Orders  []choice
	Later   bool // it does not begin with the first node
	Spans   []choice
}

func (s *Server) nodesPage(r *http.Request) (page, error) {
	q := chosen(r.URL.Query(), "q", "sort", "cursor")
	if q.Get("sort") == "" {
		q.Set("sort", nodeOrders[0].Value)
	}
	d := nodesData{Q: q.Get("q"), Sort: q.Get("sort"), Orders: nodeOrders, Later: q.Has("cursor"), Spans: lifetimes}
	q.Set("limit", strconv.Itoa(nodesAtOnce))
	path := "/v1/nodes?" + q.Encode()
	err := s.get(r, path, &d.NodeList)
	return page{Title: "Nodes", Nav: "nodes", Data: d, Command: "node list", API: "GET " + path}, err
}

func (s *Server) nodes(w http.ResponseWriter, r *http.Request) error {
	p, err := s.nodesPage(r)
	if err != nil {
		return err
	}
	return s.show(w, r, "nodes", p)
}

func (s *Server) addNode(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	expires, err := seconds(form, "expires")
	if err != nil {
		return err
	}
	var made console.NodeCredentials
	if err := s.call(r, http.MethodPost, "/v1/nodes", console.NewNode{Name: form.Get("name"), Expires: expires}, &made); err != nil {
		p, broken := s.nodesPage(r)
		if broken != nil {
			return broken
		}
		return s.again(w, r, "nodes", p, form, err)
	}
	return s.showCredentials(w, r, made, "node add "+made.Node)
}

// seconds reads a choice of lifetimes or graces.
func seconds(form url.Values, name string) (uint64, error) {
	v := form.Get(name)
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return 0, &Problem{Status: http.StatusBadRequest, Code: "malformed", Message: name + " is " + strconv.Quote(v) + ", which is no number of seconds", Hint: "open the page again and choose"}
	}
	return n, nil
}

// onceView is a secret that was just made. Only the answer to the request that made
// it shows it: no page that can be opened again does.
type onceView struct {
	Says        string // for whom it is
	Text        string
	File        string // name to save it under; empty: it is no file
	Link        template.URL
	InboxPrefix string
	Ends        *time.Time // nil: never
	Back, To    string
}

func (s *Server) showOnce(w http.ResponseWriter, r *http.Request, p page, v onceView) error {
	if v.File != "" {
		v.Link = fileLink("application/octet-stream", []byte(v.Text))
	}
	p.Data = v
	w.Header().Set("Cache-Control", "no-store")
	return s.show(w, r, "once", p)
}

// fileLink is an address that has a whole file in it, so that it can be saved
// without asking for it again.
func fileLink(kind string, data []byte) template.URL {
	return template.URL("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(data))
}

func (s *Server) showCredentials(w http.ResponseWriter, r *http.Request, made console.NodeCredentials, command string) error {
	to := "/nodes/" + url.PathEscape(made.Node)
	return s.showOnce(w, r, page{Title: "Credentials of node " + made.Node, Nav: "nodes", Crumbs: []crumb{{"Nodes", "/nodes"}, {made.Node, to}}, Command: command},
		onceView{Says: "Carry this file to node " + made.Node + ".", Text: made.Credentials, File: made.Node + ".creds", InboxPrefix: made.InboxPrefix, Back: "The node", To: to})
}

// nodeData is for one node.
type nodeData struct {
	console.Node
	Gaps          []export.Gap // of it, or of all nodes, in what the next report covers
	GapsKnown     bool
	Spans, Graces []choice
}

func (s *Server) nodePage(r *http.Request) (page, error) {
	name := r.PathValue("name")
	path := "/v1/nodes/" + url.PathEscape(name)
	d := nodeData{Spans: lifetimes, Graces: graces}
	p := page{Title: "Node " + name, Nav: "nodes", Crumbs: []crumb{{"Nodes", "/nodes"}}, Command: "node list", API: "GET " + path}
	if err := s.get(r, path, &d.Node); err != nil {
		return p, err
	}
	var preview console.ReportPreview
	if err := s.get(r, "/v1/report/preview", &preview); err == nil {
		d.GapsKnown = true
		for _, g := range preview.Gaps {
			if g.Node == name || g.Node == "*" {
				d.Gaps = append(d.Gaps, g)
			}
		}
	}
	p.Data = d
	return p, nil
}

func (s *Server) node(w http.ResponseWriter, r *http.Request) error {
	p, err := s.nodePage(r)
	if err != nil {
		return err
	}
	return s.show(w, r, "node", p)
}

// nodeAgain shows the node with why what was asked for it was refused.
func (s *Server) nodeAgain(w http.ResponseWriter, r *http.Request, form url.Values, refused error) error {
	p, err := s.nodePage(r)
	if err != nil {
		return err
	}
	return s.again(w, r, "node", p, form, refused)
}

func (s *Server) rotateNode(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	var n console.NewCredentials
	if n.Grace, err = seconds(form, "grace"); err != nil {
		return err
	}
	if n.Expires, err = seconds(form, "expires"); err != nil {
		return err
	}
	var made console.NodeCredentials
	if err := s.call(r, http.MethodPost, "/v1/nodes/"+url.PathEscape(r.PathValue("name"))+"/rotate", n, &made); err != nil {
		return s.nodeAgain(w, r, form, err)
	}
	return s.showCredentials(w, r, made, "node rotate "+made.Node)
}

func (s *Server) revokeNode(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	name := url.PathEscape(r.PathValue("name"))
	path := "/v1/nodes/" + name
	if form.Get("unseen") != "" {
		path += "?unseen=true"
	}
	if err := s.call(r, http.MethodDelete, path, nil, nil); err != nil {
		return s.nodeAgain(w, r, form, err)
	}
	return done(w, r, "/nodes/"+name, "node-revoked")
}

// nodeKind is the colour of the state of a node's credentials.
func nodeKind(state string) string {
	return map[string]string{"good": "good", "expired": "warn", "revoked": "bad"}[state]
}

// lasting writes a number of seconds as people say it.
func lasting(n int64) string {
	for _, u := range [...]struct {
		seconds int64
		name    string
	}{{86400, "day"}, {3600, "hour"}, {60, "minute"}} {
		if n >= u.seconds && n%u.seconds == 0 {
			return pages.Plural(n/u.seconds, u.name)
		}
	}
	return pages.Plural(n, "second")
}
