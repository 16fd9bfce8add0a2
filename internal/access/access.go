// Package access keeps who may do what at a site: nodes with their credentials,
// the tokens of its HTTP API with their rights, and the operators who sign in to
// its pages.
//
// It is one small file in the data directory. No secret stands in it: of a node
// it has the public key, of a token and of a password the hash. What a node or the holder of a
// token needs is handed out once, when it is made.
package access

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Right is what a token lets its holder do over HTTP.
type Right string

// Rights. None of them implies another.
const (
	Events Right = "events" // send usage events
	Allow  Right = "allow"  // ask "may I?", reserve, consume
	Seats  Right = "seats"  // take seats and give them back
	Read   Right = "read"   // usage, status, license, metrics, what was refused
	Report Right = "report" // write usage reports
	Import Right = "import" // take replies and licenses into use
	Enroll Right = "enroll" // get credentials for one more node
	Admin  Right = "admin"  // nodes, tokens, backups, keys, the end of the ledger

	// Public is the right that everybody has, with a token or without: health and
	// documents. No token names it.
	Public Right = "public"
)

// Rights lists those that a token can have.
var Rights = []Right{Events, Allow, Seats, Read, Report, Import, Enroll, Admin}

// ParseRights reads rights with commas between them; "all" is each but enroll.
func ParseRights(s string) ([]Right, error) {
	var list []Right
	for _, name := range strings.Split(s, ",") {
		name = strings.TrimSpace(name)
		switch r := Right(name); {
		case name == "all":
			list = append(list, slices.DeleteFunc(slices.Clone(Rights), func(r Right) bool { return r == Enroll })...)
		case slices.Contains(Rights, r):
			list = append(list, r)
		default:
			return nil, malformed("there is no right %q", "rights are "+rightNames()+", or all", name)
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

func rightNames() string {
	names := make([]string, len(Rights))
	for i, r := range Rights {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}

// A Caller is who sent a request.
type Caller struct {
	Token    string  // name of the token; "": none was shown
	Operator string  // who is signed in to the pages; "": nobody
	Node     string  // the only node that it may speak for; "": any
	Has      []Right // what it may do
}

// Everything is the caller that may do all there is.
var Everything = Caller{Has: Rights}

// May tells whether c has a right.
func (c Caller) May(r Right) bool { return r == Public || slices.Contains(c.Has, r) }

// An Error says why somebody was refused, or a change of the book.
type Error struct {
	Status  int    // of HTTP
	Code    string // stable
	Reason  string // finer than Code, for counters, such as "revoked"
	Message string
	Hint    string
}

// Error returns "code: message".
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Codes of refusals and of changes that cannot be made.
const (
	CodeNotAuthenticated = "not_authenticated" // no credentials, or none that are good
	CodeNotAllowed       = "not_allowed"       // good ones, without this right
	CodeWrongNode        = "wrong_node"        // good ones, of another node
	CodeExists           = "name_taken"        // a node or token of this name is there
	CodeUnknown          = "not_found"         // there is none
	codeMalformed        = "malformed"
)

// NotAuthenticated refuses whoever did not show who he is.
func NotAuthenticated(reason, hint, format string, args ...any) *Error {
	return &Error{http.StatusUnauthorized, CodeNotAuthenticated, reason, fmt.Sprintf(format, args...), hint}
}

func malformed(format, hint string, args ...any) *Error {
	return &Error{http.StatusBadRequest, codeMalformed, "", fmt.Sprintf(format, args...), hint}
}

func taken(what, name, hint string) *Error {
	return &Error{http.StatusConflict, CodeExists, "", fmt.Sprintf("%s %q is there already", what, name), hint}
}

func unknown(what, name string) *Error {
	return &Error{http.StatusNotFound, CodeUnknown, "", fmt.Sprintf("there is no %s %q", what, name), "meterseal " + what + " list"}
}

// over tells whether an instant has come; the zero time never does.
func over(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }
