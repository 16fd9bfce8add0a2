package console

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/httpapi"
)

// silentAfter is how long nothing of a node is stored before it counts as silent.
const silentAfter = time.Hour

// maxNodesShown bounds one answer with nodes.
const maxNodesShown = 10_000

// NodeList is the answer of GET /v1/nodes.
type NodeList struct {
	Nodes  []Node `json:"nodes" nullable:"false"`
	Total  int    `json:"total" doc:"nodes that the parameters choose"`
	Silent int    `json:"silent" doc:"of them are silent"`
	Next   string `json:"next,omitempty" doc:"the parameter cursor of the nodes that follow; absent: there are no more"`
}

func (s *server) nodesRoute() route {
	return route{
		Method: http.MethodGet, Path: "/v1/nodes", ID: "getNodes", Right: access.Read,
		Summary: "Nodes and what is known of them",
		Doc:     "Those that were given credentials, and those of which something was stored.",
		Params: []param{
			{Name: "q", Doc: "a part of the name"},
			{Name: "sort", Enum: []string{"name", "silent", "accepted", "rejected"}, Doc: "silent: the one that was not heard of for longest first; accepted, rejected: most events first"},
			{Name: "limit", Kind: httpapi.Count, Max: maxNodesShown, Doc: "at most so many; 10,000 if not given"},
			{Name: "cursor", Doc: "next of the answer before"},
		},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "In the order asked for", Of: NodeList{}}},
		Problems: []int{400},
		Serve:    s.getNodes,
	}
}

func (s *server) nodeRoute(name param) route {
	return route{
		Method: http.MethodGet, Path: "/v1/nodes/{name}", ID: "getNode", Right: access.Read,
		Summary:  "One node",
		Params:   []param{name},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "What is known of it", Of: Node{}}},
		Problems: []int{400, 404},
		Serve:    s.getNode,
	}
}

// nodes returns all nodes, each with its account.
func (s *server) nodes() ([]Node, error) {
	list, err := s.Accounts.Nodes()
	if err != nil || s.StoreDisabled {
		return list, err
	}
	var st Status
	_, counted := s.Store.Counted(nil)
	st.fill(s.Store.Status(), counted)
	accounts := make(map[string]*NodeStatus, len(st.Nodes))
	for i := range st.Nodes {
		accounts[st.Nodes[i].Name] = &st.Nodes[i]
	}
	now := s.Now()
	for i := range list {
		n := &list[i]
		if a := accounts[n.Name]; a != nil {
			n.Account, n.LastSeen = a, a.LastHeard
		}
		if heard := cmp.Or(n.LastSeen, n.Added); heard != nil && n.State != "revoked" {
			n.Silent = now.Sub(*heard) > silentAfter
		}
	}
	return list, nil
}

func (s *server) getNodes(w http.ResponseWriter, _ *http.Request, q values) error {
	list, err := s.nodes()
	if err != nil {
		return err
	}
	if part := strings.ToLower(q.Text["q"]); part != "" {
		list = slices.DeleteFunc(list, func(n Node) bool { return !strings.Contains(strings.ToLower(n.Name), part) })
	}
	slices.SortStableFunc(list, nodeOrder(q.Text["sort"]))
	out := NodeList{Nodes: []Node{}, Total: len(list)}
	for i := range list {
		if list[i].Silent {
			out.Silent++
		}
	}
	from := 0
	if c := q.Text["cursor"]; c != "" {
		if from, err = strconv.Atoi(c); err != nil || from < 0 {
			return badRequest("query.cursor", shown(c)+" is no cursor of an answer", "give next of the answer before, or leave it out")
		}
	}
	limit := maxNodesShown
	if q.Has("limit") {
		limit = int(q.N["limit"])
	}
	from = min(from, len(list))
	to := min(from+limit, len(list))
	out.Nodes = append(out.Nodes, list[from:to]...)
	if to < len(list) {
		out.Next = strconv.Itoa(to)
	}
	return s.answer(w, http.StatusOK, out)
}

// nodeOrder compares nodes as they are asked for; those that are equal stand by
// name.
func nodeOrder(by string) func(a, b Node) int {
	account := func(n Node) NodeStatus {
		if n.Account == nil {
			return NodeStatus{}
		}
		return *n.Account
	}
	seen := func(n Node) int64 {
		if n.LastSeen == nil {
			return 0
		}
		return n.LastSeen.UnixNano()
	}
	return func(a, b Node) int {
		order := 0
		switch by {
		case "silent":
			if order = cmp.Compare(silence(b), silence(a)); order == 0 {
				order = cmp.Compare(seen(a), seen(b))
			}
		case "accepted":
			order = cmp.Compare(account(b).Accepted, account(a).Accepted)
		case "rejected":
			order = cmp.Compare(account(b).Rejected, account(a).Rejected)
		}
		return cmp.Or(order, strings.Compare(a.Name, b.Name))
	}
}

func silence(n Node) int {
	if n.Silent {
		return 1
	}
	return 0
}

func (s *server) getNode(w http.ResponseWriter, r *http.Request, _ values) error {
	list, err := s.nodes()
	if err != nil {
		return err
	}
	name := r.PathValue("name")
	i := slices.IndexFunc(list, func(n Node) bool { return n.Name == name })
	if i < 0 {
		return &Problem{Status: http.StatusNotFound, Code: codeNotFound, Message: "there is no node " + shown(name), Hint: "GET /v1/nodes lists them"}
	}
	return s.answer(w, http.StatusOK, list[i])
}
