package gate_test

import (
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/meterseal/meterseal/internal/browsertest"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// Outcome: what a real browser and an authenticator say about a passkey is what the
// portal takes: made on the account page, it signs in without password, until it is
// removed.
func TestPasskeyInChromium(t *testing.T) {
	t.Parallel()
	browser := browsertest.New(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := fmt.Sprintf("http://localhost:%d", l.Addr().(*net.TCPAddr).Port)
	s := newGated(t, func(o *gate.Options) { o.PublicURL = base })
	server := &http.Server{Handler: s.handler} //nolint:gosec // of a test
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	ana := s.user("ana@vendor.example", portal.RoleAdmin, "")
	tab := browser.Open(base).Authenticator()
	tab.Go("/sign-in").Fill("Email", ana.Email).Fill("Password", "three unlike words").Click("Sign in").Sees("Overview")
	tab.Go("/account/passkeys").Sees("You have no passkeys yet").Fill("Name", "laptop").Fill("Your password", "wrong and wrong").Click("Make it").Sees("password is not right")
	tab.Go("/account/passkeys").Fill("Name", "laptop").Fill("Your password", "three unlike words").Click("Make it").Sees("The passkey was added", "laptop")
	tab.Click("Sign out").Sees("You are signed out")
	tab.Click("Sign in with a passkey").Sees("Overview")
	keys, err := s.Passkeys(t.Context(), ana.ID)
	s.Must(err)
	if len(keys) != 1 || keys[0].Used.IsZero() {
		t.Fatalf("Passkeys = %+v, want one that was used", keys)
	}
	s.Must(s.RemovePasskey(t.Context(), ana.ID, keys[0].ID, "ana"))
	tab.Click("Sign out").Sees("You are signed out")
	tab.Click("Sign in with a passkey").Sees("not known here")
}

// An address without a name, or without TLS, has no passkeys: browsers allow none.
func TestPasskeysNeedAName(t *testing.T) {
	for public, want := range map[string]bool{
		"https://portal.vendor.example": true, "http://localhost:8090": true, "http://portal.vendor.example": false, "https://127.0.0.1": false, "https://[::1]:8443": false, "": false,
	} {
		g, err := gate.New(gate.Options{PublicURL: public, PasswordCost: gate.CheapPasswordCost})
		if err != nil {
			t.Fatal(err)
		}
		if g.Passkeys() != want {
			t.Errorf("Passkeys under %q = %v, want %v", public, g.Passkeys(), want)
		}
	}
}
