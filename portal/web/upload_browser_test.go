package web_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/meterseal/meterseal/internal/browsertest"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/api"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// P-16 with script: files show size and digest at once, are sent in order with
// progress, and what each came to stands on the page that follows.
func TestUploadInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: browsers are driven in the run without the race detector")
	}
	v := portaltest.New(t, "")
	s := v.Open(v.Issue(portal.LicenseSpec{ID: "L-1"}), "a")
	s.Send(portal.AcceptOptions{Ledger: "Plant A"})
	report := s.Use(30, 12).Report()
	dir := t.TempDir()
	files := map[string][]byte{"plant.usage": report, "empty.usage": {}, "letter.usage": []byte("hello\n")}
	for name, b := range files {
		v.Must(os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	programs, err := api.New(api.Options{Portal: v.Portal, Now: v.Clock.Now})
	v.Must(err)
	mux := http.NewServeMux()
	mux.Handle("/api/", programs.Handler())
	mux.Handle("/", pages(t, v))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r.WithContext(gate.WithCaller(r.Context(), customer)))
	}))
	defer server.Close()

	tab := browsertest.New(t).Open(server.URL).Go("/my/upload")
	for name, b := range files {
		sum := sha256.Sum256(b)
		tab.Attach("Report files", filepath.Join(dir, name)).Sees(name, hex.EncodeToString(sum[:]))
	}
	tab.Attach("Report files", filepath.Join(dir, "plant.usage")) // twice is once
	tab.Accessible()
	if n := browsertest.Eval[int](tab, `document.querySelectorAll(".sending > li").length`); n != len(files) {
		t.Errorf("%d files are listed, want %d", n, len(files))
	}
	tab.Click("Upload report")
	tab.Sees("What your reports came to", "plant.usage", "The report was accepted", "42 page", "This is no usage report", "empty.usage").Accessible()
	tab.Click("Download reply").Go("/my").Sees("Cluster Plant A")
}
