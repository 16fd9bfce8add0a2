package ledger_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// Decision D8: forward a ratchet, backward one step from the key of open.
func TestPeriodKeys(t *testing.T) {
	base := vectors.Derive("period key 2026-11")
	december := mac(base[:], "meterseal-period/v1\n2026-12")
	january := mac(december, "meterseal-period/v1\n2027-01")
	march := mac(base[:], "meterseal-period/v1\n1995-03")
	for _, order := range [][]string{{"2026-11", "2026-12", "2027-01", "1995-03"}, {"2027-01", "1995-03", "2026-12", "2026-11"}, {"1995-03", "2026-12", "1995-03", "2027-01"}} {
		s := vectors.Secrets()
		for _, month := range order {
			got := s.PeriodKey(must(ledger.ParseMonth(month))(t))
			want := map[string][]byte{"2026-11": base[:], "2026-12": december, "2027-01": january, "1995-03": march}[month]
			if string(got[:]) != string(want) {
				t.Errorf("order %v: key of %s = %x, want %x", order, month, got, want)
			}
		}
	}
	for unix, want := range map[int64]string{0: "1970-01", 1793606400: "2026-11", 1796083199: "2026-11", 1796083200: "2026-12", 804571201: "1995-07"} {
		if got := ledger.MonthOf(unix).String(); got != want {
			t.Errorf("month of %d = %s, want %s", unix, got, want)
		}
	}
	for _, s := range []string{"2026-13", "2026-1", "26-01", ""} {
		_, err := ledger.ParseMonth(s)
		wantMalformed(t, s, err)
	}
}

// The salts are the AES-256-CTR key stream with zero IV, in any order.
func TestSaltsAreTheKeyStream(t *testing.T) {
	secrets := vectors.Secrets()
	rapid.Check(t, func(t *rapid.T) {
		cell := ledger.Cell{Kind: rapid.SampledFrom([]string{"usage", "late", "adjust", "seat"}).Draw(t, "kind"), Node: "n", Meter: "m", From: 1793606400, To: 1793607300, Close: 3}
		key := secrets.CellKey(cell)
		block, err := aes.NewCipher(key[:])
		if err != nil {
			t.Fatal(err)
		}
		stream := make([]byte, 32*300)
		cipher.NewCTR(block, make([]byte, 16)).XORKeyStream(stream, stream)
		salts := secrets.CellSalts(cell)
		var got [32]byte
		for _, i := range rapid.SliceOfN(rapid.Uint64Range(0, 299), 1, 30).Draw(t, "events") {
			salts.Event(i, &got)
			if string(got[:]) != string(stream[32*i:][:32]) {
				t.Fatalf("salts of event %d are %x, want %x", i, got, stream[32*i:][:32])
			}
		}
	})
	usage := ledger.Cell{Kind: "usage", Node: "n", Meter: "m", From: 1793606400, To: 1793607300}
	other := usage
	other.Close = 9
	if secrets.CellKey(usage) != secrets.CellKey(other) {
		t.Error("the number of the close is in the salts of a usage record")
	}
	usage.Kind, other.Kind = "late", "late"
	if secrets.CellKey(usage) == secrets.CellKey(other) {
		t.Error("two late records of one cell have the same salts")
	}
}

func TestTags(t *testing.T) {
	s := vectors.Secrets()
	tagger := s.Tagger()
	buf := []byte("ana")
	want := [16]byte(mac(s.Tag[:], "ana")[:16])
	for range 3 {
		if got := tagger.Tag(string(buf)); got != want {
			t.Errorf("tag = %x, want %x", got, want)
		}
	}
	for i := range 20_000 { // more than it remembers
		tagger.Tag(fmt.Sprint("user", i))
	}
	if got := tagger.Tag("ana"); got != want {
		t.Errorf("tag = %x, want %x", got, want)
	}
}

// Lines in any fill, also with attributes of a newer version, come back.
func TestEventAndPrivateLines(t *testing.T) {
	value := rapid.StringOfN(rapid.Rune(), 0, 20, 60)
	dims := rapid.Custom(func(t *rapid.T) (out []events.Dimension) {
		for i := range rapid.IntRange(0, 4).Draw(t, "dimensions") {
			out = append(out, events.Dimension{Name: fmt.Sprint("d", i), Value: "x" + value.Draw(t, "value")})
		}
		return out
	})
	rapid.Check(t, func(t *rapid.T) {
		e := &ledger.EventLine{TimeMS: rapid.Int64Min(0).Draw(t, "time"), Quantity: rapid.Int64Min(-1<<63+1).Draw(t, "quantity"),
			Tagged: rapid.Bool().Draw(t, "tagged"), HasPrivate: rapid.Bool().Draw(t, "private"), Action: value.Draw(t, "action"),
			Public: dims.Draw(t, "public"), Kind: rapid.SampledFrom([]string{"", "void", "amend"}).Draw(t, "kind")}
		if rapid.Bool().Draw(t, "newer") {
			e.More = ledger.Attrs{{Name: "zz", Value: "1"}}
		}
		line := string(e.AppendLine(nil))
		back, err := ledger.ParseEventLine(line)
		if err != nil || string(back.AppendLine(nil)) != line {
			t.Fatalf("%q: %+v, %v", line, back, err)
		}
		p := &ledger.PrivateLine{Actor: value.Draw(t, "actor"), Dimensions: dims.Draw(t, "private"), Host: value.Draw(t, "host"), ID: "i" + value.Draw(t, "id"),
			IP: value.Draw(t, "ip"), Reason: value.Draw(t, "reason"), Ref: value.Draw(t, "ref"), User: value.Draw(t, "user")}
		if rapid.Bool().Draw(t, "newer") {
			p.More = ledger.Attrs{{Name: "Z", Value: "1"}}
		}
		line = string(p.AppendLine(nil))
		pback, err := ledger.ParsePrivateLine(line)
		if err != nil || string(pback.AppendLine(nil)) != line || pback.User != p.User {
			t.Fatalf("%q: %+v, %v", line, pback, err)
		}
	})
	if p := (ledger.PrivateLine{}); !p.Empty() || len(p.AppendLine(nil)) != 0 {
		t.Error("an empty private line is not empty")
	}
}

// An event of the most bytes that events keeps fits its line.
func TestLargestEventFitsItsLine(t *testing.T) {
	worst := strings.Repeat("\u00e9", 300)
	p := ledger.PrivateLine{ID: worst[:254], User: worst[:128], Reason: worst[:600], Ref: worst[:200]}
	if n := len(p.AppendLine(nil)); n+len(">>  ")+24 > ledger.LineBytesMax {
		t.Errorf("private line of %d bytes", n)
	}
}

func eventSeeds() []string {
	return []string{"1793700903000 12 boeJmNTPVcz6FU3afMTGgg== adfMwUorQd9SZ1KM81CY13lE1C+8tzfQbYoerp1DZ24= d.format=pdf",
		"1793782900000 -3 - yTbOXh7R8z/bgWr9ZWXPsqqm7VqOY+LSRTYYtKeRB1Y= kind=void", "1793782860000 1 boeJmNTPVcz6FU3afMTGgg== - action=claim",
		"1 -0 - -", "1 1 - - kind=other", "1 1 -", "1 1 - - a=1 a=2"}
}

func FuzzParseEventLine(f *testing.F) {
	for _, s := range eventSeeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		e, err := ledger.ParseEventLine(line)
		if err == nil && string(e.AppendLine(nil)) != line {
			t.Errorf("re-encoded %q, want %q", e.AppendLine(nil), line)
		}
	})
}

func FuzzParsePrivateLine(f *testing.F) {
	f.Add("host=ws-7 id=9f2c-1 ip=10.0.0.7 user=ana")
	f.Add("actor=kim id=c-1 reason=wrong%20document ref=9f2c-2")
	f.Add("d.x=1 d.x=2")
	f.Fuzz(func(t *testing.T, line string) {
		if p, err := ledger.ParsePrivateLine(line); err == nil && string(p.AppendLine(nil)) != line {
			t.Errorf("re-encoded %q, want %q", p.AppendLine(nil), line)
		}
	})
}

func FuzzUnescape(f *testing.F) {
	for _, s := range []string{"plant%20north", "%41", "%", "a b", "%C3%BC", "%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := ledger.UnescapeValue(s); err == nil && ledger.EscapeValue(v) != s {
			t.Errorf("value %q comes back as %q", s, ledger.EscapeValue(v))
		}
		if v, err := ledger.UnescapeText(s); err == nil && ledger.EscapeText(v) != s {
			t.Errorf("text %q comes back as %q", s, ledger.EscapeText(v))
		}
	})
}
