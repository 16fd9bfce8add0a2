package access

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/credential"
)

// Ends of a session, and bounds of what is kept of sign-ins.
const (
	sessionIdle     = 2 * time.Hour  // without a request
	sessionLifetime = 24 * time.Hour // whatever happens
	sessionsMax     = 10_000
	attemptsFree    = 5 // wrong passwords of a name or an address before one has to wait
	attemptsWaitMax = 15 * time.Minute
	attemptsMax     = 10_000
	passwordMin     = 12  // characters
	passwordMax     = 256 // bytes
)

// CodeTooManyAttempts refuses a sign-in that has to wait.
const CodeTooManyAttempts = "too_many_attempts"

// Sessions are the operators who are signed in. They live in memory: a restart of
// the daemon ends them. Its methods may be called from several goroutines.
type Sessions struct {
	book   *Book
	hasher *credential.Hasher
	now    func() time.Time

	mu       sync.Mutex // protects the rest
	open     map[string]*session
	attempts map[string]*attempt
	first    string // hash of the link of the first start; "": there are operators
}

type session struct {
	operator, password string // as of signing in: another password ends it
	began, seen        time.Time
}

type attempt struct {
	failed int
	next   time.Time
}

// NewSessions returns the sessions of the operators of b; nobody is signed in.
func NewSessions(b *Book, now func() time.Time) (*Sessions, error) {
	if now == nil {
		now = time.Now
	}
	h, err := credential.NewHasher(credential.Cost{})
	if err != nil {
		return nil, err
	}
	return &Sessions{book: b, hasher: h, now: now, open: map[string]*session{}, attempts: map[string]*attempt{}}, nil
}

// FirstLink returns the secret of a link with which somebody becomes the first
// operator; empty: there is one. It is good until then, or until the next call.
func (s *Sessions) FirstLink() string {
	if len(s.book.get().Operators) > 0 {
		return ""
	}
	link, hash := credential.NewSecret("")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = hash
	return link
}

// Caller returns who has the session of a secret.
func (s *Sessions) Caller(secret string) (Caller, bool) {
	if secret == "" {
		return Caller{}, false
	}
	key, now := credential.HashSecret(secret), s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.open[key]
	if x == nil {
		return Caller{}, false
	}
	c := s.book.get()
	i := c.operator(x.operator)
	if i < 0 || c.Operators[i].Password != x.password || now.Sub(x.seen) > sessionIdle || now.Sub(x.began) > sessionLifetime {
		delete(s.open, key)
		return Caller{}, false
	}
	x.seen = now
	return Caller{Operator: x.operator, Has: c.Operators[i].Rights}, true
}

// SignIn begins a session of the operator with a name and password, and returns its
// secret. Address is where the request came from. Who has no account gets the same
// answer after the same time as who typed a wrong password.
//
// Errors: [*Error] with not_authenticated, or too_many_attempts.
func (s *Sessions) SignIn(ctx context.Context, name, password, address string) (secret string, err error) {
	subjects := []string{"name " + credential.HashSecret(strings.ToLower(name)), "address " + address}
	if wait := s.attempt(subjects); wait > 0 {
		return "", &Error{http.StatusTooManyRequests, CodeTooManyAttempts, "", "too many wrong passwords", fmt.Sprintf("try again in %v", wait.Round(time.Second))}
	}
	phc, c := "", s.book.get()
	if i := c.operator(name); i >= 0 {
		phc = c.Operators[i].Password
	}
	if len(password) > passwordMax {
		password = password[:passwordMax] + "…" // which none is
	}
	ok, err := s.hasher.Verify(ctx, password, phc)
	if err != nil {
		return "", busyHashing(err)
	}
	if !ok {
		return "", NotAuthenticated("bad_password", `look at what was typed; "meterseal operator add --again" gives a new link`, "name and password do not belong together")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, subject := range subjects {
		delete(s.attempts, subject)
	}
	return s.beginLocked(name, phc), nil
}

func busyHashing(err error) error {
	if errors.Is(err, credential.ErrBusy) {
		return &Error{http.StatusServiceUnavailable, "busy", "", "too many sign in at once", "try again in a few seconds"}
	}
	return err
}

func (s *Sessions) beginLocked(name, phc string) string {
	now := s.now()
	for key, x := range s.open {
		if now.Sub(x.seen) > sessionIdle || len(s.open) >= sessionsMax {
			delete(s.open, key)
		}
	}
	secret, hash := credential.NewSecret("")
	s.open[hash] = &session{operator: name, password: phc, began: now, seen: now}
	return secret
}

// attempt counts a try of each subject, as wrong until it proves right, and returns
// how long one has to wait before the next.
func (s *Sessions) attempt(subjects []string) time.Duration {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, subject := range subjects {
		if a := s.attempts[subject]; a != nil && now.Before(a.next) {
			return a.next.Sub(now)
		}
	}
	for _, subject := range subjects {
		a := s.attempts[subject]
		if a == nil || now.Sub(a.next) > time.Hour {
			if len(s.attempts) >= attemptsMax {
				s.forgetLocked(now)
			}
			a = &attempt{}
			s.attempts[subject] = a
		}
		a.failed, a.next = a.failed+1, now
		if over := a.failed - attemptsFree; over >= 0 {
			a.next = now.Add(min(time.Second<<min(over, 20), attemptsWaitMax))
		}
	}
	return 0
}

// forgetLocked makes room: what has not to wait any more goes, or everything.
func (s *Sessions) forgetLocked(now time.Time) {
	for subject, a := range s.attempts {
		if now.After(a.next) {
			delete(s.attempts, subject)
		}
	}
	if len(s.attempts) >= attemptsMax {
		clear(s.attempts)
	}
}

// SignOut ends a session.
func (s *Sessions) SignOut(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, credential.HashSecret(secret))
}

// Linked returns whose a one-time link is; the first operator's before there is one.
func (s *Sessions) Linked(link string) (name string, ok bool) {
	c := s.book.get()
	if i := c.linked(link, s.book.now()); i >= 0 {
		return c.Operators[i].Name, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first != "" && s.first == credential.HashSecret(link) && len(c.Operators) == 0 {
		return FirstOperator, true
	}
	return "", false
}

// UseLink gives the operator of a one-time link a password, and signs him in; the
// link ends. Name is what the first operator wants to be called.
func (s *Sessions) UseLink(ctx context.Context, link, name, password string) (secret string, err error) {
	gone := &Error{http.StatusForbidden, CodeNotAllowed, "link", "the link was used, or its time is over", `"meterseal operator add --again" gives a new one`}
	owner, ok := s.Linked(link)
	if !ok {
		return "", gone
	}
	if err := checkPassword(password); err != nil {
		return "", err
	}
	phc, err := s.hasher.Hash(ctx, password)
	if err != nil {
		return "", busyHashing(err)
	}
	s.mu.Lock()
	first := s.first != "" && s.first == credential.HashSecret(link)
	s.mu.Unlock()
	if !first {
		name = owner
	} else if !events.ValidName(name) {
		return "", malformed("%q is no name of an operator", "use letters, digits, - and _", name)
	}
	err = s.book.change(func(c *content) error {
		i := c.linked(link, s.book.now())
		if first && len(c.Operators) == 0 {
			c.Operators = append(c.Operators, Operator{Name: name, Rights: allRights(), Added: s.book.stamp()})
			i = 0
		}
		if i < 0 {
			return gone
		}
		o := &c.Operators[i]
		o.Password, o.Link, o.LinkEnds = phc, "", time.Time{}
		return nil
	})
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = ""
	return s.beginLocked(name, phc), nil
}

// allRights are those of the first operator.
func allRights() []Right {
	list, _ := ParseRights("all") // it is a word that ParseRights knows
	return list
}

func checkPassword(password string) error {
	kinds := map[rune]bool{}
	for _, r := range password {
		kinds[r] = true
	}
	const hint = "a few words that do not belong together are easy to keep in mind"
	switch {
	case utf8.RuneCountInString(password) < passwordMin:
		return malformed("the password is too short: want %d characters or more", hint, passwordMin)
	case len(password) > passwordMax:
		return malformed("the password is too long: want at most %d bytes", hint, passwordMax)
	case len(kinds) < 5:
		return malformed("the password repeats too few characters", hint)
	}
	return nil
}
