package export_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
)

// replyOptions are those of a site that knows the keys of keys.txt.
func replyOptions(t testing.TB) export.ReplyOptions {
	k := readKeys(t)
	l := exampleLedger(t)
	return export.ReplyOptions{Origin: exampleOrigin, SiteKeys: []string{k.site}, ReceiptKeys: []string{k.receipt},
		ReplyKeys: []string{k.reply}, RootAt: rootAt(l.Root), Size: 34}
}

// P-15: the example reply parses, is written again byte for byte, and verifies
// with keys.txt.
func TestVectorReply(t *testing.T) {
	b := vector(t, "a.reply")
	r, err := export.ParseReply(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(b), string(again)); d != "" {
		t.Errorf("written again (-want +got):\n%s", d)
	}
	if err := export.VerifyReply(r, replyOptions(t)); err != nil {
		t.Errorf("VerifyReply: %v", err)
	}
	if !bytes.Equal(r.License, vector(t, "bound.license")) {
		t.Error("the license in it is not bound.license")
	}
	receipt, reply, err := r.VendorKeys([]string{readKeys(t).license})
	if err != nil || len(receipt) != 1 || receipt[0] != readKeys(t).receipt || len(reply) != 1 || reply[0] != readKeys(t).reply {
		t.Errorf("VendorKeys = %v, %v, %v", receipt, reply, err)
	}
}

func rootAt(root func(uint64) ledger.Hash) func(uint64) (ledger.Hash, error) {
	return func(size uint64) (ledger.Hash, error) { return root(size), nil }
}
