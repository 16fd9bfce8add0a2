package export_test

import (
	"crypto/sha256"
	"fmt"

	"github.com/meterseal/meterseal/ledger"
)

// specPart makes a part from the words of docs/formats/reply.md, apart from the
// product.
func specPart(carried []byte, index, total int, payload []byte) string {
	hash := func(b []byte, n int) string { s := sha256.Sum256(b); return ledger.Base32(s[:])[:n] }
	doc, text := hash(carried, 16), ledger.Base32(payload)
	check := hash(fmt.Appendf(nil, "MSQ1/%s/%d/%d/%s", doc, index, total, text), 6)
	return fmt.Sprintf("MSQ1/%s/%d/%d/%s/%s", doc, index, total, check, text)
}
