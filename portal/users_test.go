package portal_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

func addUser(v *portaltest.Vendor, email string, role portal.Role, customer string) (portal.User, string) {
	v.T.Helper()
	u, link, err := v.AddUser(context.Background(), portal.User{Email: email, Role: role, Customer: customer}, "ana")
	v.Must(err)
	return u, link
}

// refusedWith fails the test unless err is a refusal with a code.
func refusedWith(t *testing.T, what string, err error, code string) {
	t.Helper()
	if got := portaltest.Code(err); got != code {
		t.Errorf("%s = %q (%v), want %s", what, got, err, code)
	}
}

// Users with roles; every change stands in the audit log.
func TestUsers(t *testing.T) {
	portaltest.OnBoth(t, func(t *testing.T, v *portaltest.Vendor) {
		ctx := context.Background()
		ana, err := v.AddFirstUser(ctx, portal.User{Email: " Ana@Vendor.example ", Name: "Ana"}, "hash", "setup")
		v.Must(err)
		if ana.Email != "ana@vendor.example" || ana.Role != portal.RoleAdmin {
			t.Errorf("AddFirstUser = %+v, want an administrator with a lower-case address", ana)
		}
		_, err = v.AddFirstUser(ctx, portal.User{Email: "eve@vendor.example"}, "hash", "setup")
		refusedWith(t, "a second first user", err, portal.CodeState)

		kim, link := addUser(v, "kim@acme.example", portal.RoleCustomer, "acme")
		for _, x := range []struct {
			u    portal.User
			code string
		}{
			{portal.User{Email: "KIM@acme.example", Role: portal.RoleStaff}, portal.CodeExists},
			{portal.User{Email: "Kim <kim@acme.example>", Role: portal.RoleStaff}, portal.CodeBadRequest},
			{portal.User{Email: "x@y.example", Role: "root"}, portal.CodeBadRequest},
			{portal.User{Email: "x@y.example", Role: portal.RoleCustomer}, portal.CodeBadRequest},
			{portal.User{Email: "x@y.example", Role: portal.RoleStaff, Customer: "acme"}, portal.CodeBadRequest},
			{portal.User{Email: "x@y.example", Role: portal.RoleCustomer, Customer: "nobody"}, portal.CodeNotFound},
		} {
			_, _, err := v.AddUser(ctx, x.u, "ana")
			refusedWith(t, "AddUser "+x.u.Email, err, x.code)
		}

		// A link works once, and not for long.
		if u, err := v.UseLink(ctx, link, "hash"); err != nil || u.ID != kim.ID {
			t.Errorf("UseLink = %v, %v, want kim", u, err)
		}
		_, err = v.UseLink(ctx, link, "hash")
		refusedWith(t, "UseLink again", err, portal.CodeLink)
		link, err = v.InviteUser(ctx, kim.ID, "ana")
		v.Must(err)
		v.Clock.Add(7*24*time.Hour + time.Second)
		_, err = v.LinkUser(ctx, link)
		refusedWith(t, "LinkUser after a week", err, portal.CodeLink)

		// Nobody takes the last administrator away.
		refusedWith(t, "DisableUser of the last administrator", v.DisableUser(ctx, ana.ID, true, "ana"), portal.CodeState)
		ana.Role = portal.RoleViewer
		refusedWith(t, "SetUser of the last administrator", v.SetUser(ctx, ana, "ana"), portal.CodeState)

		// Who is disabled has no session, no token, no password.
		secret, err := v.StartSession(ctx, portal.Session{UserID: kim.ID, State: portal.SessionOpen, Ends: v.Clock.Now().Add(time.Hour)}, "")
		v.Must(err)
		_, token, err := v.AddToken(ctx, portal.Token{UserID: kim.ID, Name: "nightly"}, "kim")
		v.Must(err)
		if _, _, found, err := v.TokenOf(ctx, token); !found || err != nil {
			t.Errorf("TokenOf = %v, %v, want it found", found, err)
		}
		v.Must(v.DisableUser(ctx, kim.ID, true, "ana"))
		if _, found, err := v.Session(ctx, secret, time.Hour); found || err != nil {
			t.Errorf("Session of a disabled user = %v, %v, want none", found, err)
		}
		if _, _, found, err := v.TokenOf(ctx, token); found || err != nil {
			t.Errorf("TokenOf a disabled user = %v, %v, want none", found, err)
		}
		if u, phc, err := v.PasswordHash(ctx, kim.Email); u.ID != "" || phc != "" || err != nil {
			t.Errorf("PasswordHash of a disabled user = %v %q %v, want nothing", u, phc, err)
		}

		all, err := v.AuditLog(ctx, "", 100)
		v.Must(err)
		var actions []string
		for _, a := range all {
			actions = append(actions, a.Action)
			if s := string(a.Before) + string(a.After); strings.Contains(s, token) || strings.Contains(s, "hash") || strings.Contains(s, link) {
				t.Errorf("the audit log shows a secret: %s", s)
			}
		}
		for _, want := range []string{"user.add", "user.use-link", "user.invite", "session.start", "token.add", "user.disable"} {
			if !strings.Contains(strings.Join(actions, " "), want) {
				t.Errorf("the audit log has %v, want %s", actions, want)
			}
		}
	})
}

// Failed sign-ins double the wait, whatever process they come to; attempts at once do
// not get past it.
func TestAttempts(t *testing.T) {
	portaltest.OnBoth(t, func(t *testing.T, v *portaltest.Vendor) {
		ctx := context.Background()
		o := portal.Attempts{Free: 3, Most: time.Minute, Forget: time.Hour}
		attempt := func() time.Duration {
			wait, err := v.Attempt(ctx, "account x", o)
			v.Must(err)
			return wait
		}
		for range 3 {
			if wait := attempt(); wait != 0 {
				t.Fatalf("Attempt = %s, want 0: some are free", wait)
			}
		}
		for _, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
			wait := attempt()
			if want := time.Duration(seconds) * time.Second; wait != want {
				t.Fatalf("Attempt = %s, want %s", wait, want)
			}
			v.Clock.Add(wait)
			if wait := attempt(); wait != 0 {
				t.Fatalf("Attempt after the wait = %s, want 0", wait)
			}
		}
		v.Must(v.Succeeded(ctx, "account x", true))
		if wait := attempt(); wait != 0 {
			t.Errorf("Attempt after a success = %s, want 0", wait)
		}

		var let int
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				wait, err := v.Attempt(ctx, "account y", o)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				} else if wait == 0 {
					let++
				}
			})
		}
		all.Wait()
		if let != 3 {
			t.Errorf("of 20 attempts at once %d were let, want 3", let)
		}
		v.Clock.Add(2 * time.Hour)
		if wait, err := v.Attempt(ctx, "account y", o); wait != 0 || err != nil {
			t.Errorf("Attempt hours later = %s, %v, want 0", wait, err)
		}
	})
}
