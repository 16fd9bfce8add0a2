package portal_test

import (
	"math"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/portal"
)

// L-27: name, colours and logo of the vendor; a colour that cannot be read is
// refused, and so is a logo that is something else.
func TestSettings(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		png := append([]byte("\x89PNG\r\n\x1a\n"), 1, 2, 3)
		want := portal.Settings{Name: "Vendor & Söhne", Domain: "portal.vendor.example", Contact: "Call us", Accent: "#1d5fa8", AccentDark: "#7db4f0",
			LogoType: "image/png", Logo: png, RemindTo: []string{"ops@vendor.example"}}
		v.Must(v.SetSettings(t0, want, "ana"))
		got, err := v.Settings(t0)
		v.Must(err)
		if got.Name != want.Name || string(got.Logo) != string(png) || got.RemindCustomers || got.RemindTo[0] != want.RemindTo[0] {
			t.Errorf("Settings = %+v, want %+v", got, want)
		}
		for field, s := range map[string]portal.Settings{
			"accent":      {Accent: "#ffee00"},
			"accent_dark": {AccentDark: "#102030"},
			"logo":        {LogoType: "image/png", Logo: []byte("<svg onload=alert(1)>")},
			"remind_to":   {RemindTo: []string{"a@b.example\r\nBcc: c@d.example"}},
			"name":        {Name: strings.Repeat("x", 300)},
		} {
			if err := v.SetSettings(t0, s, "ana"); code(err) != portal.CodeBadRequest || !strings.HasPrefix(err.Error(), "bad_request: "+field) {
				t.Errorf("SetSettings(%+v) = %v, want bad_request of %s", s, err, field)
			}
		}
		if log, err := v.AuditLog(t0, "portal", 10); err != nil || len(log) != 1 || strings.Contains(string(log[0].After), "iVBOR") {
			t.Errorf("audit log = %+v, %v, want one entry without the picture", log, err)
		}
	})
}

// The examples of WCAG: black on white, and a grey that just fails.
func TestContrast(t *testing.T) {
	for _, x := range []struct {
		a, b string
		want float64
	}{{"#000000", "#ffffff", 21}, {"#ffffff", "#ffffff", 1}, {"#777777", "#ffffff", 4.48}} {
		if got, ok := portal.Contrast(x.a, x.b); !ok || math.Abs(got-x.want) > 0.01 {
			t.Errorf("Contrast(%s, %s) = %.2f, %v, want %.2f", x.a, x.b, got, ok, x.want)
		}
	}
	if _, ok := portal.Contrast("red", "#ffffff"); ok {
		t.Error("Contrast(red) is known, want not")
	}
}
