package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/portal/api"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
	"github.com/meterseal/meterseal/portal/web"
)

// A deed is something that can be done, by command, over HTTP and in a browser.
// Several ways of one side stand with commas between them; "-" and a reason: there
// is none on purpose.
type deed struct{ command, api, page string }

// deeds are what changes something. Paths of the API are those below /api/v1.
var deeds = []deed{
	{"accept", "POST /reports", "POST /reports/upload, POST /my/upload"},
	{"report verify", "POST /reports/check", "- sending a report again is safe, and says the same"},
	{"product create", "POST /products", "POST /products/new"},
	{"product update", "PATCH /products/{id}", "POST /products/{id}/edit"},
	{"policy create", "POST /policies", "POST /policies/new"},
	{"policy update", "PUT /policies/{name}", "POST /policies/{name}/edit"},
	{"customer create", "POST /customers", "POST /customers/new"},
	{"customer update", "PATCH /customers/{id}", "POST /customers/{id}/edit"},
	{"license issue", "POST /licenses, POST /licenses/draft", "POST /licenses/new"},
	{"license update", "POST /licenses/{id}/update", "POST /licenses/{id}/update"},
	{"license renew", "POST /licenses/{id}/renew", "POST /licenses/{id}/renew"},
	{"license suspend", "POST /licenses/{id}/suspend", "POST /licenses/{id}/suspend"},
	{"license resume", "POST /licenses/{id}/resume", "POST /licenses/{id}/resume"},
	{"license revoke", "POST /licenses/{id}/revoke", "POST /licenses/{id}/revoke"},
	{"license refresh", "POST /licenses/{id}/refresh", "POST /licenses/{id}/refresh"},
	{"license credit", "POST /ledgers/{id}/credit", "POST /licenses/{id}/credit"},
	{"license release", "POST /ledgers/{id}/release", "POST /ledgers/{id}/release"},
	{"license code", "POST /licenses/{id}/codes, POST /activations",
		"POST /licenses/{id}/codes, POST /my/activate/start, POST /my/activate/code, POST /my/activate/check, POST /my/scan"},
	{"site approve", "POST /ledgers/{id}/approve", "POST /ledgers/{id}/approve"},
	{"site label", "POST /ledgers/{id}/label", "POST /ledgers/{id}/label"},
	{"site reject", "POST /ledgers/{id}/reject", "POST /ledgers/{id}/reject"},
	{"site revoke", "POST /ledgers/{id}/revoke", "POST /ledgers/{id}/revoke"},
	{"alert resolve", "POST /alerts/{id}/resolve", "POST /alerts/{id}/resolve"},
	{"keys announce", "POST /keys/announce", "POST /keys/{action}"},
	{"keys rotate", "POST /keys/rotate", "POST /keys/{action}"},
	{"keys revoke", "POST /keys/revoke", "POST /keys/{action}"},
	{"user add", "POST /users, POST /users/{id}/invite", "POST /users, POST /customers/{id}/logins"},
	{"user disable", "POST /users/{id}/disable, POST /users/{id}/enable", "POST /users/{id}/do, POST /customers/{id}/logins/{user}"},
	{"user reset", "POST /users/{id}/reset", "POST /users/{id}, POST /users/{id}/do"},
	{"token add", "POST /tokens", "POST /account/tokens"},
	{"token revoke", "DELETE /tokens/{id}", "POST /account/tokens/{id}/revoke, POST /users/{id}/tokens/{token}/revoke"},
	{"webhook add", "POST /webhooks", "POST /webhooks"},
	{"webhook update", "PUT /webhooks/{id}", "POST /webhooks/{id}"},
	{"webhook remove", "DELETE /webhooks/{id}", "POST /webhooks/{id}/remove"},
	{"webhook secret", "POST /webhooks/{id}/secret", "POST /webhooks/{id}/secret"},
	{"webhook redeliver", "POST /deliveries/{id}/again", "POST /webhooks/{id}/redeliver"},
	{"settings set", "PUT /settings", "POST /settings"},
	{"finding explain", "POST /findings/{id}/explain", "POST /findings/{id}/explain"},
	{"statement draft", "POST /statements", "POST /statements/new, POST /statements/{id}/correct"},
	{"statement credit", "POST /statements/{id}/credits", "POST /statements/{id}/credit"},
	{"statement uncredit", "DELETE /statements/{id}/credits/{n}", "POST /statements/{id}/uncredit"},
	{"statement approve", "POST /statements/{id}/approve", "POST /statements/{id}/approve"},
	{"statement discard", "DELETE /statements/{id}", "POST /statements/{id}/discard"},
	{"- only the pages ask a second person for a change of keys", "- likewise", "POST /keys/withdraw"},
	{"- it is somebody's own, and made where he sits", "- a token cannot sign in", "POST /sign-in, POST /sign-in/code, POST /sign-out, POST /welcome, POST /account/password, " +
		"POST /account/recovery, POST /account/sessions/end, POST /account/totp, POST /account/totp/remove, " +
		"POST /account/passkeys/begin, POST /account/passkeys/finish, POST /account/passkeys/{id}/remove, POST /sign-in/passkey/begin, POST /sign-in/passkey/finish"},
}

// reads are what shows something.
var reads = []deed{
	{"report list, report show, report reply", "GET /reports, GET /reports/{id}, GET /reports/{id}/reply, GET /reports/{id}/file, GET /reports/{id}/hints", "GET /reports, GET /reports/{id}, GET /my/reports"},
	{"report records", "GET /reports/{id}/records, GET /ledgers/{id}/records", "GET /reports/{id}/records, GET /ledgers/{id}/records"},
	{"product list, product show", "GET /products, GET /products/{id}", "GET /products, GET /products/{id}"},
	{"policy list, policy show", "GET /policies, GET /policies/{name}", "GET /policies, GET /policies/{name}"},
	{"customer list, customer show", "GET /customers, GET /customers/{id}", "GET /customers, GET /customers/{id}"},
	{"license list, license show", "GET /licenses, GET /licenses/{id}, GET /licenses/{id}/key, GET /licenses/{id}/documents", "GET /licenses, GET /licenses/{id}, GET /my"},
	{"site list, site show, site reply", "GET /ledgers, GET /ledgers/{id}, GET /ledgers/{id}/receipts, GET /ledgers/{id}/reply, GET /sites, GET /reminders", "GET /sites, GET /ledgers/{id}, GET /my/ledgers/{id}"},
	{"statement list, statement show", "GET /statements, GET /usage, GET /statements/documents, GET /statements/{id}, GET /statements/{id}/document",
		"GET /usage, GET /my/usage, GET /statements, GET /statements/{id}, GET /my/statements"},
	{"alert list, alert show", "GET /alerts, GET /alerts/{id}, GET /alerts/{id}/evidence", "GET /alerts, GET /alerts/{id}"},
	{"audit", "GET /audit", "GET /audit"},
	{"keys list", "GET /keys", "GET /keys"},
	{"user list", "GET /users, GET /users/{id}", "GET /users, GET /users/{id}"},
	{"token list", "GET /tokens", "GET /account/tokens"},
	{"webhook list, webhook deliveries", "GET /webhooks, GET /webhooks/{id}, GET /webhooks/{id}/deliveries", "GET /webhooks, GET /webhooks/{id}"},
	{"settings show, settings mails", "GET /settings, GET /mails", "GET /settings, GET /settings/mails"},
	{"finding list, finding show", "GET /findings, GET /findings/{id}", "GET /findings, GET /findings/{id}"},
	{"- lists and statements have its numbers", "GET /overview", "GET /{$}"},
	{"init, serve, backup, rebuild, version", "- of the machine that has the files, not of the portal", "- likewise"},
}

// O-13: whatever the browser can do, command and HTTP can. Every command, every
// change over HTTP and every form of a page stands in one of the tables above, and
// what they name is there.
func TestO13ThreeWays(t *testing.T) {
	v := portaltest.New(t, "")
	g, err := gate.New(gate.Options{Portal: v.Portal})
	v.Must(err)
	pages, err := web.New(web.Options{Portal: v.Portal, Gate: g})
	v.Must(err)
	programs, err := api.New(api.Options{Portal: v.Portal})
	v.Must(err)
	var commands, routes, forms []string
	leaves((&app{}).rootCommand(), "", &commands)
	for _, r := range programs.Routes() {
		routes = append(routes, r.Method+" "+strings.TrimPrefix(r.Path, "/api/v1"))
	}
	for _, r := range pages.Routes() {
		forms = append(forms, r.Method+" "+r.Path)
	}
	if len(commands) < 50 || len(routes) < 60 || len(forms) < 80 {
		t.Fatalf("found %d commands, %d routes, %d pages: this test would not see anything", len(commands), len(routes), len(forms))
	}
	named := map[string]bool{}
	for _, d := range append(slices.Clone(deeds), reads...) {
		for _, side := range []struct {
			what, list string
			there      []string
		}{{"command", d.command, commands}, {"route of the API", d.api, routes}, {"page", d.page, forms}} {
			if reason, none := strings.CutPrefix(side.list, "- "); none {
				if reason == "" {
					t.Errorf("%+v has no %s, and no reason", d, side.what)
				}
				continue
			}
			for name := range strings.SplitSeq(side.list, ", ") {
				if named[side.what+name] = true; !slices.Contains(side.there, name) {
					t.Errorf("there is no %s %q, for %+v", side.what, name, d)
				}
			}
		}
	}
	for _, c := range commands {
		if !named["command"+c] {
			t.Errorf("nothing says how to do %q over HTTP and in a browser", c)
		}
	}
	for _, r := range routes {
		if !strings.HasPrefix(r, http.MethodGet) && !named["route of the API"+r] {
			t.Errorf("nothing says how to do %q by command and in a browser", r)
		}
	}
	for _, f := range forms {
		if !strings.HasPrefix(f, http.MethodGet) && !named["page"+f] {
			t.Errorf("nothing says how to do what the form %q does by command and over HTTP", f)
		}
	}
}

// leaves lists the commands below c that have none below them.
func leaves(c *cobra.Command, at string, out *[]string) {
	for _, x := range c.Commands() {
		if name := at + x.Name(); len(x.Commands()) > 0 {
			leaves(x, name+" ", out)
		} else {
			*out = append(*out, name)
		}
	}
}
