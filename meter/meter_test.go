package meter

import (
	"errors"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
)

// What Record takes arrives, whatever the durability, with all that was said
// of it.
func TestRecord(t *testing.T) {
	for name, d := range map[string]Durability{"memory": Memory, "process": Process, "disk": Disk} {
		t.Run(name, func(t *testing.T) {
			s := openSite(t, "127.0.0.1:0")
			o := Options{URL: s.url(), Durability: d}
			if d != Memory {
				o.Dir = t.TempDir()
			}
			m := open(t, o)
			at := time.Now().Add(-time.Hour)
			if err := m.Record("pages", 12, User("ana"), Host("ws-7"), IP("10.0.0.7"), Dim("format", "pdf"), Dim("color", "no"), At(at), ID("e-1")); err != nil {
				t.Fatal(err)
			}
			if err := m.Record("pages", 30); err != nil {
				t.Fatal(err)
			}
			flush(t, m)
			if got, want := s.fold.total("pages"), int64(42); got != want {
				t.Errorf("total(pages) = %d, want %d", got, want)
			}
			e := s.fold.events[0]
			if d := e.Detail; e.ID != "e-1" || e.TimeMS != at.UnixMilli() || d.User != "ana" || d.Host != "ws-7" || d.IP != "10.0.0.7" ||
				len(d.Dimensions) != 2 || d.Dimensions[0] != (events.Dimension{Name: "color", Value: "no"}) || d.Dimensions[1] != (events.Dimension{Name: "format", Value: "pdf"}) {
				t.Errorf("the daemon has %+v, %+v", e, e.Detail)
			}
			if st := m.Stats(); st.Recorded != 2 || st.Next != 2 || st.Stored != 2 {
				t.Errorf("Stats() = %+v, want 2 recorded and stored", st)
			}
		})
	}
}

// What is wrong with an event is an error of Record that names the field.
func TestRecordRefuses(t *testing.T) {
	m := open(t, Options{Durability: Memory, Meters: declared().All()})
	for _, c := range []struct {
		code, field string
		err         error
	}{
		{events.CodeUnknownMeter, "meter", m.Record("page", 1)},
		{events.CodeBadQuantity, "quantity", m.Record("pages", -1)},
		{events.CodeMalformed, "user", m.Record("pages", 1, User(string(make([]byte, 129))))},
		{events.CodeMalformed, "dimensions", m.Record("pages", 1, Dim("1st", "x"))},
		{events.CodeMalformed, "dimensions.a", m.Record("pages", 1, Dim("a", "x"), Dim("a", "y"))},
		{events.CodeTimeInFuture, "time", m.Record("pages", 1, At(time.Now().Add(time.Hour)))},
		{events.CodeMalformed, "dimensions.operation", m.Record("documents", 1)},
		{events.CodeMalformed, "dimensions.operation", m.Record("documents", 1, Operation("print"))},
		{events.CodeBadQuantity, "quantity", m.Record("documents", 7, Operation("compare"))},
	} {
		var e *events.Error
		if !errors.As(c.err, &e) || e.Code != c.code || e.Field != c.field || e.Hint == "" {
			t.Errorf("Record() = %v (%+v), want %s of %s", c.err, e, c.code, c.field)
		}
	}
	if st := m.Stats(); st.Next != 0 {
		t.Errorf("refused events took %d numbers", st.Next)
	}
}

// P-22: an operation counts what the rule book says, as with every other way in,
// and the gateway agrees.
func TestOperationsCountByTheRuleBook(t *testing.T) {
	s := openSite(t, "127.0.0.1:0")
	m := open(t, Options{URL: s.url(), Durability: Memory, Meters: declared().All()})
	want := int64(0)
	for _, r := range events.LookupRuleBook("documents/3").Rules {
		if err := m.Record("documents", 1, Operation(r.Operation)); err != nil {
			t.Fatal(err)
		}
		want += r.Quantity * 100 // its scale is 2
	}
	flush(t, m)
	if got := s.fold.total("documents"); got != want {
		t.Errorf("total(documents) = %d, want %d", got, want)
	}
	if st := m.Stats(); st.Refused != 0 {
		t.Errorf("Stats() = %+v, want nothing refused", st)
	}
}
