// Package browsertest drives a real Chromium, for tests of pages. What a page does
// wrong by itself fails the test that looks at it: a violation of its content
// policy, an error of its script, a request to another host.
package browsertest

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

//go:embed package.json package-lock.json
var packages embed.FS

// stepTime bounds one step of a test: what a page does not show until then it does
// not show.
const stepTime = 30 * time.Second

// A Browser is a Chromium with a profile of its own.
type Browser struct {
	t   testing.TB
	ctx context.Context
}

// New starts a Chromium, with further flags of its command line such as
// "use-fake-device-for-media-stream"; a value follows "=". Where none is installed
// the test is skipped.
func New(t testing.TB, flags ...string) *Browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("SKIPPED: chromium is not installed; go tool task deps does it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("no-proxy-server", true), chromedp.WindowSize(1280, 900))
	for _, f := range flags {
		name, value, found := strings.Cut(f, "=")
		if found {
			options = append(options, chromedp.Flag(name, value))
		} else {
			options = append(options, chromedp.Flag(name, true))
		}
	}
	allocated, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, end := chromedp.NewContext(allocated)
	t.Cleanup(func() { end(); stop() })
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return &Browser{t: t, ctx: ctx}
}

// For returns the same Chromium for a test within the one that started it.
func (b *Browser) For(t testing.TB) *Browser { return &Browser{t: t, ctx: b.ctx} }

// A Tab is a page of its own, whose cookies no other tab has.
type Tab struct {
	t    testing.TB
	ctx  context.Context
	base *url.URL

	mu     sync.Mutex // protects faults
	faults []string
}

// Open opens a tab for the pages under base, such as http://127.0.0.1:8090.
func (b *Browser) Open(base string) *Tab {
	b.t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, end := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	b.t.Cleanup(end)
	tab := &Tab{t: b.t, ctx: ctx, base: u}
	if err := chromedp.Listen(ctx, tab.watch); err != nil {
		b.t.Fatal(err)
	}
	call(tab, network.Enable, network.EnableParams{})
	call(tab, cdplog.Enable, cdp.Empty{})
	call(tab, runtime.Enable, cdp.Empty{})
	// The own time of a reader, which is not the server's.
	call(tab, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Europe/Berlin"})
	return tab
}

// watch notes what a page does wrong by itself.
func (tab *Tab) watch(event any) {
	fault := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		fault = "script: " + e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			fault += " " + x.Description
		}
	case *cdplog.EventEntryAdded:
		// A status that a test asks for, such as 403, is logged as an error too.
		if e.Entry.Source == "security" || e.Entry.Level == "error" && e.Entry.Source != "network" {
			fault = fmt.Sprintf("%s: %s", e.Entry.Source, e.Entry.Text)
		}
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(e.Request.URL)
		if err != nil || u.Host != tab.base.Host && u.Scheme != "data" && u.Scheme != "blob" && u.Scheme != "about" {
			fault = "a request to " + e.Request.URL
		}
	case *page.EventJavascriptDialogOpening: // data-confirm: yes
		go func() {
			if _, err := chromedp.Call(tab.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true}); err != nil {
				tab.note("dialog: " + err.Error())
			}
		}()
	}
	if fault != "" {
		tab.note(fault)
	}
}

func (tab *Tab) note(fault string) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	tab.faults = append(tab.faults, fault)
}

// check fails the test for what was noted.
func (tab *Tab) check() {
	tab.t.Helper()
	tab.mu.Lock()
	defer tab.mu.Unlock()
	for _, f := range tab.faults {
		tab.t.Errorf("%s: %s", tab.where(), f)
	}
	tab.faults = nil
}

func (tab *Tab) where() string {
	at, err := try(tab, chromedp.Location())
	if err != nil {
		return "page"
	}
	return strings.TrimPrefix(at, tab.base.String())
}

// try runs an action within the time of a step.
func try[T any](tab *Tab, a chromedp.Action[T]) (T, error) {
	ctx, cancel := context.WithTimeout(tab.ctx, stepTime)
	defer cancel()
	return chromedp.Run(ctx, a)
}

// do is try for what has to work.
func do[T any](tab *Tab, a chromedp.Action[T]) T {
	tab.t.Helper()
	v, err := try(tab, a)
	if err != nil {
		tab.t.Fatalf("%s: %v\n%s", tab.where(), err, tab.shown())
	}
	return v
}

func call[P, R any](tab *Tab, c cdp.Command[P, R], params P) {
	tab.t.Helper()
	do(tab, func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, c, params) })
}

// shown is what a person would see, cut for a message.
func (tab *Tab) shown() string {
	text, err := try(tab, chromedp.Evaluate[string](`document.body ? document.body.innerText : ""`))
	if err != nil {
		return ""
	}
	if len(text) > 2000 {
		text = text[:2000]
	}
	return text
}

// Go opens a path of the base, or a whole address of it.
func (tab *Tab) Go(path string) *Tab {
	tab.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = tab.base.String() + path
	}
	do(tab, chromedp.Navigate(path))
	tab.check()
	return tab
}

// Path is where the tab is.
func (tab *Tab) Path() string {
	tab.t.Helper()
	return strings.TrimPrefix(do(tab, chromedp.Location()), tab.base.String())
}

// Text is what a person sees of the page.
func (tab *Tab) Text() string {
	tab.t.Helper()
	return Eval[string](tab, "document.body.innerText")
}

// Sees waits until the page shows every text.
func (tab *Tab) Sees(texts ...string) *Tab {
	tab.t.Helper()
	for _, text := range texts {
		if err := tab.waits(fmt.Sprintf("document.body && document.body.innerText.replace(/\\s+/g, ' ').includes(%q)", text)); err != nil {
			tab.t.Fatalf("%s does not show %q: %v\n%s", tab.where(), text, err, tab.shown())
		}
	}
	tab.check()
	return tab
}

// Lacks fails if the page shows a text.
func (tab *Tab) Lacks(texts ...string) *Tab {
	tab.t.Helper()
	shown := tab.Text()
	for _, text := range texts {
		if strings.Contains(shown, text) {
			tab.t.Errorf("%s shows %q", tab.where(), text)
		}
	}
	return tab
}

// pollTime is how often a condition is asked for.
const pollTime = 30 * time.Millisecond

// waits asks for a condition until it holds. A page that goes away meanwhile is
// asked anew: the next one answers.
func (tab *Tab) waits(js string) error {
	end := time.Now().Add(stepTime)
	for {
		ok, err := try(tab, chromedp.Evaluate[bool]("!!("+js+")"))
		if ok {
			return nil
		}
		if time.Now().After(end) {
			return errors.Join(errors.New("waited long enough"), err)
		}
		time.Sleep(pollTime)
	}
}

// find marks the element that JavaScript picks, and returns a selector of it. It
// waits until there is one.
func (tab *Tab) find(what, js string) chromedp.CSS {
	tab.t.Helper()
	const mark = "data-found-by-test"
	script := fmt.Sprintf(`(() => {
	const seen = (e) => e.getClientRects().length > 0 && getComputedStyle(e).visibility !== "hidden";
	const words = (e) => (e.innerText || e.value || e.getAttribute("aria-label") || "").replace(/\s+/g, " ").trim();
	const e = (() => { %s })();
	if (!e) return false;
	for (const old of document.querySelectorAll("[%s]")) old.removeAttribute("%s");
	e.setAttribute("%s", "");
	return true;
})()`, js, mark, mark, mark)
	if err := tab.waits(script); err != nil {
		tab.t.Fatalf("%s has no %s: %v\n%s", tab.where(), what, err, tab.shown())
	}
	return chromedp.CSS("[" + mark + "]")
}

// Click clicks the first link, button or summary with these words, and waits for
// the page that follows, if one does.
func (tab *Tab) Click(words string) *Tab {
	tab.t.Helper()
	at := tab.find("link or button "+words, fmt.Sprintf(`const all = [...document.querySelectorAll("main a, main button, main summary, main input[type=submit], header a, header button, nav a, footer a")].filter(seen);
	return all.find((e) => words(e) === %q) || all.find((e) => words(e).startsWith(%q)) || all.find((e) => words(e).includes(%q));`, words, words, words))
	do(tab, chromedp.Click(at))
	tab.settle()
	return tab
}

// settle waits until a navigation that a click began is done.
func (tab *Tab) settle() {
	tab.t.Helper()
	if err := tab.waits(`document.readyState === "complete"`); err != nil {
		tab.t.Fatalf("%s does not load: %v", tab.where(), err)
	}
	tab.check()
}

const byLabel = `const all = [...document.querySelectorAll("label, legend")].filter(seen), what = %q;
	const label = all.find((l) => words(l).replace(/ \(optional\)$/, "") === what) || all.find((l) => words(l).startsWith(what));
	if (!label) return null;
	return label.control || label.querySelector("input, select, textarea") || document.getElementById(label.htmlFor);`

// Fill types a text into the field with a label, in place of what is there.
func (tab *Tab) Fill(label, text string) *Tab {
	tab.t.Helper()
	at := tab.find("field "+label, fmt.Sprintf(byLabel, label))
	return tab.typeInto(at, text)
}

// FillName types into the field with a name, where labels repeat.
func (tab *Tab) FillName(name, text string) *Tab {
	tab.t.Helper()
	at := tab.find("field named "+name, fmt.Sprintf(`return document.querySelector("[name='" + %q + "']")`, name))
	return tab.typeInto(at, text)
}

// typeInto types a text in place of what a field holds. A date is set whole: how it
// is typed depends on the language of the browser.
func (tab *Tab) typeInto(at chromedp.CSS, text string) *Tab {
	tab.t.Helper()
	do(tab, chromedp.Focus(at))
	if !Eval[bool](tab, fmt.Sprintf(`(() => {
	const e = document.querySelector(%q), whole = e.type === "date";
	e.value = whole ? %q : "";
	e.dispatchEvent(new Event("input", {bubbles: true}));
	return whole;
})()`, at, text)) {
		do(tab, chromedp.SendKeys(at, text))
	}
	return tab
}

// Choose picks an entry of the list with a label, by its words or value.
func (tab *Tab) Choose(label, option string) *Tab {
	tab.t.Helper()
	at := tab.find("list "+label, fmt.Sprintf(byLabel, label))
	if !Eval[bool](tab, fmt.Sprintf(`(() => {
	const e = document.querySelector(%q);
	const o = [...e.options].find((o) => o.value === %q || o.text.includes(%q));
	if (!o) return false;
	e.value = o.value;
	e.dispatchEvent(new Event("input", {bubbles: true}));
	e.dispatchEvent(new Event("change", {bubbles: true}));
	return true;
})()`, at, option, option)) {
		tab.t.Fatalf("%s: the list %q has no entry %q", tab.where(), label, option)
	}
	return tab
}

// Check ticks the box with a label, or takes the radio button.
func (tab *Tab) Check(label string) *Tab {
	tab.t.Helper()
	at := tab.find("box "+label, fmt.Sprintf(byLabel, label))
	if !Eval[bool](tab, fmt.Sprintf(`document.querySelector(%q).checked`, at)) {
		do(tab, chromedp.Click(at))
	}
	return tab
}

// Attach gives files to the field with a label.
func (tab *Tab) Attach(label string, paths ...string) *Tab {
	tab.t.Helper()
	at := tab.find("file field "+label, fmt.Sprintf(byLabel, label))
	do(tab, chromedp.SetUploadFiles(at, paths))
	return tab
}

// Eval runs JavaScript and returns its value, or what its promise comes to.
func Eval[T any](tab *Tab, js string) T {
	tab.t.Helper()
	return do(tab, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
}

// Value is what the field with a label holds.
func (tab *Tab) Value(label string) string {
	tab.t.Helper()
	at := tab.find("field "+label, fmt.Sprintf(byLabel, label))
	return Eval[string](tab, fmt.Sprintf(`document.querySelector(%q).value`, at))
}

// Keys for Press that are no characters.
const (
	KeyTab   = kb.Tab
	KeyEnter = kb.Enter
	KeyRight = kb.ArrowRight
	KeyEnd   = kb.End
)

// Press sends keys to what has the focus.
func (tab *Tab) Press(keys string) *Tab {
	tab.t.Helper()
	do(tab, chromedp.KeyEvent(keys))
	return tab
}

// Do runs an action of chromedp itself, for what this package has no word for.
func Do[T any](tab *Tab, a chromedp.Action[T]) T {
	tab.t.Helper()
	return do(tab, a)
}

// Theme shows pages in the light or the dark theme from now on.
func (tab *Tab) Theme(theme string) *Tab {
	tab.t.Helper()
	call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}})
	return tab
}

// Print shows pages as they are printed from now on.
func (tab *Tab) Print() *Tab {
	tab.t.Helper()
	call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
	return tab
}

// WithoutScript runs no script of pages from now on.
func (tab *Tab) WithoutScript() *Tab {
	tab.t.Helper()
	call(tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	return tab
}

// Width sets the width of the window in CSS pixels.
func (tab *Tab) Width(pixels int64) *Tab {
	tab.t.Helper()
	call(tab, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: pixels, Height: 900, DeviceScaleFactor: 1})
	return tab
}
