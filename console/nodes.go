package console

import (
	"net/http"
	"time"

	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/httpapi"
)

// Accounts has the nodes, tokens and operators of the site and changes them. Errors of type
// *access.Error are answered as such.
type Accounts interface {
	Nodes() ([]Node, error)
	AddNode(n NewNode) (NodeCredentials, error)
	RotateNode(name string, n NewCredentials) (NodeCredentials, error)
	// RevokeNode ends all that is good of a node and closes its connections; unseen
	// says that it need not have been added.
	RevokeNode(name string, unseen bool) error
	// Enroll is AddNode for whoever has a token for it.
	Enroll(secret, node string) (NodeCredentials, error)
	Tokens() ([]Token, error)
	AddToken(t NewToken) (NewTokenMade, error)
	RevokeToken(name string) error
	Operators() ([]Operator, error)
	AddOperator(n NewOperator) (OperatorLink, error)
	RevokeOperator(name string) error
}

// Node is a node that may prove who it is, or that the ledger knows.
type Node struct {
	Name        string      `json:"name"`
	State       string      `json:"state" enum:"good,expired,revoked,none" doc:"of its credentials; none: it has not been given any, and sends from the machine of the daemon or with a certificate"`
	Added       *time.Time  `json:"added,omitempty"`
	Revoked     *time.Time  `json:"revoked,omitempty"`
	Keys        []NodeKey   `json:"keys" nullable:"false" doc:"public keys of its credentials"`
	LastSeen    *time.Time  `json:"last_seen,omitempty" doc:"when something of it was stored last"`
	SeenSize    uint64      `json:"seen_size,omitempty" doc:"of the newest checkpoint that it said it holds"`
	CountedSeq  uint64      `json:"counted_seq,omitempty" doc:"numbers of it below are counted on disk; only of a node that numbers its events"`
	Connections int         `json:"connections" doc:"with its credentials, at present"`
	Refused     string      `json:"refused,omitempty" doc:"why it was refused last, since the start"`
	RefusedAt   *time.Time  `json:"refused_at,omitempty"`
	Hint        string      `json:"hint,omitempty" doc:"what to do about it"`
	Silent      bool        `json:"silent" doc:"it may send, or did, and nothing of it was stored for an hour"`
	Account     *NodeStatus `json:"account,omitempty" doc:"of its events, as in GET /v1/status; absent: nothing of it was stored yet"`
}

// NodeKey is the public half of credentials.
type NodeKey struct {
	Key     string     `json:"key"`
	Added   time.Time  `json:"added"`
	Expires *time.Time `json:"expires,omitempty"`
	Until   *time.Time `json:"until,omitempty" doc:"it was replaced, and is good until then"`
}

// NewNode is a node to be added.
type NewNode struct {
	Name    string `json:"name" maxLength:"128"`
	Expires uint64 `json:"expires_seconds,omitempty" doc:"how long its credentials are good; for ever if not given"`
}

// NewCredentials are those that replace the ones of a node.
type NewCredentials struct {
	Grace   uint64 `json:"grace_seconds,omitempty" doc:"how long the old ones are still good"`
	Expires uint64 `json:"expires_seconds,omitempty" doc:"how long the new ones are good; for ever if not given"`
}

// NodeCredentials are what a node gets. Nobody can tell them later.
type NodeCredentials struct {
	Node        string `json:"node"`
	Credentials string `json:"credentials" doc:"a credentials file of NATS: user JWT and seed"`
	Key         string `json:"key" doc:"the public key in it"`
	InboxPrefix string `json:"inbox_prefix" doc:"what the client has to set as its inbox prefix"`
}

// Token is what is known of a token.
type Token struct {
	Name    string         `json:"name"`
	Rights  []access.Right `json:"rights" nullable:"false"`
	Node    string         `json:"node,omitempty" doc:"the only node that it may speak for"`
	Added   time.Time      `json:"added"`
	Expires *time.Time     `json:"expires,omitempty"`
	Uses    int            `json:"uses,omitempty" doc:"of the right enroll: nodes that it may still add"`
	Again   bool           `json:"again,omitempty" doc:"of the right enroll: also nodes that are there"`
}

// NewToken is a token to be added.
type NewToken struct {
	Name    string         `json:"name" maxLength:"128"`
	Rights  []access.Right `json:"rights" nullable:"false" doc:"events, allow, seats, read, report, import, enroll, admin"`
	Node    string         `json:"node,omitempty" maxLength:"128" doc:"the only node that it may speak for"`
	Expires uint64         `json:"expires_seconds,omitempty" doc:"how long it is good; for ever if not given"`
	Uses    int            `json:"uses,omitempty" doc:"of the right enroll: how many nodes it may add"`
	Again   bool           `json:"again,omitempty" doc:"of the right enroll: it may replace credentials of nodes that are there"`
}

// NewTokenMade is a token with its secret. Nobody can tell it later.
type NewTokenMade struct {
	Token
	Secret string `json:"token" doc:"send it as Authorization: Bearer"`
}

// TokenList is the answer of GET /v1/tokens.
type TokenList struct {
	Tokens []Token `json:"tokens" nullable:"false"`
}

// enrollBody asks for credentials.
type enrollBody struct {
	Node string `json:"node" maxLength:"128" doc:"its name"`
}

func (s *server) nodeRoutes() []route {
	if s.Accounts == nil {
		return nil
	}
	name := param{Name: "name", In: "path", Doc: "the node"}
	credentials := content{Status: http.StatusOK, MediaType: jsonType, Doc: "Its credentials, this once", Of: NodeCredentials{}}
	return []route{s.nodesRoute(), s.nodeRoute(name), {
		Method: http.MethodPost, Path: "/v1/nodes", ID: "addNode", Right: access.Admin,
		Summary:  "Add a node",
		Doc:      "Makes credentials, which the node shows to the NATS server, and answers them this once. They count at once.",
		Body:     []content{{MediaType: jsonType, Of: NewNode{}}},
		Answers:  []content{credentials},
		Problems: []int{400, 409, 413, 415},
		Serve: withBody(s, func(w http.ResponseWriter, _ *http.Request, n NewNode) error {
			out, err := s.Accounts.AddNode(n)
			return s.handOut(w, out, err, "node added", "node", n.Name)
		}),
	}, {
		Method: http.MethodPost, Path: "/v1/nodes/{name}/rotate", ID: "rotateNode", Right: access.Admin,
		Summary:  "Replace the credentials of a node",
		Doc:      "The old ones end at once, or after the grace; connections with them are closed then.",
		Params:   []param{name},
		Body:     []content{{MediaType: jsonType, Of: NewCredentials{}}},
		Answers:  []content{credentials},
		Problems: []int{400, 404, 413, 415},
		Serve: withBody(s, func(w http.ResponseWriter, r *http.Request, n NewCredentials) error {
			out, err := s.Accounts.RotateNode(r.PathValue("name"), n)
			return s.handOut(w, out, err, "credentials of node replaced", "node", out.Node)
		}),
	}, {
		Method: http.MethodDelete, Path: "/v1/nodes/{name}", ID: "revokeNode", Right: access.Admin,
		Summary:  "End the credentials of a node",
		Doc:      "Its connections are closed. A client certificate with its name is not good any more either. What it has sent stays counted.",
		Params:   []param{name, {Name: "unseen", Kind: httpapi.Flag, Doc: "also a node that was never added, so that no certificate may use the name"}},
		Answers:  []content{{Status: http.StatusNoContent, Doc: "It is revoked"}},
		Problems: []int{400, 404},
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			return s.gone(w, s.Accounts.RevokeNode(r.PathValue("name"), q.Flag["unseen"]), "node revoked", "node", r.PathValue("name"))
		},
	}, {
		Method: http.MethodPost, Path: "/v1/enroll", ID: "enroll", Right: access.Enroll,
		Summary:  "Get credentials for one more node",
		Doc:      "For fleets: the token says how many nodes may come with it. A name that is taken is refused, unless the token allows it again.",
		Body:     []content{{MediaType: jsonType, Of: enrollBody{}}},
		Answers:  []content{credentials},
		Problems: []int{400, 409, 413, 415},
		Serve: withBody(s, func(w http.ResponseWriter, r *http.Request, n enrollBody) error {
			secret, _ := bearer(r)
			out, err := s.Accounts.Enroll(secret, n.Node)
			return s.handOut(w, out, err, "node enrolled", "node", n.Node)
		}),
	}}
}

func (s *server) tokenRoutes() []route {
	if s.Accounts == nil {
		return nil
	}
	return []route{{
		Method: http.MethodGet, Path: "/v1/tokens", ID: "getTokens", Right: access.Admin,
		Summary:  "Tokens and their rights",
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "By name, without the secrets", Of: TokenList{}}},
		Problems: []int{400},
		Serve: func(w http.ResponseWriter, _ *http.Request, _ values) error {
			list, err := s.Accounts.Tokens()
			if err != nil {
				return err
			}
			return s.answer(w, http.StatusOK, TokenList{append([]Token{}, list...)})
		},
	}, {
		Method: http.MethodPost, Path: "/v1/tokens", ID: "addToken", Right: access.Admin,
		Summary:  "Add a token",
		Doc:      "Its secret is answered this once; the site keeps a hash.",
		Body:     []content{{MediaType: jsonType, Of: NewToken{}}},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "The token, this once", Of: NewTokenMade{}}},
		Problems: []int{400, 409, 413, 415},
		Serve: withBody(s, func(w http.ResponseWriter, _ *http.Request, t NewToken) error {
			out, err := s.Accounts.AddToken(t)
			return s.handOut(w, out, err, "token added", "token", t.Name)
		}),
	}, {
		Method: http.MethodDelete, Path: "/v1/tokens/{name}", ID: "revokeToken", Right: access.Admin,
		Summary:  "End a token",
		Params:   []param{{Name: "name", In: "path", Doc: "the token"}},
		Answers:  []content{{Status: http.StatusNoContent, Doc: "It is gone"}},
		Problems: []int{400, 404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			return s.gone(w, s.Accounts.RevokeToken(r.PathValue("name")), "token revoked", "token", r.PathValue("name"))
		},
	}}
}

// withBody reads a body of JSON, which may be left out where all of it may.
func withBody[T any](s *server, serve func(http.ResponseWriter, *http.Request, T) error) func(http.ResponseWriter, *http.Request, values) error {
	return func(w http.ResponseWriter, r *http.Request, _ values) error {
		var body T
		if _, err := readJSON(r, &body); err != nil {
			return err
		}
		return serve(w, r, body)
	}
}

// handOut answers what was made, and notes in the log that it was.
func (s *server) handOut(w http.ResponseWriter, out any, err error, what, key, name string) error {
	if err != nil {
		return err
	}
	s.Log.Info(what, key, name)
	return s.answer(w, http.StatusOK, out)
}

func (s *server) gone(w http.ResponseWriter, err error, what, key, name string) error {
	if err != nil {
		return err
	}
	s.Log.Info(what, key, name)
	w.WriteHeader(http.StatusNoContent)
	return nil
}
