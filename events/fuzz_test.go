package events_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
)

// Fuzz targets, one for each parser. They begin with the vectors, and look for
// more than a crash: what is taken must come back the same from whatever it is
// written into, and must be what a slow and simple reader makes of it.

// explained checks that a refusal is one of ours.
func explained(t *testing.T, err error) {
	t.Helper()
	asError(t, err)
}

// fuzzMessage parses one message and checks what was taken.
func fuzzMessage(t *testing.T, in events.Input) {
	node, evs, err := parser(t).Parse(in, nil)
	if err != nil {
		explained(t, err)
		return
	}
	if !events.ValidNode(node) || len(evs) == 0 {
		t.Fatalf("taken as %d events of node %q", len(evs), node)
	}
	checkGroupAgain(t, node, evs)
}

func FuzzParse(f *testing.F) {
	for data := range vectorSeeds(f, ".message") {
		if in, _ := readMessage(data); in.Header("ce-specversion") == "" {
			f.Add(in.Node, in.Meter, in.ID, in.ContentType, in.Data)
		}
	}
	f.Fuzz(func(t *testing.T, node, meter, id, contentType string, data []byte) {
		if node != "" && !events.ValidNode(node) {
			return // a subject or token gives none such
		}
		in := events.Input{Node: node, Meter: meter, ID: id, ContentType: contentType, Data: data}
		_, _, err := parser(t).Parse(in, nil)
		if err == nil && !json.Valid(data) {
			t.Fatalf("%q is taken, but is no JSON", data)
		}
		fuzzMessage(t, in)
	})
}

func FuzzParseCloudEventHeaders(f *testing.F) {
	f.Add("1.0", "9", "/render/a", "page.rendered", "berlin", "2026-11-03T10:15:03.5Z", "july", "application/json", []byte(renderedData))
	f.Add("1.0", "a%20b%C3%A9", "s", "render.calls", "", "", "", "", []byte(nil))
	f.Add("1.0", "%", "s", "documents.processed", "%zz", "yesterday", "a b", "text/xml", []byte("{"))
	f.Fuzz(func(t *testing.T, version, id, source, kind, subject, at, session, contentType string, data []byte) {
		h := map[string]string{"ce-specversion": version, "ce-id": id, "ce-source": source, "ce-type": kind, "ce-subject": subject, "ce-time": at, "ce-session": session}
		fuzzMessage(t, events.Input{ContentType: contentType, Header: headers(h), Data: data})
	})
}

func FuzzParseBatch(f *testing.F) {
	for data := range vectorSeeds(f, ".message") {
		if in, _ := readMessage(data); events.IsBatch(in) {
			f.Add(in.ID, in.ContentType, in.Data)
		}
	}
	f.Fuzz(func(t *testing.T, id, contentType string, data []byte) {
		in := events.Input{Node: "n", ID: id, ContentType: contentType, Data: data}
		next, whole := 0, false
		p := parser(t)
		p.ParseBatch(in, func(i int, node string, evs []events.Event, err error) {
			if whole || i != next && !(i == -1 && next == 0) {
				t.Fatalf("element %d after %d", i, next-1)
			}
			next, whole = i+1, i < 0
			if err != nil {
				explained(t, err)
				return
			}
			checkGroupAgain(t, node, evs)
		})
		// An array that is JSON, within the limits, is taken apart: what is wrong
		// with an element is that element's.
		var list []json.RawMessage
		flat := bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) < events.MaxDataDepth
		if contentType == "" && whole && flat && json.Unmarshal(data, &list) == nil && list != nil && len(list) <= events.MaxBatchEvents {
			t.Fatalf("%q is refused as a whole", data)
		}
	})
}

func FuzzDecodeBatch(f *testing.F) {
	for data := range vectorSeeds(f, ".batch") {
		f.Add(mustHex(f, data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, b := range [][]byte{data, sealedCopy(data)} { // a checksum that is right lets it further in
			got, err := events.DecodeBatch(b)
			if err != nil {
				explained(t, err)
				continue
			}
			checkBatchAgain(t, "batch", b, got)
		}
	})
}

// sealedCopy is data with the right length and checksum, if it is long enough.
func sealedCopy(data []byte) []byte {
	if len(data) < 40 {
		return data
	}
	return sealed(slices.Clone(data))
}

func FuzzDecodeGroup(f *testing.F) {
	for data := range vectorSeeds(f, ".groups") {
		for _, group := range unhexLines(f, data) {
			f.Add(group)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list := [][]byte{data}
		if len(data) >= 120 {
			list = append(list, summed(slices.Clone(data)))
		}
		for _, b := range list {
			g, err := events.DecodeGroup(b)
			switch {
			case errors.Is(err, events.ErrGroupDamaged), errors.Is(err, events.ErrGroupVersion):
				continue
			case err != nil:
				t.Fatalf("DecodeGroup: %v, want a family", err)
			}
			want := describedGroup(g)
			again, err := events.AppendGroup(nil, g)
			if err != nil {
				t.Fatalf("AppendGroup of what was read: %v", err)
			}
			back, err := events.DecodeGroup(again)
			if err != nil || describedGroup(back) != want {
				t.Fatalf("written again it is\n%s (%v), want\n%s", describedGroup(back), err, want)
			}
		}
	})
}

func FuzzParseQuantity(f *testing.F) {
	for _, s := range []string{"0", "12", "007", "1.5", "9223372036854775807", "9223372036854775808", "9223372036.854775807", "-1", "-0.0", "1e3", "99999999999999999999e1", "1.", ".5", "0x1", "1.0000000000"} {
		for _, scale := range []int{0, 2, 9} {
			f.Add(s, scale)
		}
	}
	largest := big.NewRat(1<<62, 1)
	largest.Add(largest, big.NewRat(1<<62-1, 1))
	f.Fuzz(func(t *testing.T, s string, scale int) {
		if scale < 0 || scale > events.MaxScale || len(s) > 1000 {
			return
		}
		got, err := events.ParseQuantity(s, scale)
		if err != nil {
			if e := asError(t, err); e.Code != events.CodeBadQuantity {
				t.Fatalf("ParseQuantity(%q, %d): %s, want bad_quantity", s, scale, e.Code)
			}
		}
		whole, fraction, point := strings.Cut(s, ".")
		digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
		want := new(big.Rat)
		ok := digits(whole) && (!point || digits(fraction)) && len(fraction) <= scale
		if ok {
			want.SetString(s)
			want.Mul(want, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)))
			ok = want.Cmp(largest) <= 0
		}
		if ok != (err == nil) || ok && want.Cmp(big.NewRat(got, 1)) != 0 {
			t.Fatalf("ParseQuantity(%q, %d) = %d, %v; want %v, taken %t", s, scale, got, err, want, ok)
		}
	})
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"2026-11-03T10:15:03Z", "2026-11-03t10:15:03.9999z", "2028-02-29T00:00:00+14:00", "1970-01-01T00:00:00Z", "2026-02-29T00:00:00Z", "yesterday"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := events.ParseTime(s)
		if err != nil {
			explained(t, err)
			return
		}
		want, err := time.Parse(time.RFC3339, strings.ToUpper(s))
		if err != nil || want.UnixMilli() != got {
			t.Fatalf("ParseTime(%q) = %d, package time gives %v, %v", s, got, want, err)
		}
	})
}

func FuzzParseMeterFlag(f *testing.F) {
	for _, s := range []string{"documents.processed:count", "storage:weighted:3:GB", "a:b:sum:0", "x:sum:sum", "x:sum:10", "x:sum:0:", ":sum"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := events.ParseMeterFlag(s)
		if err != nil {
			explained(t, err)
			return
		}
		if _, err := events.NewMeters([]events.Meter{m}); err != nil {
			t.Fatalf("ParseMeterFlag(%q) = %+v, which cannot be declared: %v", s, m, err)
		}
	})
}

func FuzzParseRuleBook(f *testing.F) {
	f.Add(events.LookupRuleBook("documents/3").JSON())
	f.Add([]byte(`{"version":"a/1","title":"t","unit":"u","dimension":"d","rules":[{"operation":"o","quantity":1,"description":"x"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := events.ParseRuleBook(data)
		if err != nil {
			explained(t, err)
			return
		}
		again, err := events.ParseRuleBook(b.JSON())
		if err != nil || again.Version != b.Version || !slices.Equal(again.Rules, b.Rules) {
			t.Fatalf("parsed again: %+v, %v; want %+v", again, err, b)
		}
	})
}

func mustHex(t testing.TB, text []byte) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
