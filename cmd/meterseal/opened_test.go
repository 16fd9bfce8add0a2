package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
)

// O-27: months after a report was accepted the site discloses one event of it.
// Whoever has nothing but the vendor's receipt key verifies it under the receipt
// of that time; the other events of the record stay unknown.
func TestO27OpenedMonthsLater(t *testing.T) {
	s := newVendoredSite(t)
	s.sends([]string{
		fmt.Sprintf(`{"id":"invoice-1","meter":%q,"time":%q,"user":"ana"}`, documents, s.now.Format(time.RFC3339)),
		fmt.Sprintf(`{"id":"invoice-2","meter":%q,"time":%q,"user":"kim"}`, documents, s.now.Format(time.RFC3339)),
		fmt.Sprintf(`{"id":"invoice-3","meter":%q,"time":%q,"user":"eve"}`, documents, s.now.Format(time.RFC3339)),
	})
	s.pass(24 * time.Hour)
	report := s.export()
	accepted := s.accepted("explain", report)
	s.imports(accepted)
	for range 2 { // two months, a report each
		s.pass(30 * 24 * time.Hour)
		s.use(1)
		s.quiet("--close-now")
	}
	s.stop()

	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("invoice")) || bytes.Contains(text, []byte("ana")) {
		t.Fatal("the standard report shows ids or users")
	}
	record := usageRecord(t, text)
	open := func(event int, more ...string) []byte {
		t.Helper()
		file := filepath.Join(t.TempDir(), "event.opening")
		mustProgram(t, append([]string{"report", "open", "--data", s.dir, "--record", fmt.Sprint(record), "--event", fmt.Sprint(event), "--out", file}, more...)...)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	second := open(1)
	opened, err := export.VerifyOpened(second, export.VerifyOptions{ReceiptKeys: s.receiptKeys()})
	if err != nil {
		t.Fatal(err)
	}
	if cp := opened.Checkpoint; !opened.Receipt || cp.Size != accepted.Size || cp.Root.String() != accepted.Root || opened.Index != record || opened.Count != 3 || opened.Private != nil {
		t.Errorf("opened %+v, want event 1 of 3 of record %d under the receipt of size %d", opened, record, accepted.Size)
	}
	private, err := export.VerifyOpened(open(1, "--private"), export.VerifyOptions{ReceiptKeys: s.receiptKeys()})
	if err != nil || private.Private == nil || !bytes.Contains(private.Private.AppendLine(nil), []byte("kim")) {
		t.Errorf("with --private: %+v, %v, want the user of the event", private, err)
	}
	// What was not disclosed cannot be tried out: the true lines of the others do
	// not lead to the hashes shown, without their salts.
	shown, err := ledger.ParseOpening(second)
	if err != nil {
		t.Fatal(err)
	}
	forged := *shown
	forged.Event.Salt[0] ^= 1
	if _, err := export.VerifyOpened(forged.Bytes(), export.VerifyOptions{ReceiptKeys: s.receiptKeys()}); err == nil {
		t.Error("an opening with another salt verifies")
	}
	if bytes.Contains(second, []byte("invoice-1")) || bytes.Contains(second, []byte("invoice-3")) || bytes.Contains(second, []byte("kim")) {
		t.Errorf("the opening shows more than its event:\n%s", second)
	}
	for _, other := range []int{0, 2} {
		whole, err := ledger.ParseOpening(open(other))
		if err != nil {
			t.Fatal(err)
		}
		leaf := whole.Event.Leaf()
		if whole.Event.Salt == shown.Event.Salt {
			t.Errorf("events 1 and %d have one salt", other)
		}
		if other == 0 && shown.Path[0] != leaf {
			t.Errorf("path %v does not begin with the leaf of event 0: this test would not see a guess", shown.Path)
		}
		for _, salt := range [][ledger.TagBytes]byte{{}, shown.Event.Salt} {
			guess := ledger.SaltedLine{Salt: salt, Line: whole.Event.Line}
			for _, h := range shown.Path {
				if guess.Leaf() == h {
					t.Errorf("the line of event %d is found out with the salt %x", other, salt)
				}
			}
		}
	}
}

// usageRecord returns the index of the first usage record of a report from 0.
func usageRecord(t *testing.T, text []byte) (index uint64) {
	t.Helper()
	found := false
	_, err := export.VerifyReport(bytes.NewReader(text), export.VerifyOptions{TrustFile: true, Visit: func(v *export.Visited) error {
		if !found && strings.HasPrefix(string(v.Line), "usage ") {
			index, found = v.Index, true
		}
		return nil
	}})
	if err != nil || !found {
		t.Fatalf("the report has no usage record, %v", err)
	}
	return index
}

// receiptKeys are the vendor's.
func (s *vendoredSite) receiptKeys() (out []string) {
	for _, k := range s.vendor.Keys() {
		if k.Role == "receipt" {
			out = append(out, k.VKey)
		}
	}
	return out
}
