package portal_test

import (
	"context"
	"testing"
	"time"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// What works once works once, also for several that come at once, on both databases.
func TestOnceOnly(t *testing.T) {
	portaltest.OnBoth(t, func(t *testing.T, v *portaltest.Vendor) {
		ctx := context.Background()
		kim, _ := addUser(v, "kim@acme.example", portal.RoleCustomer, "acme")
		v.Must(v.SetTOTP(ctx, kim.ID, "SECRET", 7, []string{"a", "b"}, "kim"))
		secret, err := v.StartSession(ctx, portal.Session{State: "step", Data: "{}", Ends: v.Clock.Now().Add(time.Minute)}, "")
		v.Must(err)
		v.Must(v.KeepCeremony(ctx, kim.ID, "make", "old", v.Clock.Now().Add(time.Minute)))
		v.Must(v.KeepCeremony(ctx, kim.ID, "make", "new", v.Clock.Now().Add(time.Minute)))
		for what, use := range map[string]func() (bool, error){
			"UseTOTP":     func() (bool, error) { return v.UseTOTP(ctx, kim.ID, 8) },
			"UseRecovery": func() (bool, error) { return v.UseRecovery(ctx, kim.ID, "a") },
			"TakeSession": func() (bool, error) { _, found, err := v.TakeSession(ctx, secret); return found, err },
			"TakeCeremony": func() (bool, error) {
				data, found, err := v.TakeCeremony(ctx, kim.ID, "make")
				return found && data == "new", err
			},
		} {
			results := make(chan bool, 5)
			for range cap(results) {
				go func() {
					ok, err := use()
					if err != nil {
						t.Errorf("%s: %v", what, err)
					}
					results <- ok
				}()
			}
			n := 0
			for range cap(results) {
				if <-results {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%s was right %d times of 5 at once, want once", what, n)
			}
		}
		if ok, err := v.UseTOTP(ctx, kim.ID, 7); ok || err != nil {
			t.Errorf("UseTOTP of an earlier step = %v, %v, want false", ok, err)
		}
		if n, err := v.RecoveryLeft(ctx, kim.ID); n != 1 || err != nil {
			t.Errorf("RecoveryLeft = %d, %v, want 1", n, err)
		}

		key := portal.Passkey{ID: "k", UserID: kim.ID, Name: " laptop ", Body: "{}"}
		v.Must(v.AddPasskey(ctx, key, "kim"))
		refusedWith(t, "AddPasskey again", v.AddPasskey(ctx, key, "kim"), portal.CodeExists)
		v.Must(v.UsePasskey(ctx, "k", `{"n":1}`))
		keys, err := v.Passkeys(ctx, kim.ID)
		v.Must(err)
		if len(keys) != 1 || keys[0].Name != "laptop" || keys[0].Body != `{"n":1}` || keys[0].Used.IsZero() {
			t.Errorf("Passkeys = %+v, want the one that was used", keys)
		}
		if u, err := v.User(ctx, kim.ID); !u.SecondFactor() || u.Passkeys != 1 || err != nil {
			t.Errorf("User = %+v, %v, want one with a second factor", u, err)
		}
		_, err = v.ResetUser(ctx, kim.ID, true, "ana")
		v.Must(err)
		if u, err := v.User(ctx, kim.ID); u.SecondFactor() || err != nil {
			t.Errorf("User after a reset = %+v, %v, want no second factor", u, err)
		}
		refusedWith(t, "RemovePasskey after a reset", v.RemovePasskey(ctx, kim.ID, "k", "kim"), portal.CodeNotFound)
	})
}
