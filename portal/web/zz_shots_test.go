package web_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
)

func shoot(t *testing.T, h http.Handler, c gate.Caller, path, name string, more ...string) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(gate.WithCaller(r.Context(), c)))
	}))
	defer srv.Close()
	args := append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,1500", "--screenshot=/tmp/ms/tmp/bill/" + name + ".png"}, more...)
	cmd := exec.Command("chromium", append(args, srv.URL+path)...)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
}

func TestShots(t *testing.T) {
	if os.Getenv("SHOTS") == "" {
		t.Skip()
	}
	v := portaltest.New(t, "")
	h := pages(t, v)
	oddSite(v)
	shoot(t, h, admin, "/findings", "findings")
	all, _ := v.FindFindings(t.Context(), portal.ListOptions{})
	for _, f := range all.Items {
		shoot(t, h, admin, "/findings/"+f.ID, "finding-"+f.Kind)
	}
	shoot(t, h, admin, "/findings/"+all.Items[0].ID, "finding-dark", "--blink-settings=preferredColorScheme=0")
}
