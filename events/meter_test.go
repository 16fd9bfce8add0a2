package events_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
)

func TestParseMeterFlag(t *testing.T) {
	for flag, want := range map[string]events.Meter{
		"render.pages:sum":        {ID: "render.pages", Aggregation: events.Sum},
		"storage:weighted:3:GB":   {ID: "storage", Aggregation: events.Weighted, Scale: 3, Unit: "GB"},
		"a:b:count":               {ID: "a:b", Aggregation: events.Count},
		"a:sum:count":             {ID: "a:sum", Aggregation: events.Count},
		"llm/tokens:max:0":        {ID: "llm/tokens", Aggregation: events.Max},
		"count:count:9:x":         {ID: "count", Aggregation: events.Count, Scale: 9, Unit: "x"},
		"documents.processed:sum": {ID: "documents.processed", Aggregation: events.Sum},
	} {
		got, err := events.ParseMeterFlag(flag)
		if err != nil {
			t.Errorf("ParseMeterFlag(%q): %v", flag, err)
		}
		wantDiff(t, flag, got, want)
	}
	for _, flag := range []string{"", "pages", "pages:", ":sum", "pages:total", "pages:sum:", "pages:sum:10", "pages:sum:-1", "pages:sum:1:", "pages:sum:1:a b", "pages:sum:1:a:b", "a..b:sum", "a.:sum"} {
		m, err := events.ParseMeterFlag(flag)
		if err == nil {
			t.Errorf("ParseMeterFlag(%q) = %+v, want an error", flag, m)
		} else if e := asError(t, err); e.Code != events.CodeConfigInvalid {
			t.Errorf("ParseMeterFlag(%q): %v, want config_invalid", flag, e)
		}
	}
}

func TestMeterValidate(t *testing.T) {
	good := events.Meter{ID: "m", Aggregation: events.Sum}
	dims := func(d ...events.MeterDimension) func(*events.Meter) {
		return func(m *events.Meter) { m.Dimensions = d }
	}
	for _, c := range []struct {
		name, field string
		change      func(*events.Meter)
	}{
		{"id", "id", func(m *events.Meter) { m.ID = "a b" }},
		{"id of 129", "id", func(m *events.Meter) { m.ID = strings.Repeat("x", 129) }},
		{"unit", "unit", func(m *events.Meter) { m.Unit = "two words" }},
		{"scale 10", "scale", func(m *events.Meter) { m.Scale = 10 }},
		{"scale -1", "scale", func(m *events.Meter) { m.Scale = -1 }},
		{"aggregation", "aggregation", func(m *events.Meter) { m.Aggregation = 8 }},
		{"event type", "event_type", func(m *events.Meter) { m.EventType = "a\n" }},
		{"value", "value", func(m *events.Meter) { m.Value = "$.a[0]" }},
		{"value without root", "value", func(m *events.Meter) { m.Value = "pages" }},
		{"value with a hole", "value", func(m *events.Meter) { m.Value = "$.a..b" }},
		{"undo without corrections", "undo", func(m *events.Meter) { m.Undo = time.Hour }},
		{"undo below zero", "undo", func(m *events.Meter) { m.Undo, m.Corrections = -1, true }},
		{"corrections of max", "corrections", func(m *events.Meter) { m.Aggregation, m.Corrections = events.Max, true }},
		{"subject of sum", "subject", func(m *events.Meter) { m.Subject = "user" }},
		{"subject name", "subject", func(m *events.Meter) { m.Aggregation, m.Subject = events.Unique, "1" }},
		{"unique cap", "unique_max", func(m *events.Meter) { m.Aggregation, m.UniqueMax = events.Unique, -1 }},
		{"P-23 unknown rule book", "rulebook", func(m *events.Meter) { m.RuleBook = "documents/9" }},
		{"P-23 rule book of count", "rulebook", func(m *events.Meter) { m.Aggregation, m.RuleBook = events.Count, "documents/3" }},
		{"P-23 rule book and value", "value", func(m *events.Meter) { m.RuleBook, m.Value = "documents/3", "$.x" }},
		{"dimension name", "dimensions", dims(events.MeterDimension{Name: "a:b"})},
		{"dimension twice", "dimensions.a", dims(events.MeterDimension{Name: "a"}, events.MeterDimension{Name: "a"})},
		{"dimension path", "dimensions.a", dims(events.MeterDimension{Name: "a", Path: "$"})},
		{"33 dimensions", "dimensions", dims(make([]events.MeterDimension, 33)...)},
	} {
		m := good
		c.change(&m)
		err := m.Validate()
		if err == nil {
			t.Errorf("%s: valid", c.name)
			continue
		}
		if e := asError(t, err); e.Code != events.CodeConfigInvalid || e.Field != c.field {
			t.Errorf("%s: %s field %s (%v), want config_invalid field %s", c.name, e.Code, e.Field, e, c.field)
		}
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

func TestMetersSet(t *testing.T) {
	if _, err := events.NewMeters([]events.Meter{{ID: "a"}, {ID: "a"}}); err == nil {
		t.Error("a meter that is declared twice is accepted")
	}
	if _, err := events.NewMeters(make([]events.Meter, events.MaxMeters+1)); err == nil {
		t.Error("1025 meters are accepted")
	}
	var none *events.Meters
	if none.Lookup("a") != nil || none.All() != nil || none.ByEventType("a") != nil {
		t.Error("an empty set has meters")
	}
	set := declared(t)
	var ids []string
	for _, m := range set.ByEventType("page.rendered") {
		ids = append(ids, m.ID)
	}
	wantDiff(t, "meters of page.rendered", ids, []string{"render.pages", "render.seconds"})
	if got := set.ByEventType("storage"); len(got) != 1 || got[0] != set.Lookup("storage") {
		t.Errorf("meters of type storage: %v, want the meter of that id", got)
	}
	if n := len(set.All()); n != 9 {
		t.Errorf("%d meters, want 9", n)
	}
}

// A dimension whose name has dots is one name in data.
func TestDottedDimension(t *testing.T) {
	set, err := events.NewMeters([]events.Meter{{ID: "m", Dimensions: []events.MeterDimension{{Name: "a..b"}, {Name: "c.d"}, {Name: "e", Path: "$.c.d"}}}})
	if err != nil {
		t.Fatal(err)
	}
	p := &events.Parser{Meters: set}
	_, evs, err := p.Parse(events.Input{Data: []byte(`{"specversion":"1.0","id":"x","source":"s","type":"m","data":{"a..b":1,"c.d":"two","c":{"d":3.0}}}`)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantDiff(t, "dimensions", evs[0].Detail.Dimensions, []events.Dimension{{"a..b", "1"}, {"c.d", "two"}, {"e", "3.0"}})
}

func TestShippedRuleBooks(t *testing.T) {
	wantDiff(t, "versions", events.RuleBooks(), []string{"documents/3"})
	b := events.LookupRuleBook("documents/3")
	got := map[string]int64{}
	for _, r := range b.Rules {
		got[r.Operation] = r.Quantity
	}
	// P-22: viewing one document 1, comparing two 2, burning markup 1, a conversion 1.
	wantDiff(t, "P-22 rules", got, map[string]int64{"view": 1, "compare": 2, "burn": 1, "convert": 1})
	again, err := events.ParseRuleBook(b.JSON())
	if err != nil || again.Version != "documents/3" || again.Unit != "document" || again.Dimension != "operation" {
		t.Errorf("P-23: the published text gives %+v, %v", again, err)
	}
	if events.LookupRuleBook("documents/1") != nil || events.LookupRuleBook("") != nil {
		t.Error("a rule book that was not shipped is found")
	}
}

// P-22: an operation counts the same whatever the way in.
func TestP22SameOnEachWay(t *testing.T) {
	set := declared(t)
	p := &events.Parser{Meters: set}
	m := set.Lookup("documents.processed")
	for _, r := range events.LookupRuleBook("documents/3").Rules {
		var got []int64
		for _, in := range []events.Input{
			{Meter: m.ID, Data: []byte(`{"dimensions":{"operation":"` + r.Operation + `"}}`)},                                                     // NATS
			{Data: []byte(`{"meter":"documents.processed","quantity":1,"dimensions":{"operation":"` + r.Operation + `"}}`)},                       // HTTP
			{Data: []byte(`{"specversion":"1.0","id":"x","source":"s","type":"documents.processed","data":{"operation":"` + r.Operation + `"}}`)}, // CloudEvents
		} {
			_, evs, err := p.Parse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, evs[0].Quantity)
		}
		b := &events.Batch{Epoch: 1, Events: []events.Event{{Meter: m.ID, TimeMS: 1, Quantity: 1,
			Detail: &events.Detail{Dimensions: []events.Dimension{{"operation", r.Operation}}}}}} // the Go package
		data, err := events.AppendBatch(nil, b, 1, false)
		if err != nil {
			t.Fatal(err)
		}
		b, err = events.DecodeBatch(data)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // twice is as good as once
			if err := m.Resolve(&b.Events[0]); err != nil {
				t.Fatal(err)
			}
			got = append(got, b.Events[0].Quantity)
		}
		wantDiff(t, r.Operation, got, []int64{r.Quantity, r.Quantity, r.Quantity, r.Quantity, r.Quantity})
	}
}

func TestP22Refused(t *testing.T) {
	set := declared(t)
	with := func(id string, q int64, op string) *events.Event {
		e := &events.Event{Meter: id, Quantity: q}
		if op != "" {
			e.Detail = &events.Detail{Dimensions: []events.Dimension{{"operation", op}}}
		}
		return e
	}
	for _, c := range []struct {
		e                  *events.Event
		code, cause, field string
	}{
		{with("documents.processed", 1, ""), "malformed", "missing", "dimensions.operation"},
		{with("documents.processed", 1, "print"), "malformed", "unknown_operation", "dimensions.operation"},
		{with("documents.processed", 3, "view"), "bad_quantity", "not_by_rule", "quantity"},
		{with("documents.processed", 0, "view"), "bad_quantity", "not_by_rule", "quantity"},
		{with("documents.processed", -1, "view"), "bad_quantity", "negative", "quantity"},
	} {
		err := set.Lookup(c.e.Meter).Resolve(c.e)
		if err == nil {
			t.Errorf("%+v is accepted", c.e)
			continue
		}
		if e := asError(t, err); e.Code != c.code || e.Cause != c.cause || e.Field != c.field {
			t.Errorf("%+v: %s/%s %s, want %s/%s %s", c.e, e.Code, e.Cause, e.Field, c.code, c.cause, c.field)
		}
	}
	e := with("parts", 100, "compare") // scale 2
	if err := set.Lookup("parts").Resolve(e); err != nil || e.Quantity != 200 {
		t.Errorf("compare at scale 2: %d, %v; want 200", e.Quantity, err)
	}
	// An amendment states its quantity, a void has none.
	e = &events.Event{Meter: "documents.processed", Quantity: 7, Detail: &events.Detail{Kind: events.KindAmend}}
	if err := set.Lookup("documents.processed").Resolve(e); err != nil || e.Quantity != 7 {
		t.Errorf("amend: %d, %v; want 7", e.Quantity, err)
	}
	e.Detail.Kind = events.KindVoid
	if err := set.Lookup("documents.processed").Resolve(e); err != nil || e.Quantity != 0 {
		t.Errorf("void: %d, %v; want 0", e.Quantity, err)
	}
}

func TestParseRuleBookRefused(t *testing.T) {
	const good = `{"version":"a/1","title":"t","unit":"u","dimension":"d","rules":[{"operation":"o","quantity":1,"description":"x"}]}`
	if _, err := events.ParseRuleBook([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]string{{`"a/1"`, `"a"`}, {`"a/1"`, `"a/01"`}, {`"a/1"`, `"/1"`}, {`"a/1"`, `"a/1x"`}, {`"u"`, `""`}, {`"d"`, `"1"`},
		{`"quantity":1`, `"quantity":-1`}, {`"quantity":1`, `"quantity":1.5`}, {`"o"`, `""`}, {`"title"`, `"tittle"`},
		{`{"operation"`, `{"operation":"o","quantity":2},{"operation"`}, {`}]}`, `}]}}`}, {`[{"operation":"o","quantity":1,"description":"x"}]`, `[]`}} {
		if _, err := events.ParseRuleBook([]byte(strings.Replace(good, r[0], r[1], 1))); err == nil {
			t.Errorf("%s instead of %s is accepted", r[1], r[0])
		} else {
			asError(t, err)
		}
	}
}

func TestParseQuantity(t *testing.T) {
	for _, c := range []struct {
		s     string
		scale int
		want  int64
	}{
		{"0", 0, 0}, {"12", 0, 12}, {"007", 0, 7}, {"1.5", 1, 15}, {"1.5", 9, 1500000000}, {"0.000000001", 9, 1},
		{"9223372036854775807", 0, math.MaxInt64}, {"9223372036.854775807", 9, math.MaxInt64}, {"2147483648", 0, 1 << 31},
	} {
		if got, err := events.ParseQuantity(c.s, c.scale); err != nil || got != c.want {
			t.Errorf("ParseQuantity(%q, %d) = %d, %v; want %d", c.s, c.scale, got, err, c.want)
		}
	}
	for _, c := range []struct {
		s     string
		scale int
		cause string
	}{
		{"", 0, "not_a_number"}, {"x", 0, "not_a_number"}, {"1.", 1, "not_a_number"}, {".1", 1, "not_a_number"}, {"1.2.3", 9, "not_a_number"},
		{"1.23x", 1, "not_a_number"}, {" 1", 0, "not_a_number"}, {"1 ", 0, "not_a_number"}, {"--1", 0, "not_a_number"}, {"0x1", 0, "not_a_number"},
		{"-1", 0, "negative"}, {"-0.0", 0, "negative"}, {"1e1", 0, "exponent"}, {"1.5E1", 1, "exponent"}, {"99999999999999999999e1", 0, "exponent"}, {"1.234e1", 1, "exponent"},
		{"9223372036854775808", 0, "overflow"}, {"9223372036.854775808", 9, "overflow"}, {"9223372037", 9, "overflow"}, {"92233720368547758070", 0, "overflow"},
		{"1.01", 1, "too_exact"}, {"1.0", 0, "too_exact"}, {"1.0000000001", 9, "too_exact"},
	} {
		_, err := events.ParseQuantity(c.s, c.scale)
		if err == nil {
			t.Errorf("ParseQuantity(%q, %d) is accepted", c.s, c.scale)
		} else if e := asError(t, err); e.Code != events.CodeBadQuantity || e.Cause != c.cause {
			t.Errorf("ParseQuantity(%q, %d): %s/%s, want bad_quantity/%s", c.s, c.scale, e.Code, e.Cause, c.cause)
		}
	}
}

func TestParseTime(t *testing.T) {
	for s, want := range map[string]string{
		"2026-11-03T10:15:03Z":               "2026-11-03T10:15:03.000Z",
		"2026-11-03t10:15:03z":               "2026-11-03T10:15:03.000Z",
		"2026-11-03T10:15:03.9999999999999Z": "2026-11-03T10:15:03.999Z",
		"2026-11-03T10:15:03.5-23:59":        "2026-11-04T10:14:03.500Z",
		"2028-02-29T00:00:00+14:00":          "2028-02-28T10:00:00.000Z",
		"2000-02-29T23:59:59.01-00:00":       "2000-02-29T23:59:59.010Z",
		"1970-01-01T00:00:00.001Z":           "1970-01-01T00:00:00.001Z",
		"9999-12-31T23:59:59.999Z":           "9999-12-31T23:59:59.999Z",
		"1969-12-31T23:59:59-01:00":          "1970-01-01T00:59:59.000Z",
	} {
		ms, err := events.ParseTime(s)
		if err != nil {
			t.Errorf("ParseTime(%q): %v", s, err)
		} else if got := time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z"); got != want {
			t.Errorf("ParseTime(%q) = %s, want %s", s, got, want)
		}
	}
	for _, s := range []string{"", "2026-11-03", "2026-11-03T10:15Z", "2026-11-03T10:15:03", "2026-11-03 10:15:03Z", "2026-11-03T10:15:03,5Z", "2026-11-03T10:15:03.Z",
		"2026-11-03T10:15:03.5", "2026-11-03T24:00:00Z", "2026-11-03T10:60:00Z", "2026-11-03T10:15:60Z", "2026-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-00-01T00:00:00Z",
		"2026-13-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+01:60", "2026-01-01T00:00:00+0100", "2026-01-01T00:00:00ZZ",
		"2026-1-01T00:00:00Z0", "+026-01-01T00:00:00Z", "2100-02-29T00:00:00Z", "1793700903", "2026-01-01T00:00:00+1a:00"} {
		if _, err := events.ParseTime(s); err == nil || asError(t, err).Cause != "bad_time" {
			t.Errorf("ParseTime(%q): %v, want bad_time", s, err)
		}
	}
	for _, s := range []string{"1970-01-01T00:00:00Z", "1970-01-01T00:30:00+01:00", "1969-12-31T23:59:59.999Z", "0000-01-01T00:00:00Z", "1970-01-01T00:00:00.0009Z"} {
		if _, err := events.ParseTime(s); err == nil || asError(t, err).Cause != "before_1970" {
			t.Errorf("ParseTime(%q): %v, want before_1970", s, err)
		}
	}
}

// Every day of four centuries agrees with package time.
func TestParseTimeCalendar(t *testing.T) {
	for day := time.Date(1970, 1, 2, 12, 34, 56, 0, time.UTC); day.Year() < 2401; day = day.AddDate(0, 0, 1) {
		s := day.Format(time.RFC3339)
		if ms, err := events.ParseTime(s); err != nil || ms != day.UnixMilli() {
			t.Fatalf("ParseTime(%q) = %d, %v; want %d", s, ms, err, day.UnixMilli())
		}
	}
}

func TestCheckTime(t *testing.T) {
	const wall, future = 1793700903000, 300_000
	for _, c := range []struct{ ms, want int64 }{{0, 0}, {1, 1}, {wall, wall}, {wall + 1, 0}, {wall + future, 0}} {
		e := events.Event{TimeMS: c.ms}
		if err := events.CheckTime(&e, wall, future); err != nil || e.TimeMS != c.want {
			t.Errorf("CheckTime of %d: %d, %v; want %d", c.ms, e.TimeMS, err, c.want)
		}
	}
	for _, ms := range []int64{wall + future + 1, wall + 360_000, math.MaxInt64} {
		e := events.Event{TimeMS: ms}
		err := events.CheckTime(&e, wall, future)
		if err == nil || asError(t, err).Code != events.CodeTimeInFuture || e.TimeMS != ms {
			t.Errorf("CheckTime of %d: %v, time %d; want time_in_future", ms, err, e.TimeMS)
		}
	}
	if err := events.CheckTime(&events.Event{TimeMS: math.MaxInt64}, -5, future); err == nil {
		t.Error("the end of time is not ahead of 1969")
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		s                string
		node, meter, dim bool
	}{
		{"", false, false, false}, {"a", true, true, true}, {"1", true, true, false}, {"-a", false, false, false}, {"a-b_c:d/e", true, true, false},
		{"a.b", false, true, true}, {"a..b", false, false, true}, {"a.", false, false, true}, {".a", false, false, false}, {"a b", false, false, false},
		{"é", false, false, false}, {"a*", false, false, false}, {"a>", false, false, false}, {"a\n", false, false, false},
		{strings.Repeat("a", 48), true, true, true}, {strings.Repeat("a", 49), true, true, false}, {strings.Repeat("a", 128), true, true, false}, {strings.Repeat("a", 129), false, false, false},
	} {
		got := fmt.Sprint(events.ValidNode(c.s), events.ValidMeter(c.s), events.ValidDimension(c.s))
		if want := fmt.Sprint(c.node, c.meter, c.dim); got != want {
			t.Errorf("%q as node, meter, dimension: %s, want %s", c.s, got, want)
		}
	}
}

func TestSessionNames(t *testing.T) {
	for s, want := range map[string]bool{"a": true, "0": true, "2026-11_b.1": true, strings.Repeat("s", 64): true,
		"": false, ".a": false, "-a": false, "a/b": false, "a:b": false, "a b": false, "é": false, strings.Repeat("s", 65): false} {
		if got := events.ValidSession(s); got != want {
			t.Errorf("ValidSession(%q) = %t, want %t", s, got, want)
		}
	}
}

func TestDispositions(t *testing.T) {
	seen := map[string]bool{}
	for d := events.Stored; d <= events.SessionFull; d++ {
		if seen[d.Code()] || strings.HasPrefix(d.Code(), "disposition") || events.StatusOf(d.Code()) == 500 {
			t.Errorf("disposition %d has code %s, status %d", d, d, events.StatusOf(d.Code()))
		}
		seen[d.Code()] = true
		if d.Refused() != (events.StatusOf(d.Code()) != 202) {
			t.Errorf("%s: refused is %v, status %d", d, d.Refused(), events.StatusOf(d.Code()))
		}
	}
	if got := events.Disposition(99).Code(); got != "disposition(99)" {
		t.Errorf("disposition 99 is %s", got)
	}
	if got := fmt.Sprint(events.KindVoid, events.Kind(9), events.Peak, events.Aggregation(9)); got != "void kind(9) peak aggregation(9)" {
		t.Errorf("spellings: %s", got)
	}
}
