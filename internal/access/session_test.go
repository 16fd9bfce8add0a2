package access

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/credential"
)

const password = "four words of no song"

func openSessions(t *testing.T) (*Sessions, *Book, *clock) {
	t.Helper()
	b, c := openBook(t)
	s := must(NewSessions(b, c.now))
	s.hasher = must(credential.NewHasher(credential.Cost{MemoryKiB: 64, Passes: 1, Threads: 1})) // what a password costs is tested with the hasher
	return s, b, c
}

// refusalOf is the code of a refusal; "": there is none.
func refusalOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// The link of the first start makes an operator with every right, once; nothing
// that signs in stands in the file.
func TestFirstOperator(t *testing.T) {
	s, b, _ := openSessions(t)
	old := s.FirstLink()
	link := s.FirstLink()
	if _, ok := s.Linked(old); ok {
		t.Error("the link before the last one is good")
	}
	if _, err := s.UseLink(t.Context(), link, "kim", "short"); refusalOf(err) != codeMalformed {
		t.Errorf("UseLink with a short password = %v, want %s", err, codeMalformed)
	}
	secret, err := s.UseLink(t.Context(), link, "kim", password)
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := s.Caller(secret); !ok || c.Operator != "kim" || !c.May(Admin) || !c.May(Report) || c.May(Enroll) {
		t.Errorf("Caller = %+v, %v, want kim with every right but enroll", c, ok)
	}
	if _, err := s.UseLink(t.Context(), link, "eve", password); refusalOf(err) != CodeNotAllowed {
		t.Errorf("UseLink again = %v, want %s", err, CodeNotAllowed)
	}
	if got := s.FirstLink(); got != "" {
		t.Errorf("FirstLink with an operator = %q, want none", got)
	}
	file := must(os.ReadFile(filepath.Join(b.dir, FileName)))
	for _, s := range []string{link, secret, password} {
		if bytes.Contains(file, []byte(s)) {
			t.Errorf("%s stands in the file", s)
		}
	}
}

// A session ends when nobody uses it, after a day, with another password or link,
// and with its operator.
func TestSessionEnds(t *testing.T) {
	s, b, c := openSessions(t)
	link, ends, err := b.AddOperator("kim", []Right{Read}, false)
	if err != nil || ends != c.at.Add(LinkLifetime) {
		t.Fatalf("AddOperator = %v, %v, want a link for a day", ends, err)
	}
	if _, err := s.SignIn(t.Context(), "kim", "", "192.0.2.1"); refusalOf(err) != CodeNotAuthenticated {
		t.Errorf("SignIn without a password yet = %v, want %s", err, CodeNotAuthenticated)
	}
	must(s.UseLink(t.Context(), link, "", password))
	in := func() string { return must(s.SignIn(t.Context(), "kim", password, "192.0.2.1")) }
	good := func(secret string) bool { _, ok := s.Caller(secret); return ok }

	idle := in()
	c.at = c.at.Add(sessionIdle - time.Minute)
	if !good(idle) {
		t.Error("a session ended before its time")
	}
	c.at = c.at.Add(sessionIdle + time.Minute)
	if good(idle) {
		t.Error("a session is open that nobody used")
	}
	long := in()
	for range 24 {
		c.at = c.at.Add(time.Hour)
		good(long)
	}
	c.at = c.at.Add(time.Minute)
	if good(long) {
		t.Error("a session is open after a day")
	}
	out := in()
	s.SignOut(out)
	if good(out) {
		t.Error("a session is open after signing out")
	}
	again := in()
	linkOf(b.AddOperator("kim", nil, true))
	if good(again) {
		t.Error("a session is open though its operator was given a new link")
	}
	link = linkOf(b.AddOperator("kim", []Right{Read, Report}, true))
	c.at = c.at.Add(LinkLifetime)
	if _, err := s.UseLink(t.Context(), link, "", password); refusalOf(err) != CodeNotAllowed {
		t.Errorf("UseLink after a day = %v, want %s", err, CodeNotAllowed)
	}
	must(s.UseLink(t.Context(), linkOf(b.AddOperator("kim", nil, true)), "", password))
	gone := in()
	if c, _ := s.Caller(gone); !slices.Equal(c.Has, []Right{Read, Report}) {
		t.Errorf("rights = %v, want read and report", c.Has)
	}
	if err := b.RevokeOperator("kim"); err != nil || good(gone) {
		t.Errorf("RevokeOperator = %v, session open: %v", err, good(gone))
	}
}

func linkOf[T, U any](v T, _ U, err error) T { return must(v, err) }

// After five wrong passwords one waits, longer each time, by name and by address;
// the right one does not help while one waits, and ends the waiting afterwards.
func TestWrongPasswords(t *testing.T) {
	s, b, c := openSessions(t)
	must(s.UseLink(t.Context(), linkOf(b.AddOperator("kim", []Right{Read}, false)), "", password))
	try := func(name, word, address string) string {
		_, err := s.SignIn(t.Context(), name, word, address)
		return refusalOf(err)
	}
	for i := range attemptsFree {
		if got := try("kim", "wrong", "192.0.2.1"); got != CodeNotAuthenticated {
			t.Fatalf("wrong password %d = %s, want %s", i, got, CodeNotAuthenticated)
		}
	}
	for _, who := range [][2]string{{"kim", "192.0.2.9"}, {"bo", "192.0.2.1"}} {
		if got := try(who[0], password, who[1]); got != CodeTooManyAttempts {
			t.Errorf("%s from %s = %q, want %s", who[0], who[1], got, CodeTooManyAttempts)
		}
	}
	c.at = c.at.Add(time.Second)
	if got := try("kim", "wrong", "192.0.2.1"); got != CodeNotAuthenticated {
		t.Errorf("after the wait = %q, want %s", got, CodeNotAuthenticated)
	}
	c.at = c.at.Add(time.Second)
	if got := try("kim", password, "192.0.2.1"); got != CodeTooManyAttempts {
		t.Errorf("before the longer wait is over = %q, want %s", got, CodeTooManyAttempts)
	}
	c.at = c.at.Add(time.Minute)
	if got := try("kim", password, "192.0.2.1"); got != "" {
		t.Errorf("the right password after the wait = %q, want a session", got)
	}
	if got := try("kim", "wrong", "192.0.2.1"); got != CodeNotAuthenticated {
		t.Errorf("a wrong one after it = %q, want %s", got, CodeNotAuthenticated)
	}
	if got := try("kim", strings.Repeat("x", 1<<20), "192.0.2.1"); got != CodeNotAuthenticated {
		t.Errorf("a megabyte = %q, want %s", got, CodeNotAuthenticated)
	}
}
