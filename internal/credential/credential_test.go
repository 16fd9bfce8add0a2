package credential_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/credential"
)

// Codes of RFC 6238, appendix B, for SHA-1: the last six of its eight digits.
func TestTOTP(t *testing.T) {
	const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" // 12345678901234567890
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		if got := credential.TOTP(secret, at/30); got != want {
			t.Errorf("TOTP at %d = %s, want %s", at, got, want)
		}
		now := time.Unix(at, 0)
		step, ok := credential.CheckTOTP(secret, " "+want[:3]+" "+want[3:], now, 0)
		if !ok || step != at/30 {
			t.Errorf("CheckTOTP at %d = %d, %v, want its step", at, step, ok)
		}
		if _, ok := credential.CheckTOTP(secret, want, now, step); ok {
			t.Errorf("CheckTOTP at %d takes a code again", at)
		}
		for off, want := range map[time.Duration]bool{-61 * time.Second: false, -30 * time.Second: true, 30 * time.Second: true, 61 * time.Second: false} {
			if _, ok := credential.CheckTOTP(secret, credential.TOTP(secret, at/30), now.Add(off), 0); ok != want && at > 100 {
				t.Errorf("CheckTOTP %s beside = %v, want %v", off, ok, want)
			}
		}
	}
	if _, ok := credential.CheckTOTP("", "", time.Unix(59, 0), 0); ok {
		t.Error("no secret takes the empty code")
	}
}

func TestPassword(t *testing.T) {
	ctx := context.Background()
	h, err := credential.NewHasher(credential.Cost{MemoryKiB: 64, Passes: 1, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	phc, err := h.Hash(ctx, "three unlike words")
	if err != nil || !strings.HasPrefix(phc, "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Fatalf("Hash = %s, %v", phc, err)
	}
	for password, want := range map[string]bool{"three unlike words": true, "three unlike word": false, "": false} {
		if ok, err := h.Verify(ctx, password, phc); ok != want || err != nil {
			t.Errorf("Verify(%q) = %v, %v, want %v", password, ok, err, want)
		}
		if ok, err := h.Verify(ctx, password, ""); ok || err != nil {
			t.Errorf("Verify(%q) of no password = %v, %v, want false", password, ok, err)
		}
	}
	const reference = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA"
	for _, bad := range []string{"x", reference, reference + "$", "$argon2i" + phc[9:], strings.Replace(phc, "v=19", "v=16", 1), strings.Replace(phc, "m=64", "m=9999999", 1), strings.Replace(phc, "t=1", "t=0", 1)} {
		if ok, err := h.Verify(ctx, "three unlike words", bad); ok || err == nil {
			t.Errorf("Verify with the hash %s = %v, %v, want an error", bad, ok, err)
		}
	}
}

// However many passwords come at once, few wait and two are hashed.
func TestBusy(t *testing.T) {
	h, err := credential.NewHasher(credential.Cost{MemoryKiB: 8 << 10, Passes: 4, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	phc, err := h.Hash(context.Background(), "three unlike words")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var mu sync.Mutex
	busy := 0
	for range 200 {
		all.Go(func() {
			_, err := h.Verify(ctx, "x", phc)
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, credential.ErrBusy) {
				busy++
				cancel() // those that wait need not be hashed
			}
		})
	}
	all.Wait()
	cancel()
	if busy == 0 {
		t.Error("200 passwords at once were all hashed, want some turned away")
	}
}

func TestRecoveryCodes(t *testing.T) {
	codes, hashes := credential.NewRecoveryCodes()
	if len(codes) != credential.RecoveryCodes || len(hashes) != len(codes) {
		t.Fatalf("NewRecoveryCodes = %d codes, %d hashes", len(codes), len(hashes))
	}
	for i, c := range codes {
		for _, typed := range []string{c, strings.ToUpper(c), strings.ReplaceAll(c, "-", " "), " " + strings.ReplaceAll(c, "-", "")} {
			if credential.HashRecovery(typed) != hashes[i] {
				t.Errorf("HashRecovery(%q) is not that of %s", typed, c)
			}
		}
	}
}
