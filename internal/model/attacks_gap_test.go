package model_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// gap is a vendor and the sites of his customer on both sides of an air gap: the
// portal over SQLite, and daemons as processes. They have one clock, which the
// test sets, and meet by files only.
type gap struct {
	*attacks
	t       *testing.T
	vendor  *portal.Portal
	options portal.Options
	start   time.Time
	wall    time.Time     // what people set
	running time.Duration // what nobody sets
}

// vendorDomain names the vendor's keys.
const vendorDomain = "vendor.example"

var background = context.Background()

func (a *attacks) newGap(t *testing.T) *gap {
	t.Helper()
	g := &gap{attacks: a, t: t, start: t0, wall: t0}
	t.Setenv("METERSEAL_TEST_CLOCK", filepath.Join(t.TempDir(), "clock"))
	g.setClock()
	g.options = portal.Options{Dir: filepath.Join(t.TempDir(), "vendor"), Domain: vendorDomain, KeyWorkFactor: 4,
		Now: func() time.Time { return g.start.Add(g.running) }, Passphrase: func() (string, error) { return "correct horse", nil }}
	var err error
	if g.vendor, err = portal.Init(background, g.options, "2026"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.vendor.Close() })
	g.must(g.vendor.SetProduct(background, portal.Product{ID: "renderd", Name: "Renderer", Meters: []string{"pages sum page 0 yes 0s"}}, "ana"))
	_, err = g.vendor.SetCustomer(background, portal.Customer{ID: "acme", Name: "Acme GmbH"}, "ana")
	g.must(err)
	return g
}

func (g *gap) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// pass lets time pass for everybody.
func (g *gap) pass(d time.Duration) {
	g.t.Helper()
	g.running += d
	g.turn(d)
}

// turn sets the wall clocks of the customer; the vendor's is right.
func (g *gap) turn(by time.Duration) {
	g.t.Helper()
	g.wall = g.wall.Add(by)
	g.setClock()
}

func (g *gap) setClock() {
	g.t.Helper()
	path := os.Getenv("METERSEAL_TEST_CLOCK")
	g.must(os.WriteFile(path+".new", fmt.Appendf(nil, "%s %.0f\n", g.wall.Format(time.RFC3339), g.running.Seconds()), 0o600))
	g.must(os.Rename(path+".new", path))
}

// issue makes a license for a year; pairs are names and rests of its lines.
func (g *gap) issue(id string, pairs ...string) *portal.License {
	g.t.Helper()
	set := license.Lines{}
	for i := 0; i < len(pairs); i += 2 {
		set[pairs[i]] = append(set[pairs[i]], pairs[i+1])
	}
	l, err := g.vendor.IssueLicense(background, portal.LicenseSpec{ID: id, Customer: "acme", Product: "renderd", SolutionName: "renderd", Policy: "monthly-pay-per-use", Set: set})
	g.must(err)
	return l
}

// plant is a site: a data directory, and the daemon that serves it.
type plant struct {
	*gap
	dir  string
	key  string // file with the license key
	d    *daemon
	sent int
}

// newPlant starts a site with a license key.
func (g *gap) newPlant(l *portal.License) *plant {
	g.t.Helper()
	p := &plant{gap: g, dir: filepath.Join(g.t.TempDir(), "data"), key: filepath.Join(g.t.TempDir(), "license.key")}
	g.must(os.WriteFile(p.key, []byte(l.Key+"\n"), 0o600))
	p.begin()
	return p
}

// active is a site with some use that the vendor has accepted.
func (g *gap) active(pairs ...string) *plant {
	g.t.Helper()
	p := g.newPlant(g.issue("L-1", pairs...))
	p.use(5)
	p.round()
	return p
}

func (p *plant) args() []string {
	return []string{"--license-key-file", p.key, "--solution-name", "renderd"}
}

func (p *plant) begin() {
	p.t.Helper()
	p.d = p.serve(p.t, p.dir, p.args()...)
}

func (p *plant) end() {
	p.t.Helper()
	if exit := p.d.Stop(); exit != 0 {
		p.t.Fatalf("daemon ended with %d:\n%s", exit, p.d.Output())
	}
}

// refusesStart fails the test unless a daemon refuses the directory.
func (p *plant) refusesStart(exit int, code string) {
	p.t.Helper()
	p.wants(p.t, exit, []string{"[" + code + "]"}, append([]string{"serve", "--data", p.dir, "--nats", "127.0.0.1:0", "--http", "127.0.0.1:0"}, p.args()...)...)
}

// copied is the directory as it is now, elsewhere. A running daemon stands still
// meanwhile, as a machine does of which a snapshot is made.
func (p *plant) copied() *plant {
	p.t.Helper()
	if p.d.Running() {
		p.stand(true)
		defer p.stand(false)
	}
	c := *p
	c.dir, c.d = copyDir(p.t, p.dir), nil
	return &c
}

// revert puts a copy in the place of the directory, and starts it.
func (p *plant) revert(to *plant) { p.t.Helper(); p.revertAt(to, 0) }

// revertAt is revert at another time of day.
func (p *plant) revertAt(to *plant, by time.Duration) {
	p.t.Helper()
	p.d.Kill()
	p.dir = to.dir
	p.turn(by)
	p.begin()
}

// backupRecipient is for whom the keys in a backup are encrypted, backupIdentity
// whoever opens them.
const (
	backupRecipient = "age157kk345j65a8hfvwlew7fdr8kq3lfjuhdtn8dt76hxu0wevnvg6s06p7rr"
	backupIdentity  = "AGE-SECRET-KEY-13R2ZM0L0YZU4H0RXA5HKVJ5SGXK0ZPZC3W6QMTT77G53F4PUEVNQNLHKL5\n"
)

// backup makes one as the documentation says, with the keys.
func (p *plant) backup() string {
	p.t.Helper()
	file := filepath.Join(p.t.TempDir(), "site.backup")
	p.wants(p.t, 0, []string{"site.backup"}, "backup", "--http", p.d.http, "--with-keys", "--recipient", backupRecipient, "--data", p.dir, "--out", file)
	return file
}

// publish sends one event of a node and returns the answer.
func (p *plant) publish(node string, quantity int64) string {
	p.t.Helper()
	p.sent++
	return ask(p.t, p.d.connect(p.t), "usage."+node+".pages", fmt.Appendf(nil, `{"id":"e%d","quantity":%d}`, p.sent, quantity))
}

// use counts pages on two nodes in a window each.
func (p *plant) use(pages ...int64) {
	p.t.Helper()
	for _, n := range pages {
		p.count(n)
		p.pass(15 * time.Minute)
	}
}

// count counts pages on two nodes.
func (p *plant) count(pages int64) {
	p.t.Helper()
	for _, node := range []string{"node-1", "node-2"} {
		if got := p.publish(node, pages); strings.Contains(got, "error") {
			p.t.Fatalf("event: %s", got)
		}
	}
}

// export writes the report since the last receipt, or with --from.
func (p *plant) export(flags ...string) []byte {
	p.t.Helper()
	file := filepath.Join(p.t.TempDir(), "x.usage")
	exit, out := p.run(p.t, append([]string{"report", "export", "--http", p.d.http, "--close-now", "--out", file}, flags...)...)
	if exit != 0 {
		p.t.Fatalf("export: exit %d\n%s", exit, out)
	}
	b, err := os.ReadFile(file)
	p.must(err)
	return b
}

// upload brings a report to the portal.
func (g *gap) upload(file []byte, o ...portal.AcceptOptions) *portal.Answer {
	g.t.Helper()
	a, err := g.vendor.Accept(background, bytes.NewReader(file), append(o, portal.AcceptOptions{Actor: "kim"})[0])
	g.must(err)
	return a
}

// accepts fails the test unless the vendor accepts a report with a verdict.
func (g *gap) accepts(v export.Verdict, file []byte, o ...portal.AcceptOptions) *portal.Answer {
	g.t.Helper()
	a := g.upload(file, o...)
	if a.Refusal != nil || a.Verdict != v {
		g.t.Fatalf("upload = %s %v, findings %v, want verdict %s", a.Code, a.Refusal, a.Findings, v)
	}
	g.note(string(v))
	return a
}

// refuses fails the test unless the vendor refuses a report.
func (g *gap) refuses(status int, code string, file []byte, o ...portal.AcceptOptions) *portal.Answer {
	g.t.Helper()
	a := g.upload(file, o...)
	if a.Refusal == nil || a.Refusal.Code != code || a.Refusal.Status != status || a.Refusal.Hint == "" {
		g.t.Fatalf("upload = %s %v, findings %v, want %d %s with a way out", a.Code, a.Refusal, a.Findings, status, code)
	}
	g.note(code)
	return a
}

// reply writes the reply of an answer to a file.
func (g *gap) reply(a *portal.Answer) string {
	g.t.Helper()
	file := filepath.Join(g.t.TempDir(), a.ReplyName)
	g.must(os.WriteFile(file, a.Reply, 0o600))
	return file
}

// imports takes a reply into use.
func (p *plant) imports(a *portal.Answer) {
	p.t.Helper()
	if exit, out := p.run(p.t, "import", "--http", p.d.http, p.reply(a)); exit != 0 {
		p.t.Fatalf("import: exit %d\n%s", exit, out)
	}
}

// refusesImport fails the test unless the daemon refuses a file.
func (p *plant) refusesImport(exit int, code, file string) {
	p.t.Helper()
	p.wants(p.t, exit, []string{"[" + code + "]"}, "import", "--http", p.d.http, file)
}

// round carries a report out and its reply in.
func (p *plant) round() *portal.Answer {
	p.t.Helper()
	a := p.accepts(export.OK, p.export())
	p.imports(a)
	return a
}

// billed compares the statement of all time with a number of pages.
func (g *gap) billed(want int64) {
	g.t.Helper()
	rows, err := g.vendor.Statement(background, time.Unix(0, 0), time.Unix(1<<33, 0), portal.StatementFilter{Meter: "pages"})
	g.must(err)
	var sum int64
	for _, r := range rows {
		sum += r.Quantity
	}
	if sum != want {
		g.t.Errorf("billed %d pages, want %d", sum, want)
	}
}

// vendorSide is what the vendor knows of the site.
func (p *plant) vendorSide() *portal.Ledger {
	p.t.Helper()
	l, err := p.vendor.Ledger(background, p.ledgerName())
	p.must(err)
	return l
}

// forged is the ledger of a site in the hands of somebody who has its key: he
// writes what he likes and signs it.
type forged struct {
	*exporttest.Ledger
	t      *testing.T
	signer note.Signer
}

// forge reads the whole ledger from a report and the key from the directory.
func (p *plant) forge() *forged {
	p.t.Helper()
	l, err := exporttest.FromReports(p.export("--from", "0"))
	p.must(err)
	return &forged{l, p.t, p.signer()}
}

func (p *plant) signer() note.Signer {
	p.t.Helper()
	key, err := ledger.ReadKeyFile(filepath.Join(p.dir, "keys", "site.key"))
	p.must(err)
	s, err := key.Signer(nil)
	p.must(err)
	return s
}

// edit changes the records from one on, so that groups of closes fit, and signs.
func (f *forged) edit(from int, change func(lines []string) []string) *forged {
	f.t.Helper()
	return f.editWith([]note.Signer{f.signer}, from, change)
}

func (f *forged) editWith(signers []note.Signer, from int, change func(lines []string) []string) *forged {
	f.t.Helper()
	lines := change(slices.Clone(f.Lines[from:]))
	if slices.Equal(lines, f.Lines[from:]) {
		f.t.Fatal("nothing was edited")
	}
	f.Lines = append(f.Lines[:from:from], exporttest.Regroup(lines)...)
	f.Sign(signers...)
	return f
}

// ledgerName is the origin of the site.
func (p *plant) ledgerName() string {
	p.t.Helper()
	key, err := ledger.ReadKeyFile(filepath.Join(p.dir, "keys", "site.key"))
	p.must(err)
	return key.VKey().Name
}

// report writes the report from a size to the end.
func (f *forged) report(from uint64) []byte {
	f.t.Helper()
	if f.Notes[from] == nil && from > 0 {
		cp, err := ledger.SignCheckpoint(f.At(from), f.signer)
		if err != nil {
			f.t.Fatal(err)
		}
		f.Notes[from] = cp
	}
	var b bytes.Buffer
	if _, err := export.WriteReport(&b, f, export.Options{From: from, To: f.Size()}); err != nil {
		f.t.Fatal(err)
	}
	return b.Bytes()
}
