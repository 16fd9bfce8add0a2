package portal_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// zones are those that statements are tried in: changes of the clock at midnight
// and at other hours, offsets of 30 and 45 minutes, both ends of the world, and
// days that clocks there never showed.
var zones = []string{"UTC", "Europe/Berlin", "Europe/London", "Europe/Lisbon", "Europe/Moscow", "Europe/Istanbul", "Africa/Cairo", "Africa/Casablanca", "Africa/Lagos",
	"America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/Anchorage", "America/Halifax", "America/St_Johns", "America/Caracas",
	"America/Sao_Paulo", "America/Asuncion", "America/Santiago", "America/Havana", "Asia/Beirut", "Asia/Tehran", "Asia/Kabul", "Asia/Karachi", "Asia/Kolkata",
	"Asia/Kathmandu", "Asia/Yangon", "Asia/Tokyo", "Asia/Shanghai", "Australia/Adelaide", "Australia/Eucla", "Australia/Lord_Howe", "Australia/Sydney",
	"Pacific/Auckland", "Pacific/Chatham", "Pacific/Apia", "Pacific/Kiritimati", "Pacific/Marquesas", "Pacific/Honolulu", "Antarctica/Troll"}

// booked is a usage record with the time at which it counts: the begin of its
// window, or of the newest one that was booked before a late one.
type booked struct {
	at           int64
	value, count int64
}

// records reads the ledger itself, with nothing of the portal.
func records(t *testing.T, s *site) (out []booked) {
	t.Helper()
	var at int64
	for _, line := range s.Ledger.Lines {
		r, err := ledger.ParseRecord(line)
		if err != nil {
			continue
		}
		switch r := r.(type) {
		case *ledger.Usage:
			if !r.Late {
				at = max(at, r.From)
			}
			out = append(out, booked{at: at, value: r.Value, count: int64(r.Count)})
		case *ledger.Beat:
			at = max(at, r.To-1)
		}
	}
	return out
}

// P-19, O-19: in every zone the months, weeks and days of a statement are the sums
// of the records that were booked in them, and share out the same total.
func TestStatementInZones(t *testing.T) {
	v := newVendor(t, "")
	s, _ := v.Ready("L-1")
	r := rand.New(rand.NewPCG(5, 5))
	// Around both changes of the clock of 2026/27 on either side of the world.
	for month, at := range []time.Time{time.Unix(s.Until(), 0).UTC(), time.Date(2027, 2, 26, 0, 0, 0, 0, time.UTC), time.Date(2027, 3, 12, 6, 0, 0, 0, time.UTC),
		time.Date(2027, 3, 26, 0, 0, 0, 0, time.UTC), time.Date(2027, 4, 2, 0, 0, 0, 0, time.UTC)} {
		s.SkipTo(at)
		for range 3 * 96 {
			var cells []exporttest.Cell
			if r.IntN(3) > 0 {
				cells = append(cells, exporttest.Cell{Node: "node-01", Meter: "render.pages", Events: []exporttest.Event{{OffsetMS: 1000, Quantity: 1 + r.Int64N(1000), ID: "e"}}})
			}
			s.Window(cells...)
			if r.IntN(20) == 0 {
				s.Late(exporttest.Cell{Node: "node-02", Meter: "render.pages", Events: []exporttest.Event{{OffsetMS: 1000, Quantity: 5, ID: "late"}}}, s.Until()-3*exporttest.WindowSeconds)
			}
		}
		s.Close()
		v.Clock.Set(time.Unix(s.Now(), 0))
		if month != 2 { // two reports may have the same day
			s.Send()
		}
	}
	all := records(t, s)
	from, to := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), time.Unix(s.Until(), 0).UTC().AddDate(0, 0, 2)
	var total int64
	for _, b := range all {
		total += b.value
	}
	for _, name := range zones {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, period := range []license.Reset{license.ResetDaily, license.ResetWeekly, license.ResetMonthly, license.ResetAnnual, license.ResetNone} {
			rows, err := v.Statement(t0, from, to, portal.StatementFilter{Period: period, Zone: zone})
			v.Must(err)
			var sum int64
			for _, row := range rows {
				var want booked
				for _, b := range all {
					if b.at >= row.From.Unix() && b.at < row.To.Unix() {
						want.value, want.count = want.value+b.value, want.count+b.count
					}
				}
				if row.Quantity != want.value || int64(row.Events) != want.count || !row.Exact {
					t.Errorf("%s, %s from %v: %d in %d events, exact %v, want %d in %d", name, period, row.From, row.Quantity, row.Events, row.Exact, want.value, want.count)
				}
				if clock := row.From.In(zone); period == license.ResetMonthly && (clock.Day() != 1 || clock.Hour() > 1) {
					t.Errorf("%s: a month begins %v", name, clock)
				}
				sum += row.Quantity
			}
			if sum != total {
				t.Errorf("%s, %s: %d in all, want %d whatever the zone", name, period, sum, total)
			}
		}
	}
	if len(zones) < 30 {
		t.Errorf("%d zones, want 30 at least", len(zones))
	}
}

// statementOf drafts November 2026 of acme in Berlin.
func november(v *vendor) portal.StatementSpec {
	return portal.StatementSpec{Customer: "acme", FirstDay: "2026-11-01", Period: license.ResetMonthly}
}

// reported is a site that has reported use in November and all of the month.
func reported(v *vendor) *site {
	v.T.Helper()
	if _, err := v.SetCustomer(t0, portal.Customer{ID: "acme", Name: "Acme GmbH", Zone: "Europe/Berlin"}, "ana"); err != nil {
		v.T.Fatal(err)
	}
	s, _ := v.Ready("L-1")
	s.Use(30, 12).SkipTo(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)).Close()
	v.Clock.Set(time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC))
	s.Send()
	return s
}

// O-24: a draft is approved once, also if many try at once; numbers have no gap;
// what is approved never changes, whatever comes later; a correction is another
// statement that names it and says what differs.
func TestStatementLife(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		s := reported(v)
		draft, err := v.DraftStatement(t0, november(v), "bill")
		v.Must(err)
		if draft.State != portal.StatementDraft || draft.Zone != "Europe/Berlin" || !draft.From.Equal(time.Date(2026, 10, 31, 23, 0, 0, 0, time.UTC)) ||
			!draft.To.Equal(time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC)) || !draft.Complete || !draft.Exact || len(draft.Sums) != 1 || draft.Sums[0].Total != 49 {
			t.Fatalf("draft %+v, want 49 pages of November in Berlin", draft.StatementDocument)
		}
		if l := draft.Ledgers; len(l) != 1 || l[0].ReceiptSize != s.Base || l[0].Report == "" || l[0].ReceiptTime.IsZero() {
			t.Errorf("ledgers %+v, want the receipt of size %d", l, s.Base)
		}
		if x, err := v.CreditStatement(t0, draft.ID, portal.StatementCredit{Meter: "render.pages", Quantity: 9, Reason: "outage on 3 November"}, "bill"); err != nil || x.Sums[0].Total != 40 || x.Sums[0].Net != 49 {
			t.Fatalf("credit: %+v, %v, want 40 of 49", x, err)
		}
		if x, err := v.CreditStatement(t0, draft.ID, portal.StatementCredit{Meter: "render.pages", Quantity: 1, Reason: "a slip"}, "bill"); err != nil || x.Sums[0].Total != 39 {
			t.Fatalf("credit: %v", err)
		}
		if x, err := v.UncreditStatement(t0, draft.ID, 1, "bill"); err != nil || x.Sums[0].Total != 40 {
			t.Fatalf("credit taken off: %v", err)
		}
		second, err := v.DraftStatement(t0, november(v), "bill")
		v.Must(err)

		var group sync.WaitGroup
		codes := make([]string, 8)
		for i := range codes {
			group.Go(func() {
				id := draft.ID
				if i%2 == 1 {
					id = second.ID
				}
				_, err := v.ApproveStatement(t0, id, "", fmt.Sprintf("bill %d", i))
				codes[i] = code(err)
			})
		}
		group.Wait()
		good := 0
		for _, c := range codes {
			switch c {
			case "":
				good++
			case portal.CodeState, portal.CodeExists:
			default:
				t.Errorf("approve at once: %s, want it approved already", c)
			}
		}
		if good != 1 {
			t.Fatalf("%d of 8 approved, want one: %v", good, codes)
		}
		first, err := v.StatementOf(t0, "S-2026-0001")
		v.Must(err)
		if first.ID == second.ID {
			draft, second = second, draft
		}
		v.Must(v.DiscardStatement(t0, second.ID, "bill"))
		if sum := sha256.Sum256(first.Frozen); hex.EncodeToString(sum[:]) != first.SHA256 || first.State != portal.StatementApproved || !strings.HasPrefix(first.ApprovedBy, "bill ") {
			t.Errorf("approved %+v: want its SHA-256 %x, and who", first, sum)
		}
		frozen := string(first.Frozen)

		// What comes later changes nothing of it.
		for what, err := range map[string]error{
			"approve again": second2(v.ApproveStatement(t0, first.Number, "", "bill")), "credit": second2(v.CreditStatement(t0, first.ID, portal.StatementCredit{Meter: "render.pages", Quantity: 1, Reason: "x"}, "bill")),
			"take a credit off": second2(v.UncreditStatement(t0, first.ID, 0, "bill")), "discard": v.DiscardStatement(t0, first.ID, "bill"),
		} {
			if code(err) != portal.CodeState {
				t.Errorf("%s an approved statement = %v, want it refused", what, err)
			}
		}
		other := v.Open(mustLicense(v, "L-1"), "other") // a ledger that had not been heard of
		other.Use(5).SkipTo(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)).Close()
		other.Send()
		again, err := v.StatementOf(t0, first.Number)
		if err != nil || string(again.Frozen) != frozen {
			t.Errorf("the approved statement changed: %s, %v", again.Frozen, err)
		}
		if _, err := v.DraftStatement(t0, portal.StatementSpec{Customer: "acme", FirstDay: "2026-11-01", Period: license.ResetMonthly, Corrects: "S-2026-0009"}, "bill"); code(err) != portal.CodeNotFound {
			t.Errorf("a correction of nothing = %v, want not_found", err)
		}
		fix, err := v.DraftStatement(t0, portal.StatementSpec{Corrects: first.Number, FirstDay: "-"}, "bill")
		v.Must(err)
		kept := first.Sums[0].Total
		if len(fix.Changes) != 1 || fix.Changes[0].Before != kept || fix.Changes[0].Now != 54 || fix.Changes[0].Difference != 54-kept {
			t.Errorf("changes %+v, want from %d to 54", fix.Changes, kept)
		}
		third, err := v.ApproveStatement(t0, fix.ID, "", "bill")
		if err != nil || third.Number != "S-2026-0002" || third.Corrects != first.Number || third.Changes[0].Difference != 54-kept {
			t.Fatalf("the correction %+v, %v", third, err)
		}
		if again, err = v.StatementOf(t0, first.Number); err != nil || len(again.CorrectedBy) != 1 || again.CorrectedBy[0] != third.Number || string(again.Frozen) != frozen {
			t.Errorf("the corrected one %+v, %v, want it to name %s, unchanged", again, err, third.Number)
		}
		for state, want := range map[string]int64{"": 2, portal.StatementApproved: 2, portal.StatementDraft: 0} {
			if page, err := v.FindStatements(t0, portal.ListOptions{State: state, Customer: "acme"}); err != nil || page.Total != want {
				t.Errorf("statements %q: %d, %v, want %d", state, page.Total, err, want)
			}
		}

		// The database is lost: approved ones stand.
		o := v.O
		o.DSN = "sqlite:" + filepath.Join(t.TempDir(), "again.db")
		rebuilt, _, err := portal.Rebuild(t0, o, nil)
		v.Must(err)
		defer rebuilt.Close()
		for _, x := range []*portal.StatementKept{first, third} {
			y, err := rebuilt.StatementOf(t0, x.Number)
			if err != nil || string(y.Frozen) != string(x.Frozen) || y.SHA256 != x.SHA256 || y.ApprovedBy != x.ApprovedBy {
				t.Errorf("rebuilt %s: %+v, %v, want it as it was", x.Number, y, err)
			}
		}
		spec := november(v)
		spec.FirstDay = "2026-10-01"
		next, err := rebuilt.DraftStatement(t0, spec, "bill")
		v.Must(err)
		if next, err = rebuilt.ApproveStatement(t0, next.ID, "nothing was used yet", "bill"); err != nil || next.Number != "S-2026-0003" {
			t.Errorf("the next number after rebuilding: %+v, %v", next, err)
		}
	})
}

func second2[T any](_ T, err error) error { return err }

func mustLicense(v *vendor, id string) *portal.License {
	v.T.Helper()
	l, err := v.License(t0, id)
	v.Must(err)
	return l
}

// A statement is provisional while a ledger has not reported all of it, also one
// that has no use in it; to approve it needs a reason. Late events count when they
// were booked. // P-19
func TestStatementProvisional(t *testing.T) {
	v := newVendor(t, "")
	s, l := v.Ready("L-1")
	silent := v.Open(l, "silent")
	silent.Send()
	spec := november(v)
	draft, err := v.DraftStatement(t0, spec, "bill")
	v.Must(err)
	if draft.Complete || draft.Zone != "UTC" {
		t.Errorf("draft %+v, want it provisional, in UTC", draft)
	}
	var refused *portal.Error
	if _, err := v.ApproveStatement(t0, draft.ID, " ", "bill"); code(err) != portal.CodeBadRequest || !errors.As(err, &refused) || refused.Details["line"] != "reason" {
		t.Errorf("approve a provisional one = %v, want that it asks for a reason", err)
	}
	s.SkipTo(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)).Close()
	v.Clock.Set(time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC))
	s.Send()
	if d, err := v.StatementOf(t0, draft.ID); err != nil || d.Complete || !d.Rows[0].Complete || d.Ledgers[0].Complete == d.Ledgers[1].Complete {
		t.Errorf("one of two ledgers has reported: %+v, %v, want it provisional", d, err)
	}
	approved, err := v.ApproveStatement(t0, draft.ID, "the silent site was never used", "bill")
	if err != nil || approved.Reason == "" || approved.Complete {
		t.Fatalf("approved %+v, %v, want it provisional with its reason", approved, err)
	}
	// Late events of November come in December.
	s.Window()
	s.Late(exporttest.Cell{Node: "node-01", Meter: "render.pages", Events: []exporttest.Event{{OffsetMS: 1000, Quantity: 8, ID: "late"}}}, time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC).Unix())
	s.SkipTo(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)).Close()
	v.Clock.Set(time.Date(2027, 1, 1, 9, 0, 0, 0, time.UTC))
	s.Send()
	again, err := v.PreviewStatement(t0, spec)
	if err != nil || again.Sums[0].Total != 7 {
		t.Errorf("November after late events: %+v, %v, want 7 as ever", again, err)
	}
	spec.FirstDay = "2026-12-01"
	if d, err := v.PreviewStatement(t0, spec); err != nil || len(d.Sums) != 1 || d.Sums[0].Total != 8 || d.Sums[0].Late != 8 {
		t.Errorf("December: %+v, %v, want the 8 late ones", d, err)
	}
	var kept portal.StatementDocument
	if x, err := v.StatementOf(t0, approved.Number); err != nil || json.Unmarshal(x.Frozen, &kept) != nil || kept.Sums[0].Total != 7 || kept.Complete {
		t.Errorf("approved: %+v, %v, want it as it was", kept, err)
	}
}

// What a statement cannot be is refused at its field.
func TestStatementRefused(t *testing.T) {
	v := newVendor(t, "")
	v.Ready("L-1")
	if _, err := v.SetCustomer(t0, portal.Customer{ID: "acme", Name: "Acme GmbH", Zone: "Mars/Olympus"}, "ana"); code(err) != portal.CodeBadRequest {
		t.Errorf("a zone that there is not = %v, want it refused", err)
	}
	for field, change := range map[string]func(*portal.StatementSpec){
		"customer":  func(s *portal.StatementSpec) { s.Customer = "nobody" },
		"zone":      func(s *portal.StatementSpec) { s.Zone = "Local" },
		"period":    func(s *portal.StatementSpec) { s.Period = "hourly" },
		"first_day": func(s *portal.StatementSpec) { s.FirstDay = "2026-11-31" },
		"next_day":  func(s *portal.StatementSpec) { s.NextDay = "2026-11-01" },
	} {
		spec := november(v)
		change(&spec)
		_, err := v.DraftStatement(t0, spec, "bill")
		var refused *portal.Error
		if !errors.As(err, &refused) || refused.Details["line"] != field {
			t.Errorf("a wrong %s = %v, want it refused there", field, err)
		}
	}
	draft, err := v.DraftStatement(t0, november(v), "bill")
	v.Must(err)
	for field, credit := range map[string]portal.StatementCredit{
		"quantity": {Meter: "render.pages", Reason: "x"}, "reason": {Meter: "render.pages", Quantity: 1}, "meter": {Meter: "other", Quantity: 1, Reason: "x"},
	} {
		var refused *portal.Error
		if _, err := v.CreditStatement(t0, draft.ID, credit, "bill"); !errors.As(err, &refused) || refused.Details["line"] != field {
			t.Errorf("a credit without %s = %v, want it refused there", field, err)
		}
	}
}
