package ledger_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

const h44 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

func vkey(role ledger.Role) string { return vectors.Key(role).VKey().String() }

// goodRecords has every kind, with and without what may be missing.
func goodRecords() []string {
	o := vectors.Origin
	return []string{
		"open 1 1793606400 " + o + " " + vkey(ledger.RoleSite) + " 7d5e1add328ffb49",
		"open 1 1793606400 " + o + " " + vkey(ledger.RoleSite) + " 7d5e1add328ffb49 supersedes=" + o + " supersedes-root=" + ledger.EscapeValue(h44) + " supersedes-size=5",
		"boot 1793606400 1 6735ec46eb44bedfa67f3a7931c328e5 1.0.0 900 bind.mac=00112233445566778899aabbccddeeff counter=7 name=plant%20north var.x=y",
		"usage node-01 render.pages sum 1793700900 1793701800 2 15 0 2 " + h44,
		"usage node-01 render.pages sum 1793700900 1793701800 9223372036854775807 9223372036854775807 0 9223372036854775807 " + h44 + " over=3 start=9 x-new=%00",
		"usage n lvl weighted 900 1800 0 4500 7 7 " + h44 + " start=5",
		"late node-02 render.pages sum 1793700900 1793701800 1 2 1 2 " + h44 + " session=s1",
		"adjust node-01 render.pages sum 1793700900 1793701800 -1 -3 void 1 " + h44,
		"beat node-03 1793700900 1793701800",
		"gap node-03 1793701800 1793783700 removed - - -",
		"gap * 1793701800 1793783700 stream-lost 1793700800000 5 9",
		"reject - 1793700900 1793701800 rejected unknown_meter 4",
		"reject node-01 1793700900 1793701800 quarantined horizon -2",
		"seat editor 1793782800 1793783700 0 1 600 0 2 " + h44,
		"clock 1793606460 0 pad",
		"clock 1793606460 -86400 step",
		"license 1793606400 L-2026-417 0 90bcfa60 " + h44 + " 0",
		"receipt 1793700300 5 " + h44 + " 1793698200 " + h44,
		"seen 1793701820 node-01 1793700800000 2 3 5 " + h44 + " -",
		"seen 1793701820 node-01 1793700800000 2 3 5 " + h44 + " rcGM8AAAAABq6vQQ",
		"key 1793782800 node add " + vkey(ledger.RoleNode),
		"key 1793782800 site add " + vkey(ledger.RoleSite),
		"key 1793782800 site-pq add " + vkey(ledger.RoleSitePQ),
		"key 1793782800 replica remove " + vkey(ledger.RoleReplica),
		"restore 1793782800 disk-lost 17 " + h44 + " - -",
		"restore 1793782800 disk-lost 17 " + h44 + " 33 " + h44,
		"close key node " + vkey(ledger.RoleNode),
		"close node node-01 3 2 1 0 0 0 0 1793701800 0 1793700800000 2 3",
		"close node node-02 1 1 0 0 0 0 0 - 0 - - -",
		"close total render.pages sum 2 42 -3 5 62 -3",
		"close total users unique 2 2 0 5 - 0",
		"close end 2 1793702100 1793701800 1 1 41 " + h44 + " " + h44 + " counter=4 rulebook=documents/3",
		"retire 1793784001 moved to=L-2 var.a=b",
		"x-note", "x-note a b", "future 1 2 3", "Future",
	}
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	kinds := map[string]bool{}
	for _, line := range goodRecords() {
		r, err := ledger.ParseRecord(line)
		if err != nil {
			t.Errorf("ParseRecord(%q): %v", line, err)
			continue
		}
		kinds[r.Kind()] = true
		if !strings.HasPrefix(line, r.Kind()) {
			t.Errorf("kind %q of %q", r.Kind(), line)
		}
		if got, err := ledger.CheckRecord(r); got != line || err != nil {
			t.Errorf("re-encoded %q, %v, want %q", got, err, line)
		}
		again, _ := ledger.ParseRecord(line)
		if !reflect.DeepEqual(r, again) {
			t.Errorf("parsed twice: %v and %v", r, again)
		}
	}
	if len(kinds) != 23 {
		t.Errorf("%d kinds of records: %v", len(kinds), kinds)
	}
}

// O-32: unknown attributes and x- kinds of a newer minor version break nothing.
func TestUnknownThingsAreKeptO32(t *testing.T) {
	r, err := ledger.ParseRecord("beat node-03 900 1800 later=7")
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := r.(*ledger.Beat).Attrs.Get("later"); v != "7" || !ok {
		t.Errorf("attribute %q, %t", v, ok)
	}
	u, err := ledger.ParseRecord("x-note some thing")
	if err != nil || !u.(*ledger.Unknown).Extension() {
		t.Errorf("x-note: %v, %v", u, err)
	}
}

// badRecords are refused, each for one reason.
var badRecords = []struct{ name, line string }{
	{"uint-plus", "beat node-03 +900 1800"},
	{"uint-leading-zero", "beat node-03 0900 1800"},
	{"uint-2-63", "usage n m sum 900 1800 1 9223372036854775808 0 1 " + h44},
	{"int-minus-zero", "clock 1793606460 -0 step"},
	{"int-2-63", "clock 1793606460 -9223372036854775808 step"},
	{"hash-31-bytes", "usage n m sum 900 1800 1 1 0 1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="},
	{"hash-padding-bits", "usage n m sum 900 1800 1 1 0 1 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV="},
	{"hash-url-alphabet", "usage n m sum 900 1800 1 1 0 1 47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU="},
	{"value-escaped-letter", "retire 1 moved to=%41"},
	{"value-lower-hex", "retire 1 moved to=%c3%bc"},
	{"value-not-utf8", "retire 1 moved to=%FF"},
	{"value-1025", "retire 1 moved to=" + strings.Repeat("a", 1025)},
	{"attr-twice", "retire 1 moved to=a to=b"},
	{"attr-order", "retire 1 moved var.b=1 to=a"},
	{"attr-empty", "retire 1 moved to="},
	{"attr-without-name", "retire 1 moved =a"},
	{"field-missing", "beat node-03 900"},
	{"field-too-many", "beat node-03 900 1800 2700"},
	{"two-spaces", "beat  node-03 900 1800"},
	{"space-at-end", "beat node-03 900 1800 "},
	{"tab", "beat\tnode-03 900 1800"},
	{"cr", "beat node-03 900 1800\r"},
	{"not-ascii", "beat node-ü 900 1800"},
	{"line-4097", "x-" + strings.Repeat("a", 4095)},
	{"node-with-point", "beat node.03 900 1800"},
	{"meter-two-points", "usage n a..b sum 900 1800 1 1 0 1 " + h44},
	{"meter-point-at-end", "usage n a. sum 900 1800 1 1 0 1 " + h44},
	{"name-129", "beat " + strings.Repeat("n", 129) + " 900 1800"},
	{"span-empty", "beat node-03 900 900"},
	{"span-back", "beat node-03 1800 900"},
	{"aggregation-unknown", "usage n m average 900 1800 1 1 0 1 " + h44},
	{"aggregation-upper", "usage n m Sum 900 1800 1 1 0 1 " + h44},
	{"value-negative", "usage n m sum 900 1800 1 -1 0 1 " + h44},
	{"start-not-a-number", "usage n m peak 900 1800 1 1 0 1 " + h44 + " start=x"},
	{"over-negative", "usage n m sum 900 1800 1 1 0 1 " + h44 + " over=-1"},
	{"adjust-of-max", "adjust n m max 900 1800 -1 -3 void 1 " + h44},
	{"gap-reason", "gap n 900 1800 holiday - - -"},
	{"gap-two-dashes", "gap n 900 1800 offline - - 4"},
	{"gap-numbers-back", "gap n 900 1800 offline 1 5 5"},
	{"reject-class", "reject n 900 1800 lost why 1"},
	{"reject-negative", "reject n 900 1800 duplicate why -1"},
	{"reject-star", "reject * 900 1800 duplicate why 1"},
	{"clock-cause", "clock 1 5 moved"},
	{"clock-pad-step", "clock 1 5 pad"},
	{"boot-window-divides-not", "boot 1 1 6735ec46eb44bedfa67f3a7931c328e5 1.0.0 700"},
	{"boot-window-short", "boot 1 1 6735ec46eb44bedfa67f3a7931c328e5 1.0.0 30"},
	{"boot-nonce-upper", "boot 1 1 6735EC46eb44bedfa67f3a7931c328e5 1.0.0 900"},
	{"boot-nonce-short", "boot 1 1 6735ec46 1.0.0 900"},
	{"boot-bind", "boot 1 1 6735ec46eb44bedfa67f3a7931c328e5 1.0.0 900 bind.mac=00"},
	{"license-id", "license 1 L.1 0 90bcfa60 " + h44 + " 0"},
	{"license-keyid-upper", "license 1 L-1 0 90BCFA60 " + h44 + " 0"},
	{"seen-signature", "seen 1 n 1 2 3 5 " + h44 + " abc"},
	{"restore-one-dash", "restore 1 disk 17 " + h44 + " - " + h44},
	{"close-kind", "close sum x"},
	{"close-site-key", "close key site " + vkeyText},
	{"close-unique-all", "close total m unique 1 1 0 1 1 0"},
	{"close-sum-dash", "close total m sum 1 1 0 1 - 0"},
	{"close-covered-0", "close node n 0 0 0 0 0 0 0 0 0 - - -"},
	{"key-role", "key 1 license add meter.example/license/2026+90bcfa60+AQHIb+B9OGOHkodVO6hfYgqS7/m4wwYdwt/yFYgwnl4A"},
	{"key-of-another-role", "key 1 node add " + vkeyText},
	{"key-action", "key 1 site drop " + vkeyText},
	{"report-prefix-event", "> x"},
	{"report-prefix-state", "= close end"},
	{"report-end", "end 5 " + h44},
	{"open-origin", "open 1 1 meter.example/L-1/short " + vkeyText + " 7d5e1add328ffb49"},
	{"open-nonce", "open 1 1 meter.example/L-2026-417/djgmytemdzhefh052d8e " + vkeyText + " 7d5e1add"},
}

const vkeyText = "meter.example/L-2026-417/djgmytemdzhefh052d8e+4e509ea8+AVoGGELQnSq2jeUu+Sj5mWKFHu7b49w2V5CRd/EglBJ1"

func TestRecordsRefused(t *testing.T) {
	for _, c := range badRecords {
		r, err := ledger.ParseRecord(c.line)
		if err == nil {
			t.Errorf("%s: ParseRecord(%.100q) = %+v", c.name, c.line, r)
		} else if !errors.Is(err, ledger.ErrMalformed) && !errors.Is(err, ledger.ErrWrongRole) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	_, err := ledger.ParseRecord("open 2 1 " + vectors.Origin + " " + vkeyText + " 7d5e1add328ffb49")
	if !errors.Is(err, ledger.ErrTooNew) {
		t.Errorf("open of format 2: %v, want %v", err, ledger.ErrTooNew)
	}
}

// The audit's own reader of usage, late and beat takes what ParseRecord takes.
func TestAuditReadsWhatParseRecordReads(t *testing.T) {
	for _, line := range goodRecords() {
		checkSame(t, line)
	}
	for _, c := range badRecords {
		checkSame(t, c.line)
	}
}

func checkSame(t *testing.T, line string) {
	t.Helper()
	switch kind, _, _ := strings.Cut(line, " "); kind {
	case "usage", "late", "beat":
	default:
		return
	}
	_, err := ledger.ParseRecord(line)
	a := ledger.NewAudit(4, &ledger.CloseEnd{})
	a.Add(4, []byte(line))
	malformed := false
	for _, f := range a.Findings() {
		malformed = malformed || f.Code == ledger.CodeMalformed && (strings.Contains(f.Detail, "malformed") || strings.HasPrefix(f.Detail, `"`))
	}
	if malformed != (err != nil) {
		t.Errorf("%q: ParseRecord says %v, the audit %v", line, err, a.Findings())
	}
}

func FuzzParseRecord(f *testing.F) {
	for _, line := range goodRecords() {
		f.Add(line)
	}
	for _, c := range badRecords {
		f.Add(c.line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		checkSame(t, line)
		r, err := ledger.ParseRecord(line)
		if err != nil {
			return
		}
		if got := ledger.Line(r); got != line {
			t.Errorf("re-encoded %q, want %q", got, line)
		}
	})
}
