package access

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// clock is one that a test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func openBook(t *testing.T) (*Book, *clock) {
	t.Helper()
	dir := t.TempDir()
	c := &clock{time.Date(2026, 11, 3, 8, 0, 0, 0, time.UTC)}
	return reopen(t, dir, c), c
}

func reopen(t *testing.T, dir string, c *clock) *Book {
	t.Helper()
	b, err := Open(dir, filepath.Join(dir, "keys"), c.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// show does what a client does with a credentials file: it sends the JWT and
// signs the nonce.
func show(t *testing.T, file, nonce []byte) (token, signature string) {
	t.Helper()
	token = must(jwt.ParseDecoratedJWT(file))
	pair := must(jwt.ParseDecoratedUserNKey(file))
	return token, base64.RawURLEncoding.EncodeToString(must(pair.Sign(nonce)))
}

// admit shows a credentials file and returns the node, or why it is not good.
func admit(t *testing.T, b *Book, file []byte) string {
	t.Helper()
	nonce := []byte("nonce of this connection")
	token, signature := show(t, file, nonce)
	a, err := b.Admit(token, signature, nonce)
	return answer(a.Node, err)
}

// answer is what, or the reason of err.
func answer(what string, err error) string {
	var e *Error
	switch {
	case errors.As(err, &e) && e.Reason != "":
		return e.Reason
	case errors.As(err, &e):
		return e.Code
	case err != nil:
		return err.Error()
	}
	return what
}

func TestNodes(t *testing.T) {
	b, c := openBook(t)
	one := must(b.AddNode("n1", 0))
	if got := admit(t, b, one.File); got != "n1" {
		t.Errorf("Admit(n1) = %s, want n1", got)
	}
	if _, err := b.AddNode("n1", 0); answer("", err) != CodeExists {
		t.Errorf("AddNode(n1) again = %v, want %s", err, CodeExists)
	}
	if _, err := b.AddNode("n.1", 0); answer("", err) != "malformed" {
		t.Errorf("AddNode(n.1) = %v, want malformed", err)
	}
	for _, name := range []string{accountFile, "../" + FileName} {
		data := must(os.ReadFile(filepath.Join(b.keys, name)))
		if seed := string(must(must(jwt.ParseDecoratedUserNKey(one.File)).Seed())); strings.Contains(string(data), seed) {
			t.Errorf("%s keeps the private key of a node", name)
		}
		if mode := must(os.Stat(filepath.Join(b.keys, name))).Mode().Perm(); mode != 0o600 {
			t.Errorf("mode of %s = %o, want 600", name, mode)
		}
	}
	// It is durable, and the account goes on.
	b.Close()
	b = reopen(t, b.dir, c)
	if got := admit(t, b, one.File); got != "n1" {
		t.Errorf("after a restart Admit(n1) = %s, want n1", got)
	}
	two := must(b.AddNode("n2", time.Hour))
	if i := func(n int) string { return b.Nodes()[n].Keys[0].Issuer }; i(0) != i(1) {
		t.Error("the account key was made anew")
	}
	c.at = c.at.Add(time.Hour)
	if got := admit(t, b, two.File); got != "expired" {
		t.Errorf("Admit(n2) after an hour = %s, want expired", got)
	}
	if err := b.RevokeNode("n1", false); err != nil {
		t.Fatal(err)
	}
	if got := admit(t, b, one.File); got != "revoked" {
		t.Errorf("Admit(n1) when revoked = %s, want revoked", got)
	}
	again := must(b.AddNode("n1", 0))
	if got, old := admit(t, b, again.File), admit(t, b, one.File); got != "n1" || old != "revoked" {
		t.Errorf("added again: new %s, old %s; want n1, revoked", got, old)
	}
	if err := b.RevokeNode("n9", false); answer("", err) != CodeUnknown {
		t.Errorf("RevokeNode(n9) = %v, want %s", err, CodeUnknown)
	}
}

func TestRotate(t *testing.T) {
	b, c := openBook(t)
	one := must(b.AddNode("n1", 0))
	two, old, err := b.RotateNode("n1", time.Minute, 0)
	if err != nil || len(old) != 1 || old[0].User != one.Key {
		t.Fatalf("RotateNode = %v, %v, want the key of the first file", old, err)
	}
	if o, n := admit(t, b, one.File), admit(t, b, two.File); o != "n1" || n != "n1" {
		t.Errorf("within the grace: old %s, new %s, want n1 twice", o, n)
	}
	c.at = c.at.Add(time.Minute)
	if o, n := admit(t, b, one.File), admit(t, b, two.File); o != "expired" || n != "n1" {
		t.Errorf("after the grace: old %s, new %s, want expired and n1", o, n)
	}
	three, _, err := b.RotateNode("n1", 0, 0)
	if o, n := admit(t, b, two.File), admit(t, b, three.File); err != nil || o != "revoked" || n != "n1" {
		t.Errorf("without grace: old %s, new %s (%v), want revoked and n1", o, n, err)
	}
	if keys := b.Nodes()[0].Keys; len(keys) != 1 {
		t.Errorf("%d keys are kept, want 1", len(keys))
	}
}

// An operator sees which node still uses old credentials.
func TestRefusalsNameTheNode(t *testing.T) {
	b, c := openBook(t)
	refused := func(file []byte) string {
		t.Helper()
		nonce := []byte("nonce")
		token, signature := show(t, file, nonce)
		a, err := b.Admit(token, signature, nonce)
		return a.Node + " " + answer("", err)
	}
	one, two := must(b.AddNode("n1", 0)), must(b.AddNode("n2", time.Hour))
	if _, _, err := b.RotateNode("n1", 0, 0); err != nil {
		t.Fatal(err)
	}
	c.at = c.at.Add(time.Hour)
	if got := refused(one.File); got != "n1 revoked" {
		t.Errorf("rotated: Admit = %q, want n1 revoked", got)
	}
	if got := refused(two.File); got != "n2 expired" {
		t.Errorf("over: Admit = %q, want n2 expired", got)
	}
	if err := b.RevokeNode("n3", true); err != nil {
		t.Fatal(err)
	}
	if a, err := b.AdmitNamed("n3"); a.Node != "n3" || answer("", err) != "revoked" {
		t.Errorf("AdmitNamed(n3) = %q, %v, want n3 and revoked", a.Node, err)
	}
}

// Attack row 12: what a stranger can make by himself is worth nothing.
func TestForgedCredentials(t *testing.T) {
	b, _ := openBook(t)
	good := must(b.AddNode("n1", 0))
	nonce := []byte("nonce")
	token, signature := show(t, good.File, nonce)
	user, account := must(nkeys.CreateUser()), must(nkeys.CreateAccount())
	claims := jwt.NewUserClaims(must(user.PublicKey()))
	claims.Name = "n1"
	own := must(claims.Encode(account))
	claims.Subject = good.Key // the true node, signed for by another account
	stolen := must(claims.Encode(account))
	sign := func(p nkeys.KeyPair) string { return base64.RawURLEncoding.EncodeToString(must(p.Sign(nonce))) }
	for _, x := range []struct{ what, token, signature, want string }{
		{"good", token, signature, "n1"},
		{"another nonce", token, must2(show(t, good.File, []byte("old"))), "bad_signature"},
		{"another key", token, sign(user), "bad_signature"},
		{"no signature", token, "", "bad_signature"},
		{"no base64", token, "%", "bad_signature"},
		{"an account of his own", own, sign(user), "revoked"},
		{"a node's key under an account of his own", stolen, signature, "bad_signature"},
		{"changed", token[:len(token)-20] + strings.Repeat("A", 8) + token[len(token)-12:], signature, "bad_signature"},
		{"no JWT", "x.y", signature, "bad_signature"},
	} {
		a, err := b.Admit(x.token, x.signature, nonce)
		if got := answer(a.Node, err); got != x.want {
			t.Errorf("%s: Admit = %s, want %s", x.what, got, x.want)
		}
		if err != nil && a.Node != "" {
			t.Errorf("%s: the refusal names node %s, which is not proven", x.what, a.Node)
		}
	}
}

func must2(_, b string) string { return b }

func TestCertificates(t *testing.T) {
	b, _ := openBook(t)
	for _, x := range []struct{ name, want string }{{"n1", "n1"}, {"", "bad_certificate"}, {"n.1", "bad_certificate"}, {"*", "bad_certificate"}} {
		a, err := b.AdmitNamed(x.name)
		if got := answer(a.Node, err); got != x.want {
			t.Errorf("AdmitNamed(%q) = %s, want %s", x.name, got, x.want)
		}
	}
	if err := b.RevokeNode("n1", true); err != nil {
		t.Fatal(err)
	}
	if _, err := b.AdmitNamed("n1"); answer("", err) != "revoked" {
		t.Errorf("AdmitNamed(n1) when revoked = %v, want revoked", err)
	}
}

func TestTokens(t *testing.T) {
	b, c := openBook(t)
	secret := must(b.AddToken(Token{Name: "app", Rights: []Right{Events, Allow}, Node: "n1"}, time.Hour))
	who, err := b.Caller(secret)
	if err != nil || who.Token != "app" || who.Node != "n1" || !who.May(Events) || who.May(Admin) || !who.May(Public) {
		t.Errorf("Caller = %+v, %v", who, err)
	}
	if data := must(os.ReadFile(filepath.Join(b.dir, FileName))); strings.Contains(string(data), secret) {
		t.Error("the file keeps the token")
	}
	if _, err := b.Caller(secret + "x"); answer("", err) != "bad_token" {
		t.Errorf("another token: %v, want bad_token", err)
	}
	c.at = c.at.Add(time.Hour)
	if _, err := b.Caller(secret); answer("", err) != "expired" {
		t.Errorf("after an hour: %v, want expired", err)
	}
	if err := b.RevokeToken("app"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Caller(secret); answer("", err) != "bad_token" {
		t.Errorf("revoked: %v, want bad_token", err)
	}
	for _, wrong := range []Token{{Name: "x"}, {Name: "a b", Rights: []Right{Read}}, {Name: "x", Rights: []Right{Enroll}},
		{Name: "x", Rights: []Right{Enroll, Read}, Uses: 1}, {Name: "x", Rights: []Right{Read}, Uses: 1}, {Name: "x", Rights: []Right{Events}, Node: "a.b"}} {
		if _, err := b.AddToken(wrong, 0); answer("", err) != "malformed" {
			t.Errorf("AddToken(%+v) = %v, want malformed", wrong, err)
		}
	}
}

// The uses of an enrolment token are counted exactly, whoever comes at once.
func TestEnroll(t *testing.T) {
	b, _ := openBook(t)
	secret := must(b.AddToken(Token{Name: "fleet", Rights: []Right{Enroll}, Uses: 5}, 0))
	var wg sync.WaitGroup
	got := make(chan string, 20)
	for i := range 20 {
		wg.Go(func() {
			cred, _, err := b.Enroll(secret, "n"+string(rune('a'+i)))
			if err == nil {
				err = errors.New("credentials of " + admit(t, b, cred.File))
			}
			got <- answer("", err)
		})
	}
	wg.Wait()
	close(got)
	count := map[bool]int{}
	for g := range got {
		count[strings.HasPrefix(g, "credentials of n")]++
		if !strings.HasPrefix(g, "credentials of n") && g != "used_up" {
			t.Errorf("Enroll = %s", g)
		}
	}
	if count[true] != 5 || len(b.Nodes()) != 5 {
		t.Errorf("%d nodes have credentials, %d are in the book, want 5", count[true], len(b.Nodes()))
	}
	other := must(b.AddToken(Token{Name: "other", Rights: []Right{Enroll}, Uses: 5}, 0))
	again := must(b.AddToken(Token{Name: "again", Rights: []Right{Enroll}, Uses: 5, Again: true}, 0))
	read := must(b.AddToken(Token{Name: "read", Rights: []Right{Read}}, 0))
	first := must(b.AddNode("m1", 0))
	must(b.AddNode("gone", 0))
	if err := b.RevokeNode("gone", false); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ secret, node, want string }{
		{other, "m1", CodeExists}, {other, "gone", "revoked"}, {again, "gone", "revoked"}, {read, "m2", CodeNotAllowed}, {"", "m2", "bad_token"}, {other, "a.b", "malformed"},
	} {
		if _, _, err := b.Enroll(x.secret, x.node); answer("", err) != x.want {
			t.Errorf("Enroll(%s) = %v, want %s", x.node, err, x.want)
		}
	}
	second, old, err := b.Enroll(again, "m1")
	if err != nil || len(old) != 1 || admit(t, b, first.File) != "revoked" || admit(t, b, second.File) != "m1" {
		t.Errorf("Enroll(m1) again = %v, %v; the old file %s, the new one %s", old, err, admit(t, b, first.File), admit(t, b, second.File))
	}
	for _, tok := range b.Tokens() {
		if want := map[string]int{"again": 4, "fleet": 0, "other": 5, "read": 0}[tok.Name]; tok.Uses != want {
			t.Errorf("token %s has %d uses left, want %d", tok.Name, tok.Uses, want)
		}
	}
}

func TestOneOwner(t *testing.T) {
	b, _ := openBook(t)
	if _, err := Open(b.dir, b.keys, nil); !errors.Is(err, ErrInUse) {
		t.Errorf("second Open = %v, want %v", err, ErrInUse)
	}
}

// A file that cannot be understood stops the start: without it a revoked node
// would be good again.
func TestDamagedFile(t *testing.T) {
	for _, text := range []string{"", "{", `{"version":2}`, `{"version":1,"x":1}`, `{"version":1}{}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, FileName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := Open(dir, dir, nil); err == nil {
			b.Close()
			t.Errorf("Open of %q succeeds", text)
		}
	}
}

func TestParseRights(t *testing.T) {
	if got, err := ParseRights("read, events,read"); err != nil || len(got) != 2 || got[0] != Events {
		t.Errorf("ParseRights = %v, %v", got, err)
	}
	if got, err := ParseRights("all"); err != nil || len(got) != len(Rights)-1 {
		t.Errorf("ParseRights(all) = %v, %v", got, err)
	}
	if _, err := ParseRights("public"); err == nil {
		t.Error("ParseRights(public) succeeds")
	}
}
