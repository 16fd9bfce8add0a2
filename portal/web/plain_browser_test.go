package web_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/browsertest"
	"github.com/meterseal/meterseal/portal"
)

// Without script: sign in, bring a report, take its reply; issue a license.
func TestWithoutScript(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: browsers are driven in the run without the race detector")
	}
	f := newFront(t)
	f.join(f.browser().signIn("ana@vendor.example"), "kim@acme.example", portal.RoleCustomer, "acme")
	s := f.Open(f.Issue(portal.LicenseSpec{ID: "L-1"}), "a")
	name := filepath.Join(t.TempDir(), "first.usage")
	f.Must(os.WriteFile(name, s.Report(), 0o600))
	b := browsertest.New(t)
	enter := func(email string) *browsertest.Tab {
		tab := b.Open(f.url).WithoutScript()
		tab.Go("/sign-in").Fill("Email", email).Fill("Password", password).Click("Sign in")
		return tab.Sees("Sign out")
	}
	kim := enter("kim@acme.example")
	kim.Click("Upload").Fill("Name of the cluster", "Plant A").Attach("Report files", name)
	kim.Lacks("SHA-256").Click("Upload report").Sees("The report was accepted", "Plant A")
	at := browsertest.Eval[string](kim, `document.querySelector("main a[download]").getAttribute("href")`)
	a, err := f.Report(t.Context(), strings.Split(at, "/")[3])
	f.Must(err)
	a.Reply = []byte(f.browser().signIn("kim@acme.example").wants(200, "accepted", at))
	s.Imports(a) // it fits the site

	ana := enter("ana@vendor.example")
	ana.Click("Licenses").Click("New license").Click("Acme GmbH").Click("Renderer").Click("annual-metered")
	ana.Fill("License id", "L-2").Click("Check before signing").Sees("The text that is signed").Click("Sign and save").Sees("The key", "L-2")
	if _, err := f.License(t.Context(), "L-2"); err != nil {
		t.Error(err)
	}
}

// By keyboard alone: sign in, skip to the content, bring a report. The focus is
// seen wherever it goes.
func TestByKeyboardAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: browsers are driven in the run without the race detector")
	}
	f := newFront(t)
	f.join(f.browser().signIn("ana@vendor.example"), "kim@acme.example", portal.RoleCustomer, "acme")
	name := filepath.Join(t.TempDir(), "first.usage")
	f.Must(os.WriteFile(name, f.Open(f.Issue(portal.LicenseSpec{ID: "L-1"}), "a").Report(), 0o600))
	tab := browsertest.New(t).Open(f.url)
	// to goes on with the Tab key until the focus is on what a selector names.
	to := func(selector string) {
		t.Helper()
		for range 40 {
			tab.Press(browsertest.KeyTab)
			if !browsertest.Eval[bool](tab, `(() => { const e = document.activeElement, s = getComputedStyle(e); return e === document.body || s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0; })()`) {
				t.Errorf("%s: the focus is not seen on %s", tab.Path(), browsertest.Eval[string](tab, `document.activeElement.outerHTML.slice(0, 200)`))
			}
			if browsertest.Eval[bool](tab, fmt.Sprintf("document.activeElement.matches(%q)", selector)) {
				return
			}
		}
		t.Fatalf("%s: the Tab key does not reach %s", tab.Path(), selector)
	}
	tab.Go("/sign-in")
	to("#f-email")
	tab.Press("kim@acme.example")
	to("#f-password")
	tab.Press(password).Press(browsertest.KeyEnter).Sees("Sign out")

	to(".skip")
	tab.Press(browsertest.KeyEnter)
	if !browsertest.Eval[bool](tab, `document.activeElement.id === "main"`) {
		t.Error("the link to the content does not lead there")
	}
	to(`nav a[href="/my/upload"]`)
	tab.Press(browsertest.KeyEnter).Sees("Report files")
	to("#f-file")
	tab.Attach("Report files", name).Sees("SHA-256") // the window that chooses a file is the system's
	to("form#upload button")
	tab.Press(browsertest.KeyEnter).Sees("The report was accepted", "Download reply")
	to("main a[download]")
}

// L-25: a camera reads the activation code that a site shows, and the page goes on
// with its rows.
func TestCamera(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: browsers are driven in the run without the race detector")
	}
	f := newFront(t)
	f.join(f.browser().signIn("ana@vendor.example"), "kim@acme.example", portal.RoleCustomer, "acme")
	l := f.Issue(portal.LicenseSpec{ID: "L-1"})
	code := activationCode(t, f, l)
	film := filepath.Join(t.TempDir(), "code.y4m")
	f.Must(os.WriteFile(film, filmed(t, code), 0o600))
	tab := f.enters(browsertest.New(t, "use-fake-device-for-media-stream", "use-fake-ui-for-media-stream", "use-file-for-fake-video-capture="+film), "kim@acme.example")
	tab.Go("/my/activate").Click("Read QR codes").Click("Use the camera").Sees("What the site answered", "This row is right")
	browsertest.Eval[any](tab, `document.querySelector("#code .actions button").focus()`)
	tab.Press(browsertest.KeyEnter).Sees("The site is activated", "meterseal import --code")
}

// activationCode is what a site shows that was given a code to begin with.
func activationCode(t *testing.T, f *front, l *portal.License) string {
	t.Helper()
	start := rowsOn(f.browser().signIn("kim@acme.example").wants(200, "It is for license", "/my/activate/start", "license", l.ID))
	init, err := export.ParseInitializationCode(start[0])
	f.Must(err)
	open := f.Open(l, "a").OpenRecord()
	open.Attrs = nil
	activation, err := export.NewActivationCode(open, init)
	f.Must(err)
	return strings.Join(strings.Fields(activation.String()), " ")
}

// filmed is a video of a QR code on a grey desk: frames without compression, in the
// format of YUV4MPEG2.
func filmed(t *testing.T, text string) []byte {
	t.Helper()
	const width, height, frames = 640, 480, 4
	var b bytes.Buffer
	if err := export.WriteQRPNG(&b, text, 8); err != nil {
		t.Fatal(err)
	}
	code, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	desk := image.NewGray(image.Rect(0, 0, width, height))
	draw.Draw(desk, desk.Bounds(), image.NewUniform(color.Gray{Y: 170}), image.Point{}, draw.Src)
	at := code.Bounds().Sub(code.Bounds().Min).Add(image.Pt((width-code.Bounds().Dx())/2, (height-code.Bounds().Dy())/2))
	draw.Draw(desk, at, code, code.Bounds().Min, draw.Src)
	film := bytes.NewBufferString(fmt.Sprintf("YUV4MPEG2 W%d H%d F10:1 Ip A1:1 C420jpeg\n", width, height))
	for range frames {
		film.WriteString("FRAME\n")
		film.Write(desk.Pix)
		film.Write(bytes.Repeat([]byte{128}, width*height/2)) // no colour
	}
	return film.Bytes()
}
