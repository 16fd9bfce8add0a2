package web_test

import (
	"path/filepath"
	"testing"

	"github.com/meterseal/meterseal/internal/browsertest"
	"github.com/meterseal/meterseal/internal/vectors"
)

// The page of the portal verifies under the portal's own content policy. O-14
func TestVerifyInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: browsers are driven in the run without the race detector")
	}
	f := newFront(t)
	tab := browsertest.New(t).Open(f.url).Theme("dark").Go("/verify")
	tab.Attach("Choose files, or drop them here", filepath.Join(vectors.Dir(), "report-gap.usage"), filepath.Join(vectors.Dir(), "a.reply")).
		Sees("Checked 2 files.", "It agrees with the key that is in it, and asks for an explanation", "It agrees with the keys that are in it: accepted", "Not checked")
	tab.Accessible().Screenshot("dark-verify-results")
}
