package browsertest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/chromedp/chromedp"
)

// axe is the script of axe-core. npm compares it with the hash in the lock file.
var axe = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "axe")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"package.json", "package-lock.json"} {
		b, err := packages.ReadFile(name)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return "", err
		}
	}
	cmd := exec.Command("npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	return string(b), err
})

// violations are what axe-core found.
type violations []struct {
	ID     string `json:"id"`
	Impact string `json:"impact"`
	Help   string `json:"help"`
	Nodes  []struct {
		HTML    string `json:"html"`
		Summary string `json:"failureSummary"`
	} `json:"nodes"`
}

// Accessible fails the test for every rule of WCAG 2.2 A and AA, and of good
// practice, that the page breaks with a serious or critical effect, as axe-core
// sees it.
func (tab *Tab) Accessible() *Tab {
	tab.t.Helper()
	script, err := axe()
	if err != nil {
		tab.t.Fatalf("axe-core cannot be installed; go tool task deps does it: %v", err)
	}
	tab.check()
	// Through the debugger, so the page's content policy does not keep it out.
	do(tab, chromedp.Evaluate[chromedp.Void](script+"; undefined"))
	found := do(tab, chromedp.Evaluate[string](`axe.run(document, {resultTypes: ["violations"]}).then((r) =>
	JSON.stringify(r.violations.filter((v) => v.impact === "serious" || v.impact === "critical")))`, chromedp.EvalAwaitPromise))
	// axe itself sets inline styles, which the policy refuses: no fault of the page.
	tab.mu.Lock()
	tab.faults = nil
	tab.mu.Unlock()
	var all violations
	if err := json.Unmarshal([]byte(found), &all); err != nil {
		tab.t.Fatal(err)
	}
	for _, v := range all {
		for _, n := range v.Nodes {
			tab.t.Errorf("%s: %s (%s): %s\n  %s\n  %s", tab.where(), v.ID, v.Impact, v.Help, n.HTML, n.Summary)
		}
	}
	return tab
}
