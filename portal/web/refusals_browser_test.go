package web_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/meterseal/meterseal/internal/browsertest"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// enters opens a tab whose user has signed in.
func (f *front) enters(b *browsertest.Browser, email string) *browsertest.Tab {
	f.T.Helper()
	tab := b.Open(f.url).Go("/sign-in")
	at := browsertest.Eval[string](tab, fmt.Sprintf(`fetch("/sign-in", {method: "POST", body: new URLSearchParams({email: %q, password: %q})}).then((r) => r.url)`, email, password))
	if strings.HasSuffix(at, "/sign-in") {
		f.T.Fatalf("%s is not signed in", email)
	}
	return tab
}

// courier opens a tab of kim, who belongs to acme.
func (f *front) courier(b *browsertest.Browser) *browsertest.Tab {
	f.T.Helper()
	f.join(f.browser().signIn("ana@vendor.example"), "kim@acme.example", portal.RoleCustomer, "acme")
	return f.enters(b, "kim@acme.example")
}

// brings uploads a file on the page, as a person does.
func brings(t *testing.T, tab *browsertest.Tab, cluster string, file []byte) *browsertest.Tab {
	t.Helper()
	name := filepath.Join(t.TempDir(), "report.usage")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	tab.Go("/my/upload")
	if cluster != "" {
		tab.Fill("Name of the cluster", cluster)
	}
	return tab.Attach("Report files", name).Sees("SHA-256").Click("Upload report")
}

// Requirements section 5, P-16, P-18: every wrong file, brought on the page in a
// real browser: the page has a headline of its own for it, says who puts it right
// and how, and staff read the same with the alert that there is.
func TestWrongFilesInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: browsers are driven in the run without the race detector")
	}
	b := browsertest.New(t)
	var mu sync.Mutex // protects titles
	titles := map[string]string{}
	t.Run("of", func(t *testing.T) {
		for _, x := range portaltest.Refusals {
			t.Run(strings.ReplaceAll(x.Code, "/", "_"), func(t *testing.T) {
				t.Parallel()
				title := wrongFile(t, b.For(t), x)
				mu.Lock()
				defer mu.Unlock()
				if other := titles[title]; other != "" {
					t.Errorf("the headline of %s is %q, as that of %s", x.Code, title, other)
				}
				titles[title] = x.Code
			})
		}
	})
	if len(titles) != len(portaltest.Refusals) {
		t.Errorf("%d refusals were read, want %d", len(titles), len(portaltest.Refusals))
	}
}

// wrongFile brings a file that is refused, and returns the headline of the page
// that says so.
func wrongFile(t *testing.T, b *browsertest.Browser, x portaltest.Refusal) string {
	v := portaltest.New(t, "")
	file, o := x.File(v)
	f := frontOf(t, v)
	tab := f.courier(b)
	if o.Customer != "" {
		_, err := f.SetCustomer(t.Context(), portal.Customer{ID: o.Customer, Name: "Other Ltd"}, "ana")
		f.Must(err)
		f.join(f.browser().signIn("ana@vendor.example"), "sam@other.example", portal.RoleCustomer, o.Customer)
		tab = f.enters(b, "sam@other.example")
	}
	brings(t, tab, o.Ledger, file)
	who := map[string]string{"courier": "You:", "site": "At the site:", "vendor": "Your vendor:"}[x.FixBy]
	tab.Sees("report.usage", "What was found:", "What to do", who, x.Code)
	title := browsertest.Eval[string](tab, `document.querySelector("h1").innerText`)
	first := browsertest.Eval[string](tab, `document.querySelector("main ol.steps li").innerText`)
	if !strings.HasPrefix(first, who) || strings.Contains(title, x.Code) {
		t.Errorf("%s: the page %q begins with the step %q, want one for %s", x.Code, title, first, who)
	}
	if x.Reply {
		tab.Sees("Download rejection", "Carry the rejection to the site")
	} else {
		tab.Lacks("Download rejection")
	}
	id := browsertest.Eval[string](tab, `new URLSearchParams(location.search).get("id")`)
	f.enters(b, "ana@vendor.example").Go("/reports/"+id).Sees(title, "To be put right by the "+x.FixBy+" first", "What to tell the customer", x.Code)
	return title
}

// Requirements section 5: what is accepted, in a real browser: as it should be,
// again, with questions, waiting for the vendor, without a license, with a new key.
func TestAcceptedFilesInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: browsers are driven in the run without the race detector")
	}
	f := newFront(t)
	tab := f.courier(browsertest.New(t))
	sends := func(s *portaltest.Site, texts ...string) {
		t.Helper()
		brings(t, tab, "", s.Report()).Sees(texts...)
		a, err := f.Report(t.Context(), browsertest.Eval[string](tab, `new URLSearchParams(location.search).get("id")`))
		f.Must(err)
		s.Imports(a)
	}
	s := f.Open(f.Issue(portal.LicenseSpec{ID: "L-1", Set: portaltest.Set("max-activations", "9")}), "a")
	first := s.Report()
	sends(s, "The report was accepted", "Download reply")
	brings(t, tab, "", first).Sees("This was accepted before", "Nothing: all of it was counted before")

	s.Append(&ledger.Restore{Time: s.Now(), Cause: "disk-lost", Size: s.Size(), Root: s.Checkpoint().Root})
	sends(s.Use(2), "the site is asked something", "Questions to the site", "Why was the ledger restored", "2 page")
	s.Rotate("new")
	sends(s, "A new site key was accepted")
	_, err := f.SuspendLicense(t.Context(), "L-1", "ana")
	f.Must(err)
	sends(s.Use(3), "brought no license", "Ask your vendor about the license", "3 page")

	waiting := f.Open(f.Issue(portal.LicenseSpec{ID: "L-2", Rules: portal.Rules{Approval: true}}), "b")
	sends(waiting, "the license waits for the vendor", "at the same address")
	at := tab.Path()
	_, err = f.ApproveLedger(t.Context(), waiting.Ledger.Name, "ana")
	f.Must(err)
	tab.Go(at).Sees("The report was accepted", "Download reply")
}

// Requirements section 5: what is answered before anything is written down: nobody
// is signed in any more, the file is above the cap, the fault is ours. The file
// stays on the page, says why, leads to what to do, and can be sent again.
func TestUploadsThatAreNotWrittenDown(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: browsers are driven in the run without the race detector")
	}
	v := portaltest.New(t, "")
	s, _ := v.Ready("L-1")
	small := s.Use(5).Report()
	v.Must(v.Close())
	v.O.UploadBytesMax = int64(len(small)) + 50
	v.Reopen()
	f := frontOf(t, v)
	tab := f.courier(browsertest.New(t))
	post := func(path, form string) {
		t.Helper()
		browsertest.Eval[int](tab, fmt.Sprintf(`fetch(%q, {method: "POST", body: new URLSearchParams(%q)}).then((r) => r.status)`, path, form))
	}
	brings(t, tab, "", append(small, make([]byte, 60)...)).Sees("Not accepted: the file has more than").Click("What to do about it").
		Sees("size/too_large", "the vendor raises the cap")

	v.Must(os.RemoveAll(v.O.Dir + "/tmp"))
	brings(t, tab, "", small).Sees("The portal cannot take it just now", "nothing is counted twice", "What to do about it")
	v.Must(os.Mkdir(v.O.Dir+"/tmp", 0o700))
	post("/sign-out", "")
	tab.Click("Send again").Sees("You are not signed in any more", "nothing was counted")
	post("/sign-in", url.Values{"email": {"kim@acme.example"}, "password": {password}}.Encode())
	tab.Click("Send again").Sees("The report was accepted", "5 page")
}
