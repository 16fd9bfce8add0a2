package portal_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/internal/postgrestest"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

const domain = "meter.example"

// A clock that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

func (c *clock) add(d time.Duration) { c.set(c.now().Add(d)) }

// A vendor is a portal with a store of its own and what tests need beside it.
type vendor struct {
	*portal.Portal
	t     *testing.T
	clock *clock
	o     portal.Options
}

// onBoth runs a test on SQLite and on PostgreSQL.
func onBoth(t *testing.T, f func(t *testing.T, v *vendor)) {
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); f(t, newVendor(t, "")) })
	t.Run("postgres", func(t *testing.T) { t.Parallel(); f(t, newVendor(t, postgrestest.Database(t))) })
}

// workFactor makes scrypt of the tests' keys cheap.
const workFactor = 4

func newVendor(t *testing.T, dsn string) *vendor {
	t.Helper()
	c := &clock{t: time.Unix(exporttest.Start, 0).UTC()}
	v := &vendor{t: t, clock: c, o: portal.Options{Dir: t.TempDir(), DSN: dsn, Now: c.now, Domain: domain, KeyWorkFactor: workFactor,
		Passphrase: func() (string, error) { return "correct horse", nil }}}
	p, err := portal.Init(context.Background(), v.o, "2026")
	if err != nil {
		t.Fatal(err)
	}
	v.Portal = p
	t.Cleanup(func() { v.Portal.Close() })
	if err := v.SetProduct(context.Background(), portal.Product{ID: "renderd", Name: "Renderer", Features: []string{"sso", "export"},
		Meters: []string{"render.pages sum page 0 yes 0s"}}, "ana"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.SetCustomer(context.Background(), portal.Customer{ID: "acme", Name: "Acme GmbH"}, "ana"); err != nil {
		t.Fatal(err)
	}
	return v
}

// issue makes a license for acme's renderd.
func (v *vendor) issue(spec portal.LicenseSpec) *portal.License {
	v.t.Helper()
	if spec.Customer == "" {
		spec.Customer = "acme"
	}
	if spec.Product == "" {
		spec.Product = "renderd"
	}
	if spec.SolutionName == "" {
		spec.SolutionName = "renderd"
	}
	if spec.Policy == "" {
		spec.Policy = "annual-metered"
	}
	l, err := v.IssueLicense(context.Background(), spec)
	if err != nil {
		v.t.Fatal(err)
	}
	return l
}

// set spells lines of a license, pairs of name and rest.
func set(pairs ...string) license.Lines {
	l := license.Lines{}
	for i := 0; i < len(pairs); i += 2 {
		l[pairs[i]] = append(l[pairs[i]], pairs[i+1])
	}
	return l
}

// A site is a ledger that reports to a vendor.
type site struct {
	*exporttest.Site
	v    *vendor
	base uint64 // of the next report
}

// open opens a site with the key of a license. word names it.
func (v *vendor) open(l *portal.License, word string, more ...func(*exporttest.Opening)) *site {
	note := []byte(l.Note)
	n, err := ledger.ParseNote(note, ledger.NoteBytesMax)
	if err != nil {
		v.t.Fatal(err)
	}
	o := exporttest.Opening{Domain: domain, License: l.ID, Word: word, Note: note, KeyID: n.Sigs[0].KeyID}
	for _, f := range more {
		f(&o)
	}
	return &site{Site: exporttest.OpenSite(o), v: v}
}

// use closes a window in which a node used some pages, and the ledger.
func (s *site) use(pages ...int64) *site {
	for _, n := range pages {
		s.Window(exporttest.Cell{Node: "node-01", Meter: "render.pages", Events: []exporttest.Event{{OffsetMS: 1000, Quantity: n, ID: "e"}}})
	}
	s.Close()
	return s
}

// skipTo closes windows without use up to a time.
func (s *site) skipTo(t time.Time) *site {
	for s.Until() < t.Unix() {
		s.Window()
	}
	return s
}

// report writes the report from the last accepted size to the end.
func (s *site) report() []byte { return s.reportOf(s.base, s.Size()) }

func (s *site) reportOf(from, to uint64) []byte {
	s.v.t.Helper()
	var b bytes.Buffer
	if _, err := export.WriteReport(&b, s.Ledger, export.Options{From: from, To: to}); err != nil {
		s.v.t.Fatal(err)
	}
	return b.Bytes()
}

// accept uploads a file that has to be answered, also if with a refusal.
func (v *vendor) accept(file []byte, o ...portal.AcceptOptions) *portal.Answer {
	v.t.Helper()
	o = append(o, portal.AcceptOptions{Actor: "kim"})
	a, err := v.Accept(context.Background(), bytes.NewReader(file), o[0])
	if err != nil {
		v.t.Fatal(err)
	}
	return a
}

// takes uploads a file that has to be accepted.
func (v *vendor) takes(file []byte, o ...portal.AcceptOptions) *portal.Answer {
	v.t.Helper()
	a := v.accept(file, o...)
	if a.Refusal != nil {
		v.t.Fatalf("Accept = %v, want it accepted", a.Refusal)
	}
	return a
}

// refuses uploads a file that has to be refused with a code.
func (v *vendor) refuses(code string, file []byte, o ...portal.AcceptOptions) *portal.Answer {
	v.t.Helper()
	a := v.accept(file, o...)
	if a.Refusal == nil || a.Refusal.Code != code || a.Code != code {
		v.t.Fatalf("Accept = %s, %v, want the refusal %s", a.Code, a.Refusal, code)
	}
	if a.Refusal.FixBy == "" || a.Refusal.Hint == "" || a.Refusal.Status < 400 {
		v.t.Errorf("refusal %s says status %d, fix by %q, how %q, want all three", code, a.Refusal.Status, a.Refusal.FixBy, a.Refusal.Hint)
	}
	return a
}

// reply parses and verifies the reply of an answer, as the site would.
func (v *vendor) reply(a *portal.Answer) *export.Reply {
	v.t.Helper()
	r, err := export.ParseReply(a.Reply)
	if err != nil {
		v.t.Fatalf("reply of %s: %v", a.ReportID, err)
	}
	o := export.ReplyOptions{}
	for _, k := range v.Keys() {
		switch k.Role {
		case "receipt":
			o.ReceiptKeys = append(o.ReceiptKeys, k.VKey)
		case "reply":
			o.ReplyKeys = append(o.ReplyKeys, k.VKey)
		}
	}
	if err := export.VerifyReply(r, o); err != nil {
		v.t.Fatalf("reply of %s: %v", a.ReportID, err)
	}
	return r
}

// send uploads the report of a site, imports the reply, and returns the answer.
func (s *site) send(o ...portal.AcceptOptions) *portal.Answer {
	s.v.t.Helper()
	a := s.v.takes(s.report(), o...)
	s.imports(a)
	return a
}

// imports takes the reply of an answer into the ledger, as a daemon does.
func (s *site) imports(a *portal.Answer) {
	s.v.t.Helper()
	r := s.v.reply(a)
	if r.Receipt != nil {
		cp, err := ledger.ParseCheckpoint(r.Receipt)
		if err != nil {
			s.v.t.Fatal(err)
		}
		last := cp.Note.Sigs[len(cp.Note.Sigs)-1]
		at, err := last.Time()
		if err != nil {
			s.v.t.Fatal(err)
		}
		known, err := r.ReceiptKnown(s.v.receiptKeys())
		if err != nil {
			s.v.t.Fatal(err)
		}
		s.Append(&ledger.Receipt{Time: s.Now(), Size: cp.Size, Root: cp.Root, VTime: at, Digest: known.Digest})
		s.Ledger.Notes[cp.Size] = r.Receipt
		s.base = cp.Size
	}
	if r.License != nil {
		l := s.v.bound(r)
		n, err := ledger.ParseNote(r.License, ledger.NoteBytesMax)
		if err != nil {
			s.v.t.Fatal(err)
		}
		s.Append(&ledger.License{Time: s.Now(), ID: l.ID, Serial: l.Serial, KeyID: n.Sigs[0].KeyID, Digest: license.Digest(r.License), Size: l.Checkpoint.Size})
		s.Serial = l.Serial
	}
}

func (v *vendor) receiptKeys() (out []string) {
	for _, k := range v.Keys() {
		if k.Role == "receipt" {
			out = append(out, k.VKey)
		}
	}
	return out
}

func (v *vendor) licenseKeys() (out []ledger.VKey) {
	for _, k := range v.Keys() {
		if k.Role == "license" {
			key, err := ledger.ParseVKey(k.VKey)
			if err != nil {
				v.t.Fatal(err)
			}
			out = append(out, key)
		}
	}
	return out
}

// bound verifies and returns the license of a reply.
func (v *vendor) bound(r *export.Reply) *license.License {
	v.t.Helper()
	l, err := license.Verify(r.License, v.licenseKeys(), nil)
	if err != nil {
		v.t.Fatalf("license of the reply: %v", err)
	}
	return l
}

// code returns the code of an error of the portal.
func code(err error) string {
	var e *portal.Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return "error: " + err.Error()
	}
	return ""
}

var t0 = context.Background()

func (v *vendor) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

// reopen opens the portal again, as v.o says.
func (v *vendor) reopen() {
	v.t.Helper()
	p, err := portal.Open(t0, v.o)
	v.must(err)
	v.Portal = p
}

// rotate enrols a new site key: both sign the next checkpoint, the new one those
// after it.
func (s *site) rotate(word string) {
	s.v.t.Helper()
	k := exporttest.Key(s.Ledger.Name, ledger.KeyEd25519, "site "+word)
	s.Append(&ledger.Key{Time: s.Now(), Role: ledger.RoleSite, Action: ledger.KeyAdd, VKey: k.VKey().String()})
	signer, err := k.Signer(nil)
	s.v.must(err)
	s.Window()
	s.Close()
	s.Sign(signer)
	s.Signer = signer
}

// closes are the sizes at which closes were made.
func (s *site) closes() (out []uint64) {
	for i, line := range s.Ledger.Lines {
		if strings.HasPrefix(line, "close end ") {
			out = append(out, uint64(i+1))
		}
	}
	return out
}

// retire ends the ledger, after a close.
func (s *site) retire() {
	if !strings.HasPrefix(s.Ledger.Lines[s.Size()-1], "close end ") {
		s.Window()
		s.Close()
	}
	s.Append(&ledger.Retire{Time: s.Now(), Reason: "moved"})
	s.Sign()
}

// resign replaces words in the records after the base, and signs the ledger as
// it is then.
func (s *site) resign(old, new string) {
	s.resignFunc(func(lines []string) {
		for i := range lines {
			lines[i] = strings.ReplaceAll(lines[i], old, new)
		}
	})
}

func (s *site) resignFunc(f func(lines []string)) {
	f(s.Ledger.Lines[s.base:])
	s.Ledger.Lines = append(s.Ledger.Lines[:s.base:s.base], exporttest.Regroup(s.Ledger.Lines[s.base:])...)
	s.Ledger.Sign(s.Signer)
}

type licenseRevoked = license.Revoked

func cell(node string, pages int64) exporttest.Cell {
	return exporttest.Cell{Node: node, Meter: "render.pages", Events: []exporttest.Event{{OffsetMS: 1000, Quantity: pages, ID: "e"}}}
}

// recordOf returns the index of the n-th record that begins so.
func (s *site) recordOf(prefix string, n int) uint64 {
	for i, line := range s.Ledger.Lines {
		if strings.HasPrefix(line, prefix) {
			if n == 0 {
				return uint64(i)
			}
			n--
		}
	}
	s.v.t.Fatalf("no record %q", prefix)
	return 0
}

// openRecord parses the first record.
func (s *site) openRecord() *ledger.Open {
	r, err := ledger.ParseRecord(s.Ledger.Lines[0])
	s.v.must(err)
	return r.(*ledger.Open)
}

// kept lists the files that the portal keeps.
func (v *vendor) kept() []string {
	v.t.Helper()
	all, err := filepath.Glob(filepath.Join(v.o.Dir, "uploads", "*"))
	v.must(err)
	return all
}
