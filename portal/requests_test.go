package portal_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// Two administrators for the signing keys: the first asks, another one confirms
// within a day, and the log names both.
func TestTwoPersons(t *testing.T) {
	portaltest.OnBoth(t, func(t *testing.T, v *portaltest.Vendor) {
		ctx := context.Background()
		announce := portal.KeyChange{Action: "announce", Role: "receipt", Label: "2027"}
		// Alone, one decides alone: who was invited and has not come yet is nobody.
		addAdmin(v, "ana@v.example")
		_, _, err := v.AddUser(ctx, portal.User{Email: "eve@v.example", Role: portal.RoleAdmin}, "ana")
		v.Must(err)
		if _, err := v.ChangeKey(ctx, announce, "ana@v.example", "ana@v.example"); err != nil {
			t.Fatalf("ChangeKey of the only administrator = %v, want it done", err)
		}
		addAdmin(v, "ben@v.example")
		rotate := portal.KeyChange{Action: "rotate", Role: "receipt", Force: true}
		ask := func(who string, c portal.KeyChange) string {
			_, err := v.ChangeKey(ctx, c, who, who)
			return portaltest.Code(err)
		}
		for range 2 { // asking twice is not two persons
			if got := ask("ana@v.example", rotate); got != portal.CodeSecondPerson {
				t.Fatalf("ChangeKey of the first = %q, want %s", got, portal.CodeSecondPerson)
			}
		}
		if open, err := v.Requests(ctx); err != nil || len(open) != 1 || open[0].By != "ana@v.example" || open[0].Change != rotate {
			t.Fatalf("Requests = %+v, %v, want the one of ana", open, err)
		}
		// Something else is another request.
		if got := ask("ben@v.example", portal.KeyChange{Action: "rotate", Role: "receipt"}); got != portal.CodeSecondPerson {
			t.Errorf("ChangeKey of something else = %q, want %s", got, portal.CodeSecondPerson)
		}
		if got := ask("ben@v.example", rotate); got != "" {
			t.Fatalf("ChangeKey of the second = %q, want it done", got)
		}
		log, err := v.AuditLog(ctx, "meter.example/receipt/2027", 1)
		if err != nil || len(log) != 1 || log[0].Action != "key.promote" || log[0].Actor != "ana@v.example and ben@v.example" {
			t.Errorf("audit = %+v, %v, want the rotation by both", log, err)
		}
		// A day later a request is over: to the second it still holds.
		revoke := portal.KeyChange{Action: "revoke", Key: "meter.example/receipt/2026"}
		ask("ana@v.example", revoke)
		v.Clock.Add(24*time.Hour + time.Second)
		if got := ask("ben@v.example", revoke); got != portal.CodeSecondPerson {
			t.Errorf("ChangeKey after a day = %q, want %s", got, portal.CodeSecondPerson)
		}
		v.Clock.Add(24 * time.Hour)
		if got := ask("ana@v.example", revoke); got != "" {
			t.Errorf("ChangeKey at the last second = %q, want it done", got)
		}
		// What could not be done stays asked for.
		bad := portal.KeyChange{Action: "rotate", Role: "reply"}
		ask("ana@v.example", bad)
		if got := ask("ben@v.example", bad); !strings.HasPrefix(got, "error") {
			t.Errorf("ChangeKey without a next key = %q, want an error", got)
		}
		open, err := v.Requests(ctx)
		if err != nil || len(open) != 1 || open[0].Change != bad {
			t.Fatalf("Requests = %+v, %v, want the one that failed", open, err)
		}
		v.Must(v.WithdrawRequest(ctx, open[0].ID, "ben@v.example", "ben@v.example"))
		if open, err := v.Requests(ctx); err != nil || len(open) != 0 {
			t.Errorf("Requests after the withdrawal = %+v, %v, want none", open, err)
		}
		if got := portaltest.Code(v.WithdrawRequest(ctx, open[0].ID, "ben@v.example", "ben@v.example")); got != portal.CodeNotFound {
			t.Errorf("WithdrawRequest again = %q, want %s", got, portal.CodeNotFound)
		}
	})
}

func addAdmin(v *portaltest.Vendor, email string) {
	_, link, err := v.AddUser(context.Background(), portal.User{Email: email, Name: email, Role: portal.RoleAdmin}, "cli")
	v.Must(err)
	_, err = v.UseLink(context.Background(), link, "$hash")
	v.Must(err)
}

func TestKeyChangeRefused(t *testing.T) {
	v := portaltest.New(t, "")
	for _, c := range []struct {
		change portal.KeyChange
		line   string
	}{{portal.KeyChange{Action: "announce", Role: "site", Label: "x"}, "role"}, {portal.KeyChange{Action: "announce", Role: "reply"}, "label"}, {portal.KeyChange{Action: "revoke", Key: "none"}, "key"}} {
		_, err := v.ChangeKey(context.Background(), c.change, "a", "a")
		var e *portal.Error
		if !errors.As(err, &e) || e.Details["line"] != c.line {
			t.Errorf("ChangeKey(%+v) = %v, want a refusal of %s", c.change, err, c.line)
		}
	}
	if _, err := v.ChangeKey(context.Background(), portal.KeyChange{Action: "sell"}, "a", "a"); portaltest.Code(err) != portal.CodeBadRequest {
		t.Errorf("ChangeKey(sell) = %v, want %s", err, portal.CodeBadRequest)
	}
}
