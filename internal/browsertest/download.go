package browsertest

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
)

// Download returns the path of the file that the browser writes into a folder, which
// has to be empty before, when act has been done.
func (tab *Tab) Download(dir string, act func()) string {
	tab.t.Helper()
	c := chromedp.FromContext(tab.ctx)
	ctx, cancel := context.WithTimeout(tab.ctx, stepTime)
	defer cancel()
	if _, err := cdp.Call(ctx, c.Browser, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
		Behavior: browser.SetDownloadBehaviorBehaviorAllow, BrowserContextID: c.BrowserContextID, DownloadPath: dir}); err != nil {
		tab.t.Fatal(err)
	}
	act()
	for end := time.Now().Add(stepTime); time.Now().Before(end); time.Sleep(pollTime) {
		list, err := os.ReadDir(dir)
		if err != nil {
			tab.t.Fatal(err)
		}
		// While it is written it has another name beside it, or alone.
		if len(list) == 1 && filepath.Ext(list[0].Name()) != ".crdownload" && list[0].Name()[0] != '.' {
			if info, err := list[0].Info(); err == nil && info.Size() > 0 {
				return filepath.Join(dir, list[0].Name())
			}
		}
	}
	tab.t.Fatalf("%s: no file comes into %s\n%s", tab.where(), dir, tab.shown())
	return ""
}
