package console

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/access"
)

// Tokens knows who shows a token.
type Tokens interface {
	// Caller returns whose it is, or an *access.Error.
	Caller(secret string) (access.Caller, error)
}

// maxInFlight is how many requests of one caller are answered at once.
const maxInFlight = 256

// callers counts the requests that are under way.
type callers struct {
	mu sync.Mutex // protects n
	n  map[string]int
}

// begin counts a request of who; false: he has enough under way.
func (c *callers) begin(who string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n[who] >= maxInFlight {
		return false
	}
	c.n[who]++
	return true
}

func (c *callers) end(who string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n[who]--; c.n[who] == 0 {
		delete(c.n, who)
	}
}

type callerKey struct{}

// CallerOf returns who sent a request that the guard of [New] let through.
func CallerOf(r *http.Request) access.Caller {
	c, _ := r.Context().Value(callerKey{}).(access.Caller)
	return c
}

// Sessions knows who is signed in to the pages.
type Sessions interface {
	// Caller returns whose session has a secret.
	Caller(secret string) (access.Caller, bool)
}

// SessionCookie is the name of the cookie with the secret of a session. With TLS it
// has the prefix __Host-, so that no other host of the domain can set it. Cookies
// do not know ports: the name differs from that of other servers on the machine.
func SessionCookie(r *http.Request) string {
	if r.TLS != nil {
		return "__Host-meterseal-site"
	}
	return "meterseal-site"
}

// session returns who is signed in. A request that changes something and does not
// say from which page it comes is not a browser's: no cookie counts.
func (s *server) session(r *http.Request) (access.Caller, bool) {
	c, err := r.Cookie(SessionCookie(r))
	if err != nil || s.Sessions == nil {
		return access.Caller{}, false
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && !fromBrowser(r) {
		return access.Caller{}, false
	}
	return s.Sessions.Caller(c.Value)
}

// fromBrowser tells whether a page in a browser sent r: browsers say where a request
// comes from, and no page can keep them from it.
func fromBrowser(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Site") != "" || r.Header.Get("Origin") != ""
}

// identify says who sends each request. A token that is shown has to be good, a
// session is that of an operator. Without either a program of this machine may do
// everything and a page in a browser of it may read, unless a token is wanted there
// too; anybody else only what is public.
func (s *server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var c access.Caller
		who := RemoteHost(r)
		secret, shown := bearer(r)
		operator, signedIn := s.session(r)
		switch {
		case shown && s.Tokens != nil:
			var err error
			if c, err = s.Tokens.Caller(secret); err != nil {
				s.refuse(w, r, problemOf(err))
				return
			}
			who = "token " + c.Token
		case !s.hostAllowed(r) && (signedIn || s.fromHere(r)):
			s.refuse(w, r, wrongHost(r))
			return
		case signedIn:
			c, who = operator, "operator "+operator.Operator
		case !s.fromHere(r) || s.LoopbackToken:
		case s.Sessions != nil && fromBrowser(r):
			c = access.Caller{Has: []access.Right{access.Read}}
		default:
			c = access.Everything
		}
		if !s.callers.begin(who) {
			s.refuse(w, r, &Problem{Status: http.StatusTooManyRequests, Code: events.CodeBusy,
				Message: who + " has as many requests under way as may be", Hint: "send them again a little later"})
			return
		}
		defer s.callers.end(who)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

// permit returns why the sender of r may not use a route; nil: it may.
func (s *server) permit(r *http.Request, right access.Right) error {
	c := CallerOf(r)
	switch {
	case c.May(right):
		return nil
	case c.Token != "":
		return access.NotAllowed(c.Token, right)
	case c.Operator != "":
		return &access.Error{Status: http.StatusForbidden, Code: access.CodeNotAllowed, Message: "operator " + c.Operator + " has not the right " + string(right),
			Hint: `"meterseal operator add --again --rights" gives it`}
	case fromBrowser(r):
		return access.NotAuthenticated("no_session", "sign in as an operator of this site; reading on its own machine needs none", "%s %s needs an operator with the right %s", r.Method, r.URL.Path, right)
	}
	return access.NotAuthenticated("no_token", `send "Authorization: Bearer TOKEN"; "meterseal token add" makes one`,
		"%s %s needs a token with the right %s", r.Method, r.URL.Path, right)
}

// speakFor returns the node in whose name r is sent: the one that its token is
// bound to, or the one that is named. Naming another is refused.
func speakFor(r *http.Request, named string) (string, error) {
	bound := CallerOf(r).Node
	switch {
	case bound == "":
		return named, nil
	case named != "" && named != bound:
		return bound, wrongNode(bound, named)
	}
	return bound, nil
}

func wrongNode(bound, named string) *events.Error {
	return &events.Error{Code: events.CodeWrongNode, Field: "node", Message: "the token is that of node " + bound + ", and node " + shown(named) + " is named",
		Hint: "leave the node out, or use a token of that node"}
}

// bearer returns the token of r.
func bearer(r *http.Request) (secret string, shown bool) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(secret), true
}

// fromHere tells whether a program of this machine sent r, and not for somebody
// else: who passes requests on says so.
func (s *server) fromHere(r *http.Request) bool {
	for _, passed := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip"} {
		if r.Header.Get(passed) != "" {
			return false
		}
	}
	if viaUnix(r) {
		return true
	}
	ip, err := netip.ParseAddr(RemoteHost(r))
	return err == nil && ip.Unmap().IsLoopback()
}

func viaUnix(r *http.Request) bool {
	a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && a.Network() == "unix"
}

// RemoteHost is the address that r came from, without its port.
func RemoteHost(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// noteRefusal tells of a request that was refused for who sent it, or how much.
func (s *server) noteRefusal(r *http.Request, p *Problem) {
	if s.OnRefusal == nil {
		return
	}
	c := CallerOf(r)
	reason := p.reason
	if reason == "" {
		reason = p.Code
	}
	s.OnRefusal(access.Refusal{Listener: "http", Reason: reason, Node: c.Node, Token: c.Token, Remote: RemoteHost(r),
		What: r.Method + " " + r.URL.Path, Message: p.Message, Hint: p.Hint})
}
