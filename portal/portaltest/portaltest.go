// Package portaltest has a vendor and sites that report to it, for tests.
package portaltest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/internal/postgrestest"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// Domain is that of the vendor's keys.
const Domain = "meter.example"

// Clock is one that tests move.
type Clock struct {
	mu sync.Mutex
	t  time.Time
}

// At returns a clock that stands at t.
func At(t time.Time) *Clock { return &Clock{t: t} }

// Now is the time of the clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

// Set moves the clock to t.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

// Add moves the clock by d.
func (c *Clock) Add(d time.Duration) { c.Set(c.Now().Add(d)) }

// Vendor is a portal with a store of its own and what tests need beside it.
type Vendor struct {
	*portal.Portal
	T     testing.TB
	Clock *Clock
	O     portal.Options
}

// OnBoth runs a test on SQLite and on PostgreSQL.
func OnBoth(t *testing.T, f func(t *testing.T, v *Vendor)) {
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); f(t, New(t, "")) })
	if testing.Short() {
		return // what runs at once is the same with both
	}
	t.Run("postgres", func(t *testing.T) { t.Parallel(); f(t, New(t, postgrestest.Database(t))) })
}

// WorkFactor makes scrypt of the tests' keys cheap.
const WorkFactor = 4

// folder is one for a portal: in memory where there is room, since most of the time
// of a test is otherwise that of a disk which writes for good what is thrown away.
// What a killed process leaves is the same there.
func folder(t testing.TB) string {
	t.Helper()
	const memory, room = "/dev/shm", 2 << 30
	var fs syscall.Statfs_t
	if syscall.Statfs(memory, &fs) != nil || fs.Bavail*uint64(fs.Bsize) < room {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "portal")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// New makes a vendor with a product and a customer. dsn is that of portal.Options.
func New(t testing.TB, dsn string) *Vendor {
	t.Helper()
	c := &Clock{t: time.Unix(exporttest.Start, 0).UTC()}
	v := &Vendor{T: t, Clock: c, O: portal.Options{Dir: folder(t), DSN: dsn, Now: c.Now, Domain: Domain, KeyWorkFactor: WorkFactor,
		Passphrase: func() (string, error) { return "correct horse", nil }}}
	p, err := portal.Init(context.Background(), v.O, "2026")
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

// Issue makes a license for acme's renderd.
func (v *Vendor) Issue(spec portal.LicenseSpec) *portal.License {
	v.T.Helper()
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
		v.T.Fatal(err)
	}
	return l
}

// Set spells lines of a license, pairs of name and rest.
func Set(pairs ...string) license.Lines {
	l := license.Lines{}
	for i := 0; i < len(pairs); i += 2 {
		l[pairs[i]] = append(l[pairs[i]], pairs[i+1])
	}
	return l
}

// Site is a ledger that reports to a vendor.
type Site struct {
	*exporttest.Site
	V    *Vendor
	Base uint64 // of the next report
}

// Open opens a site with the key of a license. word names it.
func (v *Vendor) Open(l *portal.License, word string, more ...func(*exporttest.Opening)) *Site {
	note := []byte(l.Note)
	n, err := ledger.ParseNote(note, ledger.NoteBytesMax)
	if err != nil {
		v.T.Fatal(err)
	}
	o := exporttest.Opening{Domain: Domain, License: l.ID, Word: word, Note: note, KeyID: n.Sigs[0].KeyID}
	for _, f := range more {
		f(&o)
	}
	return &Site{Site: exporttest.OpenSite(o), V: v}
}

// Use closes a window in which a node used some pages, and the ledger.
func (s *Site) Use(pages ...int64) *Site {
	for _, n := range pages {
		s.Window(exporttest.Cell{Node: "node-01", Meter: "render.pages", Events: []exporttest.Event{{OffsetMS: 1000, Quantity: n, ID: "e"}}})
	}
	s.Close()
	return s
}

// SkipTo closes windows without use up to a time.
func (s *Site) SkipTo(t time.Time) *Site {
	for s.Until() < t.Unix() {
		s.Window()
	}
	return s
}

// Report writes the report from the last accepted size to the end.
func (s *Site) Report() []byte { return s.ReportOf(s.Base, s.Size()) }

// ReportOf writes the report of the records [from, to).
func (s *Site) ReportOf(from, to uint64) []byte {
	s.V.T.Helper()
	var b bytes.Buffer
	if _, err := export.WriteReport(&b, s.Ledger, export.Options{From: from, To: to}); err != nil {
		s.V.T.Fatal(err)
	}
	return b.Bytes()
}

// Answers uploads a file that has to be answered, also if with a refusal.
func (v *Vendor) Answers(file []byte, o ...portal.AcceptOptions) *portal.Answer {
	v.T.Helper()
	o = append(o, portal.AcceptOptions{Actor: "kim"})
	a, err := v.Accept(context.Background(), bytes.NewReader(file), o[0])
	if err != nil {
		v.T.Fatal(err)
	}
	return a
}

// Takes uploads a file that has to be accepted.
func (v *Vendor) Takes(file []byte, o ...portal.AcceptOptions) *portal.Answer {
	v.T.Helper()
	a := v.Answers(file, o...)
	if a.Refusal != nil {
		v.T.Fatalf("Accept = %v, want it accepted", a.Refusal)
	}
	return a
}

// Refuses uploads a file that has to be refused with a code.
func (v *Vendor) Refuses(code string, file []byte, o ...portal.AcceptOptions) *portal.Answer {
	v.T.Helper()
	a := v.Answers(file, o...)
	if a.Refusal == nil || a.Refusal.Code != code || a.Code != code {
		v.T.Fatalf("Accept = %s, %v, want the refusal %s", a.Code, a.Refusal, code)
	}
	if a.Refusal.FixBy == "" || a.Refusal.Hint == "" || a.Refusal.Status < 400 {
		v.T.Errorf("refusal %s says status %d, fix by %q, how %q, want all three", code, a.Refusal.Status, a.Refusal.FixBy, a.Refusal.Hint)
	}
	return a
}

// ReplyOf parses and verifies the reply of an answer, as the site would.
func (v *Vendor) ReplyOf(a *portal.Answer) *export.Reply {
	v.T.Helper()
	r, err := export.ParseReply(a.Reply)
	if err != nil {
		v.T.Fatalf("reply of %s: %v", a.ReportID, err)
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
		v.T.Fatalf("reply of %s: %v", a.ReportID, err)
	}
	return r
}

// Send uploads the report of a site, imports the reply, and returns the answer.
func (s *Site) Send(o ...portal.AcceptOptions) *portal.Answer {
	s.V.T.Helper()
	a := s.V.Takes(s.Report(), o...)
	s.Imports(a)
	return a
}

// Imports takes the reply of an answer into the ledger, as a daemon does.
func (s *Site) Imports(a *portal.Answer) {
	s.V.T.Helper()
	r := s.V.ReplyOf(a)
	if r.Receipt != nil {
		cp, err := ledger.ParseCheckpoint(r.Receipt)
		if err != nil {
			s.V.T.Fatal(err)
		}
		last := cp.Note.Sigs[len(cp.Note.Sigs)-1]
		at, err := last.Time()
		if err != nil {
			s.V.T.Fatal(err)
		}
		known, err := r.ReceiptKnown(s.V.ReceiptKeys())
		if err != nil {
			s.V.T.Fatal(err)
		}
		s.Append(&ledger.Receipt{Time: s.Now(), Size: cp.Size, Root: cp.Root, VTime: at, Digest: known.Digest})
		s.Ledger.Notes[cp.Size] = r.Receipt
		s.Base = cp.Size
	}
	if r.License != nil {
		l := s.V.Bound(r)
		n, err := ledger.ParseNote(r.License, ledger.NoteBytesMax)
		if err != nil {
			s.V.T.Fatal(err)
		}
		s.Append(&ledger.License{Time: s.Now(), ID: l.ID, Serial: l.Serial, KeyID: n.Sigs[0].KeyID, Digest: license.Digest(r.License), Size: l.Checkpoint.Size})
		s.Serial = l.Serial
	}
}

// ReceiptKeys are the vendor's, as vkeys.
func (v *Vendor) ReceiptKeys() (out []string) {
	for _, k := range v.Keys() {
		if k.Role == "receipt" {
			out = append(out, k.VKey)
		}
	}
	return out
}

// LicenseKeys are the vendor's.
func (v *Vendor) LicenseKeys() (out []ledger.VKey) {
	for _, k := range v.Keys() {
		if k.Role == "license" {
			key, err := ledger.ParseVKey(k.VKey)
			if err != nil {
				v.T.Fatal(err)
			}
			out = append(out, key)
		}
	}
	return out
}

// Bound verifies and returns the license of a reply.
func (v *Vendor) Bound(r *export.Reply) *license.License {
	v.T.Helper()
	l, err := license.Verify(r.License, v.LicenseKeys(), nil)
	if err != nil {
		v.T.Fatalf("license of the reply: %v", err)
	}
	return l
}

// Code returns the code of an error of the portal.
func Code(err error) string {
	var e *portal.Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return "error: " + err.Error()
	}
	return ""
}

// Must fails the test on an error.
func (v *Vendor) Must(err error) {
	v.T.Helper()
	if err != nil {
		v.T.Fatal(err)
	}
}

// Reopen opens the portal again, as v.O says.
func (v *Vendor) Reopen() {
	v.T.Helper()
	p, err := portal.Open(context.Background(), v.O)
	v.Must(err)
	v.Portal = p
}

// Rotate enrols a new site key: both sign the next checkpoint, the new one those
// after it.
func (s *Site) Rotate(word string) {
	s.V.T.Helper()
	k := exporttest.Key(s.Ledger.Name, ledger.KeyEd25519, "site "+word)
	s.Append(&ledger.Key{Time: s.Now(), Role: ledger.RoleSite, Action: ledger.KeyAdd, VKey: k.VKey().String()})
	signer, err := k.Signer(nil)
	s.V.Must(err)
	s.Window()
	s.Close()
	s.Sign(signer)
	s.Signer = signer
}

// Closes are the sizes at which closes were made.
func (s *Site) Closes() (out []uint64) {
	for i, line := range s.Ledger.Lines {
		if strings.HasPrefix(line, "close end ") {
			out = append(out, uint64(i+1))
		}
	}
	return out
}

// Retire ends the ledger, after a close.
func (s *Site) Retire() {
	if !strings.HasPrefix(s.Ledger.Lines[s.Size()-1], "close end ") {
		s.Window()
		s.Close()
	}
	s.Append(&ledger.Retire{Time: s.Now(), Reason: "moved"})
	s.Sign()
}

// Resign replaces words in the records after the base, and signs the ledger as
// it is then.
func (s *Site) Resign(old, new string) {
	s.ResignFunc(func(lines []string) {
		for i := range lines {
			lines[i] = strings.ReplaceAll(lines[i], old, new)
		}
	})
}

// ResignFunc lets f change the records after the base, and signs the ledger anew.
func (s *Site) ResignFunc(f func(lines []string)) {
	f(s.Ledger.Lines[s.Base:])
	s.Ledger.Lines = append(s.Ledger.Lines[:s.Base:s.Base], exporttest.Regroup(s.Ledger.Lines[s.Base:])...)
	s.Ledger.Sign(s.Signer)
}

// Cell is one event of a node: so many pages.
func Cell(node string, pages int64) exporttest.Cell {
	return exporttest.Cell{Node: node, Meter: "render.pages", Events: []exporttest.Event{{OffsetMS: 1000, Quantity: pages, ID: "e"}}}
}

// RecordOf returns the index of the n-th record that begins so.
func (s *Site) RecordOf(prefix string, n int) uint64 {
	for i, line := range s.Ledger.Lines {
		if strings.HasPrefix(line, prefix) {
			if n == 0 {
				return uint64(i)
			}
			n--
		}
	}
	s.V.T.Fatalf("no record %q", prefix)
	return 0
}

// OpenRecord parses the first record.
func (s *Site) OpenRecord() *ledger.Open {
	r, err := ledger.ParseRecord(s.Ledger.Lines[0])
	s.V.Must(err)
	return r.(*ledger.Open)
}

// Kept lists the files that the portal keeps.
func (v *Vendor) Kept() []string {
	v.T.Helper()
	all, err := filepath.Glob(filepath.Join(v.O.Dir, "uploads", "*"))
	v.Must(err)
	return all
}

// Ready opens a site that has been activated, has used 7 and reported it.
func (v *Vendor) Ready(id string) (*Site, *portal.License) {
	l := v.Issue(portal.LicenseSpec{ID: id, Set: Set("max-activations", "9")})
	s := v.Open(l, id)
	s.Send()
	s.Use(3, 4).Send()
	return s, l
}

// NewKey is the vkey that Rotate(word) enrols.
func (s *Site) NewKey(word string) string {
	return exporttest.Key(s.Ledger.Name, ledger.KeyEd25519, "site "+word).VKey().String()
}
