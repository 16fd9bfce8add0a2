package ledger_test

import (
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/ledger"
)

func wantMalformed(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, ledger.ErrMalformed) {
		t.Errorf("%s: error %v, want %v", what, err, ledger.ErrMalformed)
	}
}

// YD-3: numbers up to 2^63-1 survive, one more is an error.
func TestNumbersYD3(t *testing.T) {
	for _, s := range []string{"0", "7", "2147483648", "9223372036854775807"} {
		u, err := ledger.ParseUint(s)
		if err != nil || strconv.FormatUint(u, 10) != s {
			t.Errorf("ParseUint(%s) = %d, %v", s, u, err)
		}
		for _, sign := range []string{"", "-"} {
			if sign == "-" && s == "0" {
				continue
			}
			if i, err := ledger.ParseInt(sign + s); err != nil || strconv.FormatInt(i, 10) != sign+s {
				t.Errorf("ParseInt(%s) = %d, %v", sign+s, i, err)
			}
		}
	}
	for _, s := range []string{"", "+5", "05", "00", "-0", "9223372036854775808", "18446744073709551616", "99999999999999999999",
		"1e3", "1.5", " 1", "1 ", "٣", "0x1", "-", "--1", "1_000"} {
		_, err := ledger.ParseInt(s)
		wantMalformed(t, "ParseInt("+s+")", err)
		_, err = ledger.ParseUint(s)
		wantMalformed(t, "ParseUint("+s+")", err)
	}
	_, err := ledger.ParseUint("-1")
	wantMalformed(t, "ParseUint(-1)", err)
	if i, err := ledger.ParseInt("-9223372036854775807"); err != nil || i != -math.MaxInt64 {
		t.Errorf("ParseInt(-(2^63-1)) = %d, %v", i, err)
	}
	_, err = ledger.ParseInt("-9223372036854775808")
	wantMalformed(t, "ParseInt(-2^63)", err)
}

func TestHashes(t *testing.T) {
	const good = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	if h, err := ledger.ParseHash(good); err != nil || h != ledger.EmptyRoot || string(ledger.AppendHash(nil, h)) != good {
		t.Errorf("ParseHash(%s) = %v, %v", good, h, err)
	}
	for _, s := range []string{"", good[:43], good + "=", good[:43] + "\n", "\n" + good[1:], good[:42] + "V=", good[:20] + "\r\n" + good[22:],
		strings.Replace(good, "+", "-", 1), strings.Replace(good, "/", "_", 1), good[:42] + "==", good[:40] + "====", base64.StdEncoding.EncodeToString(make([]byte, 31))} {
		_, err := ledger.ParseHash(s)
		wantMalformed(t, "ParseHash("+s+")", err)
	}
	rapid.Check(t, func(t *rapid.T) {
		b := [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "hash"))
		if got, err := ledger.ParseHash(base64.StdEncoding.EncodeToString(b[:])); err != nil || got != b {
			t.Fatalf("ParseHash of %x = %x, %v", b, got, err)
		}
	})
	for _, s := range []string{"AAAAAAAAAAAAAAAAAAAAAA==", "/////////////////////w=="} {
		if b, err := ledger.ParseB16(s); err != nil || string(ledger.AppendB16(nil, b)) != s {
			t.Errorf("ParseB16(%s) = %x, %v", s, b, err)
		}
	}
	for _, s := range []string{"AAAAAAAAAAAAAAAAAAAAAB==", "AAAAAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAA\r\nAA==", ""} {
		_, err := ledger.ParseB16(s)
		wantMalformed(t, "ParseB16("+s+")", err)
	}
}

func TestDatesAndSpans(t *testing.T) {
	for _, s := range []string{"2026-11-03T09:30:00Z", "2024-02-29T23:59:59Z"} {
		if d, err := ledger.ParseDate(s); err != nil || ledger.FormatDate(d) != s {
			t.Errorf("ParseDate(%s) = %v, %v", s, d, err)
		}
	}
	for _, s := range []string{"2026-02-29T00:00:00Z", "2026-11-03T09:30:00.5Z", "2026-11-03T09:30:00+00:00", "2026-11-03 09:30:00Z", "2026-11-03T24:00:00Z", "2026-11-03T09:30:60Z", "2026-1-3T09:30:00Z", ""} {
		_, err := ledger.ParseDate(s)
		wantMalformed(t, "ParseDate("+s+")", err)
	}
	for s, want := range map[string]time.Duration{"14d": 14 * 24 * time.Hour, "336h": 14 * 24 * time.Hour, "0s": 0, "5m": 5 * time.Minute} {
		if d, err := ledger.ParseDur(s); err != nil || d.Duration() != want || d.String() != s {
			t.Errorf("ParseDur(%s) = %v, %v", s, d, err)
		}
	}
	for _, s := range []string{"", "d", "014d", "-1d", "1w", "1.5h", "1h30m", "106752d", "9223372036854775807s"} {
		_, err := ledger.ParseDur(s)
		wantMalformed(t, "ParseDur("+s+")", err)
	}
}

func TestNames(t *testing.T) {
	for _, s := range []string{"a", "node-01", "a.b:c/d-e_f", "9", strings.Repeat("x", 128)} {
		if err := ledger.CheckName(s); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"", "-a", ".a", "a b", "a=b", "ä", strings.Repeat("x", 129), "a@b"} {
		wantMalformed(t, "CheckName("+s+")", ledger.CheckName(s))
	}
	wantMalformed(t, "node a.b", ledger.CheckNode("a.b"))
	for _, s := range []string{"a..b", "a.", "a.b..", "*"} {
		wantMalformed(t, "meter "+s, ledger.CheckMeter(s))
	}
	if err := ledger.CheckMeter("render.pages"); err != nil {
		t.Error(err)
	}
}

// O-32: what would break a line or a CSV file survives as escapes.
func TestValuesO32(t *testing.T) {
	for text, want := range map[string]string{
		"plant north": "plant%20north", "a,b": "a,b", "=1+1": "%3D1%2B1", "x\r\ny": "x%0D%0Ay", `"q"`: "%22q%22",
		"ü": "%C3%BC", "50%": "50%25", "a~b@c/d:e._-,": "a~b@c/d:e._-,", "\u202e": "%E2%80%AE",
	} {
		if got := ledger.EscapeValue(text); got != want {
			t.Errorf("EscapeValue(%q) = %s, want %s", text, got, want)
		}
		if got, err := ledger.UnescapeValue(want); err != nil || got != text {
			t.Errorf("UnescapeValue(%s) = %q, %v", want, got, err)
		}
	}
	for _, s := range []string{"", "%41", "%2", "%", "%zz", "%c3%bc", "%C3", "a b", "a=b", "%FF", strings.Repeat("a", 1025), "a\nb", "%20%41"} {
		_, err := ledger.UnescapeValue(s)
		wantMalformed(t, "UnescapeValue("+s+")", err)
	}
	for text, want := range map[string]string{"Acme GmbH, plant north": "Acme GmbH, plant north", " a ": "%20a%20", "100%": "100%25", "ü=+": "%C3%BC=+"} {
		if got := ledger.EscapeText(text); got != want {
			t.Errorf("EscapeText(%q) = %q, want %q", text, got, want)
		}
		if got, err := ledger.UnescapeText(want); err != nil || got != text {
			t.Errorf("UnescapeText(%q) = %q, %v", want, got, err)
		}
	}
	for _, s := range []string{" a", "a ", "a%20b", "%41", "a\tb"} {
		_, err := ledger.UnescapeText(s)
		wantMalformed(t, "UnescapeText("+s+")", err)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(rapid.Rune(), 1, 200, 1024).Draw(t, "text")
		if got, err := ledger.UnescapeValue(ledger.EscapeValue(s)); err != nil || got != s {
			t.Fatalf("value %q comes back as %q, %v", s, got, err)
		}
		if got, err := ledger.UnescapeText(ledger.EscapeText(s)); err != nil || got != s {
			t.Fatalf("text %q comes back as %q, %v", s, got, err)
		}
	})
}

func TestLines(t *testing.T) {
	if err := ledger.CheckLine("a b" + strings.Repeat("c", 4093)); err != nil {
		t.Error(err)
	}
	for _, s := range []string{"", " a", "a ", "a  b", "a\tb", "a\rb", "é", strings.Repeat("c", 4097), "a\x7f"} {
		wantMalformed(t, "CheckLine("+s+")", ledger.CheckLine(s))
	}
}

func TestAttrs(t *testing.T) {
	for _, s := range []string{"", "a=1", "a=1 b=x%20y d.format=pdf", "A=1 a=1"} {
		a, err := ledger.ParseAttrs(s)
		if err != nil {
			t.Errorf("ParseAttrs(%s): %v", s, err)
		}
		r := ledger.Retire{Time: 1, Reason: "x", Attrs: a}
		if got := ledger.Line(&r); got != strings.TrimSuffix("retire 1 x "+s, " ") {
			t.Errorf("re-encoded %q", got)
		}
	}
	for _, s := range []string{"a", "a=", "=1", "b=1 a=1", "a=1 a=2", "a=1 ", "1a=1", "a=1  b=1", strings.Repeat("a", 65) + "=1", "a b=1"} {
		_, err := ledger.ParseAttrs(s)
		wantMalformed(t, "ParseAttrs("+s+")", err)
	}
	var a ledger.Attrs
	a = a.Set("m", "1").Set("a", "2").Set("z", "3").Set("m", "4").Set("q", "").Set("a", "")
	if v, ok := a.Get("m"); len(a) != 2 || v != "4" || !ok || a[0].Name != "m" || a[1].Name != "z" {
		t.Errorf("attributes %v", a)
	}
}

func TestBase32(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 1, 80).Draw(t, "bytes")
		s := ledger.Base32(b)
		typed := strings.ToLower(strings.NewReplacer("1", "l", "0", "o").Replace(s))
		for _, s := range []string{s, typed, strings.Join(strings.Split(s, ""), "-")} {
			if got, err := ledger.ParseBase32(s, len(b)); err != nil || string(got) != string(b) {
				t.Fatalf("ParseBase32(%s) = %x, %v, want %x", s, got, err, b)
			}
		}
	})
	for _, s := range []string{"U0", "Z", "000", "ZZ"} {
		if _, err := ledger.ParseBase32(s, 1); err == nil {
			t.Errorf("ParseBase32(%s) is accepted", s)
		}
	}
}
