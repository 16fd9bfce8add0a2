package gate_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// An issuer signs what it is told to, with a key that it publishes.
type issuer struct {
	*httptest.Server
	key    *rsa.PrivateKey
	claims map[string]any // of the next token, beside issuer, audience, times
	asked  url.Values     // of the token request
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := &issuer{key: key}
	mux := http.NewServeMux()
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	send := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		send(w, map[string]any{"issuer": s.URL, "authorization_endpoint": s.URL + "/auth", "token_endpoint": s.URL + "/token", "jwks_uri": s.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	b64 := base64.RawURLEncoding.EncodeToString
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		send(w, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}}})
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		s.asked = r.PostForm
		claims, err := json.Marshal(s.claims)
		if err != nil {
			t.Error(err)
		}
		signed := b64([]byte(`{"alg":"RS256","kid":"1"}`)) + "." + b64(claims)
		sum := sha256.Sum256([]byte(signed))
		sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
		if err != nil {
			t.Error(err)
		}
		send(w, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": signed + "." + b64(sig)})
	})
	return s
}

// A provider vouches for users that are there, by verified address; it makes none
// and gives no role.
func TestOIDC(t *testing.T) {
	provider := newIssuer(t)
	s := newGated(t, func(o *gate.Options) {
		o.PublicURL = "http://localhost"
		o.OIDC = &gate.OIDC{Issuer: provider.URL, ClientID: "portal", ClientSecret: "hush"}
	})
	s.user("kim@acme.example", portal.RoleCustomer, "acme")
	for _, x := range []struct {
		name   string
		change func(claims map[string]any)
		state  string
		want   int
	}{
		{"a user", func(map[string]any) {}, "", http.StatusSeeOther},
		{"another spelling", func(c map[string]any) { c["email"] = "Kim@ACME.example"; c["role"] = "admin" }, "", http.StatusSeeOther},
		{"not verified", func(c map[string]any) { c["email_verified"] = false }, "", http.StatusUnauthorized},
		{"nobody here", func(c map[string]any) { c["email"] = "eve@acme.example" }, "", http.StatusUnauthorized},
		{"no address", func(c map[string]any) { delete(c, "email") }, "", http.StatusUnauthorized},
		{"another nonce", func(c map[string]any) { c["nonce"] = "x" }, "", http.StatusUnauthorized},
		{"for another client", func(c map[string]any) { c["aud"] = "other" }, "", http.StatusUnauthorized},
		{"of another issuer", func(c map[string]any) { c["iss"] = "https://evil.example" }, "", http.StatusUnauthorized},
		{"too old", func(c map[string]any) { c["exp"] = 1 }, "", http.StatusUnauthorized},
		{"another state", func(map[string]any) {}, "x", http.StatusUnauthorized},
	} {
		w := s.ask("GET", "/sign-in/oidc?next=/my/upload", nil, "")
		to, err := url.Parse(w.Header().Get("Location"))
		s.Must(err)
		q := to.Query()
		if w.Code != http.StatusSeeOther || !strings.HasPrefix(to.String(), provider.URL+"/auth?") || q.Get("code_challenge_method") != "S256" || q.Get("redirect_uri") != "http://localhost/sign-in/oidc/callback" {
			t.Fatalf("GET /sign-in/oidc = %d to %s, want the provider, with PKCE", w.Code, to)
		}
		now := s.Clock.Now().Unix()
		provider.claims = map[string]any{"iss": provider.URL, "aud": "portal", "sub": "1", "iat": now, "exp": now + 60, "nonce": q.Get("nonce"), "email": "kim@acme.example", "email_verified": true}
		x.change(provider.claims)
		cookie := strings.Split(w.Header().Get("Set-Cookie"), ";")[0]
		state := q.Get("state") + x.state
		back := func() *httptest.ResponseRecorder {
			return s.ask("GET", "/sign-in/oidc/callback?code=c&state="+state, http.Header{"Cookie": {cookie}}, "")
		}
		w = back()
		if w.Code != x.want {
			t.Errorf("%s = %d, want %d: %s", x.name, w.Code, x.want, w.Body)
			continue
		}
		if w.Code != http.StatusSeeOther {
			continue
		}
		if provider.asked.Get("code_verifier") == "" || w.Header().Get("Location") != "/my/upload" {
			t.Errorf("%s leads to %s with verifier %q", x.name, w.Header().Get("Location"), provider.asked.Get("code_verifier"))
		}
		in := http.Header{"Cookie": {strings.Split(w.Header().Get("Set-Cookie"), ";")[0]}}
		if w := s.ask("GET", "/users", in, ""); w.Code != http.StatusForbidden {
			t.Errorf("%s: GET /users = %d, want 403: no role comes from a provider", x.name, w.Code)
		}
		if w := back(); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: the same way back again = %d, want 401", x.name, w.Code)
		}
	}
}
