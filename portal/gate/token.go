package gate

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/portal"
)

// AddToken makes an API token of a user, for scopes that his role has; none: all of
// them. A caller who comes with a token himself makes none.
func (g *Gate) AddToken(ctx context.Context, t portal.Token, role portal.Role, actor string) (portal.Token, string, error) {
	if err := CheckScopes(role, t.Scopes); err != nil {
		return t, "", err
	}
	return g.o.Portal.AddToken(ctx, t, actor)
}

// CheckScopes refuses what is no scope of a role.
func CheckScopes(role portal.Role, scopes []string) error {
	may := Scopes(role)
	var names []string
	for _, r := range may {
		names = append(names, string(r))
	}
	for _, s := range scopes {
		if !slices.Contains(names, s) {
			return &portal.Error{Code: portal.CodeBadRequest, Status: http.StatusBadRequest, Message: fmt.Sprintf("scope is %q, want some of %s", s, strings.Join(names, ", ")), Hint: "a token can do no more than its user"}
		}
	}
	return nil
}

// PublicURL is the address of the portal, without a slash at its end: the one that was
// set, else that of the request.
func (g *Gate) PublicURL(r *http.Request) string {
	switch {
	case g.public != nil:
		return g.public.Scheme + "://" + g.public.Host
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
