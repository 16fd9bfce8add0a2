package verify_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/browsertest"
	"github.com/meterseal/meterseal/internal/vectors"
)

// The file that is kept does its work in a real browser without a server: files in,
// verdicts and what was not checked out, in both themes, and no request at all. O-14
func TestPageInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: browsers are driven in the run without the race detector")
	}
	file, err := filepath.Abs(builtFile)
	if err != nil {
		t.Fatal(err)
	}
	b, k := browsertest.New(t), readKeys()
	vector := func(name string) string { return filepath.Join(vectors.Dir(), name) }
	for _, theme := range []string{"light", "dark"} {
		tab := b.Open("file://" + file).Theme(theme).Go("file://" + file)
		tab.Attach("Choose files, or drop them here", vector("a.usage")).Sees("Checked 1 file.", "It agrees with the key that is in it", "Whose key it is")
		browsertest.Eval[string](tab, fmt.Sprintf(`document.getElementById("v-known").value = %q`, k.license))
		tab.Attach("Choose files, or drop them here", vector("a.reply"), vector("b.usage"), vector("report-q0-jump.usage"), vector("report-crlf.usage"), vector("license.key")).
			Sees("Checked 5 files.", "A good reply: accepted", "It holds", "It does not add up", "found first in record 7", "Refused", "format/line_ends_changed", "A license that the vendor signed", "the checkpoint that you entered, or that a reply here has").
			Lacks("Whose key it is")
		tab.Accessible().Screenshot("verify-" + theme)
		requests := browsertest.Eval[string](tab, `performance.getEntriesByType("resource").map(e => e.name).join(" ")`)
		if strings.TrimSpace(requests) != "" {
			t.Errorf("the page asked for %s, want nothing", requests)
		}
	}
}
