package browsertest

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// Fits fails the test if the page, in a window of so many CSS pixels, has to be
// scrolled sideways. Parts that scroll by themselves, as wide tables do, are well.
func (tab *Tab) Fits(pixels int64) *Tab {
	tab.t.Helper()
	tab.Width(pixels)
	wide := Eval[string](tab, `(() => {
	const all = document.scrollingElement;
	if (all.scrollWidth <= innerWidth) return "";
	const scrolls = (e) => e && e !== document.body && (getComputedStyle(e).overflowX !== "visible" || scrolls(e.parentElement));
	const of = (e) => e.outerHTML.slice(0, 120).replace(/\s+/g, " ");
	return all.scrollWidth + " pixels: " + JSON.stringify([...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e.parentElement)).slice(0, 4).map(of));
})()`)
	if wide != "" {
		tab.t.Errorf("%s does not fit into %d pixels: it has %s", tab.where(), pixels, wide)
	}
	call(tab, emulation.ClearDeviceMetricsOverride, cdp.Empty{})
	return tab
}

// PrintsAlone fails the test if anything that selectors name is on the paper when
// the page is printed.
func (tab *Tab) PrintsAlone(selectors string) *Tab {
	tab.t.Helper()
	tab.Print()
	quoted, err := json.Marshal(selectors)
	if err != nil {
		tab.t.Fatal(err)
	}
	if n := Eval[int](tab, `[...document.querySelectorAll(`+string(quoted)+`)].filter((e) => e.getClientRects().length > 0).length`); n > 0 {
		tab.t.Errorf("%s prints %d elements of %s, want none", tab.where(), n, selectors)
	}
	call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{})
	return tab
}

// Screenshot writes the whole page as NAME.png into the folder of the variable
// SCREENSHOTS; without one nothing is written.
func (tab *Tab) Screenshot(name string) *Tab {
	tab.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return tab
	}
	png, err := try(tab, chromedp.FullScreenshot(100))
	if err != nil { // longer than Chromium draws at once: its beginning
		png = do(tab, chromedp.CaptureScreenshot())
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tab.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		tab.t.Fatal(err)
	}
	return tab
}
