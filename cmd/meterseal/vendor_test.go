package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// The stories need documents that only a vendor can make. This program makes
// them with the example keys, which everybody has:
//
//	vendor key FLAGS --out acme.key          a license key
//	vendor reply FLAGS --out X.reply X.usage  the reply to a report
//	vendor refresh FLAGS --out X.reply X.usage  a license without receipt for its ledger
//	vendor reject --out X.reply X.usage
//	vendor init --out init.code
//	vendor confirm --serial N --end DATE --out confirm.code acme.key activation.code
//	vendor bound-key FLAGS --out X.key X.usage  a license for one site as a key
//
// FLAGS say what the license is.
func vendorMain() {
	if err := vendor(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vendor:", err)
		os.Exit(1)
	}
}

// vendorFlags is a license as the command line gives it.
type vendorFlags struct {
	*flag.FlagSet
	out, at   string
	byRole    string
	meters    []string
	limits    []string
	undo      []string
	pin       uint64
	noLicense bool
	vendor    string
	miscount  int64
	license.License
}

func vendor(args []string) error {
	f := &vendorFlags{FlagSet: flag.NewFlagSet("vendor", flag.ContinueOnError)}
	f.License = license.License{
		Type: license.TimeLimited, Licensee: "Acme GmbH", Grace: days(14), ReportGrace: days(14), Enforcement: license.Soft,
		Outage: ledger.Dur{N: 72, Unit: 'h'}, ActivateBy: days(30), AllowOffline: true, Codes: true, MaxTerm: days(3660),
		Checkpoint: license.Pin{Root: ledger.EmptyRoot}, NextLicenseKeys: []ledger.VKey{vectors.Key(ledger.RoleLicense).VKey()},
		ReceiptKeys: []ledger.VKey{vectors.Key(ledger.RoleReceipt).VKey()}, ReplyKeys: []ledger.VKey{vectors.Key(ledger.RoleReply).VKey()},
	}
	one := uint64(1)
	f.MaxActivations = &one
	f.StringVar(&f.out, "out", "", "file to write")
	f.StringVar(&f.at, "at", "", "the vendor's clock")
	f.StringVar(&f.ID, "id", "L-1", "")
	f.StringVar(&f.SolutionName, "solution", "renderd", "")
	f.Uint64Var(&f.Serial, "serial", 0, "")
	f.Uint64Var(&f.pin, "pin", 0, "pin this size instead of that of the report")
	f.StringVar(&f.byRole, "signed-by", "license", "role of the key that signs the license")
	f.StringVar(&f.vendor, "vendor", "", "signed by the key of another vendor, NAME.example, or by the next one of this vendor: 2027")
	f.Func("announce", "a further license key, as of --vendor", func(s string) error {
		f.NextLicenseKeys = append(f.NextLicenseKeys, otherVendor(s).VKey())
		return nil
	})
	f.Func("revoke", "a license key, as of --vendor, or first", func(s string) error {
		key := vectors.Key(ledger.RoleLicense).VKey()
		if s != "first" {
			key = otherVendor(s).VKey()
		}
		f.Revoked = append(f.Revoked, license.Revoked{Key: true, Value: key.String()})
		return nil
	})
	f.Func("bind", "NAME=RAW", func(s string) error {
		name, raw, _ := strings.Cut(s, "=")
		f.Binds = append(f.Binds, license.Bind{Name: name, Hash: ledger.BindHash(vectors.Domain, name, raw)})
		return nil
	})
	f.Int64Var(&f.miscount, "miscount", 0, "events that the vendor counts too many")
	f.IntVar(&f.MatchRate, "match-rate", 0, "")
	f.BoolVar(&f.noLicense, "no-license", false, "a reply without license")
	f.BoolVar(&f.Suspended, "suspended", false, "")
	f.StringVar(&f.MinVersion, "min-version", "", "")
	f.StringVar(&f.ProductLine, "product-line", "", "")
	instant := func(name string, to *time.Time) {
		f.Func(name, "", func(s string) (err error) { *to, err = time.Parse(time.RFC3339, s); return err })
	}
	instant("start", &f.Start)
	instant("end", &f.End)
	instant("report-by", &f.ReportBy)
	f.Func("enforcement", "", func(s string) error { f.Enforcement = license.Enforcement(s); return nil })
	f.Func("type", "", func(s string) error { f.Type = license.Type(s); return nil })
	f.Func("grace", "", func(s string) (err error) { f.Grace, err = ledger.ParseDur(s); return err })
	f.Func("outage", "", func(s string) (err error) { f.Outage, err = ledger.ParseDur(s); return err })
	f.Func("seats", "POOL COUNT OVER LEASE BORROW HOLD SHARE", func(s string) error {
		p, d := license.Pool{}, [3]string{}
		if _, err := fmt.Sscan(s, &p.Name, &p.Count, &p.Over, &d[0], &d[1], &d[2], &p.Share); err != nil {
			return err
		}
		for i, to := range []*ledger.Dur{&p.Lease, &p.Borrow, &p.Hold} {
			var err error
			if *to, err = ledger.ParseDur(d[i]); err != nil {
				return err
			}
		}
		f.Seats = append(f.Seats, p)
		return nil
	})
	f.Func("activate-by", "", func(s string) (err error) { f.ActivateBy, err = ledger.ParseDur(s); return err })
	f.Func("custom", "NAME=TEXT", func(s string) error {
		name, text, _ := strings.Cut(s, "=")
		f.Custom = append(f.Custom, license.Custom{Name: name, Text: text})
		return nil
	})
	f.Func("feature", "", func(s string) error { f.Features = append(f.Features, s); return nil })
	f.Func("meter", "ID:AGG[:SCALE[:UNIT]]", func(s string) error { f.meters = append(f.meters, s); return nil })
	f.Func("undo", "METER=DUR: corrections within it", func(s string) error { f.undo = append(f.undo, s); return nil })
	f.Func("limit", "METER:LIMIT:OVERAGE:RESET", func(s string) error { f.limits = append(f.limits, s); return nil })
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	if err := f.fill(); err != nil {
		return err
	}
	var data []byte
	var err error
	switch args[0] {
	case "key":
		var n []byte
		if n, err = f.sign(); err == nil {
			data = []byte(license.Key(n) + "\n")
		}
	case "reply", "refresh", "reject", "bound-key":
		data, err = f.reply(args[0], f.Arg(0))
	case "init":
		data = []byte(initCode().String())
	case "confirm":
		data, err = f.confirm(f.Arg(0), f.Arg(1))
	default:
		err = fmt.Errorf("no command %q", args[0])
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(f.out), 0o755); err != nil {
		return err
	}
	return os.WriteFile(f.out, data, 0o600)
}

func days(n uint64) ledger.Dur { return ledger.Dur{N: n, Unit: 'd'} }

func (f *vendorFlags) now() time.Time {
	if f.at == "" {
		return time.Now().UTC().Truncate(time.Second)
	}
	t, err := time.Parse(time.RFC3339, f.at)
	if err != nil {
		panic(err)
	}
	return t
}

// fill turns the words of the flags into fields.
func (f *vendorFlags) fill() error {
	f.Issued = f.now()
	if f.Start.IsZero() {
		f.Start = f.now().Add(-time.Hour)
	}
	if f.End.IsZero() && f.Type != license.Perpetual {
		f.End = f.now().Add(365 * 24 * time.Hour)
	}
	for _, s := range f.meters {
		m, err := events.ParseMeterFlag(s)
		if err != nil {
			return err
		}
		if m.Unit == "" {
			m.Unit = "unit"
		}
		f.Meters = append(f.Meters, license.Meter{ID: m.ID, Aggregation: m.Aggregation, Unit: m.Unit, Scale: m.Scale, Undo: ledger.Dur{Unit: 's'}})
	}
	for _, s := range f.undo {
		id, within, _ := strings.Cut(s, "=")
		m := f.License.Meter(id)
		if m == nil {
			return fmt.Errorf("undo of unknown meter %s", id)
		}
		var err error
		if m.Undo, err = ledger.ParseDur(within); err != nil {
			return err
		}
		m.Corrections = true
	}
	for _, s := range f.limits {
		p := strings.Split(s, ":")
		name, isFeature := strings.CutPrefix(p[0], "feature/")
		l := license.Limit{Feature: isFeature, Name: name, Reset: license.Reset(p[3]), Overage: license.Overage{Unlimited: p[2] == "unlimited"}}
		if _, err := fmt.Sscan(p[1], &l.Limit); err != nil {
			return err
		}
		if p[2] != "none" && p[2] != "unlimited" {
			if _, err := fmt.Sscan(p[2], &l.Overage.Amount); err != nil {
				return err
			}
		}
		f.Limits = append(f.Limits, l)
	}
	return nil
}

func (f *vendorFlags) sign() ([]byte, error) {
	text, err := f.Text()
	if err != nil {
		return nil, err
	}
	if f.vendor != "" {
		key := otherVendor(f.vendor)
		f.NextLicenseKeys = []ledger.VKey{key.VKey()}
		if text, err = f.Text(); err != nil {
			return nil, err
		}
		s, err := key.Signer(nil)
		if err != nil {
			return nil, err
		}
		return note.Sign(&note.Note{Text: text}, s)
	}
	for _, role := range []ledger.Role{ledger.RoleLicense, ledger.RoleReply} {
		if role.String() == f.byRole {
			return signNote(text, nil, role, f.now())
		}
	}
	return nil, fmt.Errorf("no role %q", f.byRole)
}

// otherVendor is the license key of NAME.example, or the next one of the example
// vendor: 2027.
func otherVendor(name string) *ledger.SecretKey {
	seed := vectors.Derive(name)
	domain := name + ".example/license/2026"
	if name == "2027" {
		domain = vectors.Domain + "/license/2027"
	}
	key, err := ledger.NewSecretKey(domain, ledger.KeyEd25519, seed[:])
	if err != nil {
		panic(err)
	}
	return key
}

func signNote(text string, sigs []note.Signature, role ledger.Role, now time.Time) ([]byte, error) {
	s, err := vectors.Key(role).Signer(func() time.Time { return now })
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: text, Sigs: sigs}, s)
}

// reply answers a report.
func (f *vendorFlags) reply(kind, path string) ([]byte, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	digest := sha256.New()
	rep, err := export.VerifyReport(io.TeeReader(in, digest), export.VerifyOptions{TrustFile: true})
	if err != nil {
		return nil, err
	}
	sum := ledger.Hash(digest.Sum(nil))
	key, err := ledger.ParseVKey(rep.Keys[0])
	if err != nil {
		return nil, err
	}
	f.Site, f.SiteKeys = rep.Origin, []ledger.VKey{key}
	f.Checkpoint = license.Pin{Size: rep.New.Size, Root: rep.New.Root}
	if f.pin > 0 {
		f.Checkpoint.Size = f.pin
	}
	if f.Serial == 0 {
		f.Serial = 1
	}
	r := &export.Reply{Origin: rep.Origin, Report: &sum, Result: export.Result(map[string]string{"reply": "accepted", "refresh": "refresh", "reject": "rejected"}[kind])}
	switch kind {
	case "bound-key":
		n, err := f.sign()
		return []byte(license.Key(n) + "\n"), err
	case "refresh":
		r.Report = nil
	case "reject":
		x := export.Rejection{Origin: rep.Origin, Report: sum, Code: "history/differs", FixBy: "site", Record: 3, Message: "record 3 is not the one accepted", How: "restore the newer disk", Issued: f.now()}
		r.RejectionNote, err = signNote(x.Text(), nil, ledger.RoleReply, f.now())
	default:
		err = f.accept(r, rep)
	}
	if err == nil && kind != "reject" && !f.noLicense {
		r.License, err = f.sign()
	}
	if err != nil {
		return nil, err
	}
	return r.Bytes()
}

// accept makes receipt and acceptance.
func (f *vendorFlags) accept(r *export.Reply, rep *export.Report) error {
	site, err := ledger.ParseVerifier(rep.Keys[0], ledger.RoleSite)
	if err != nil {
		return err
	}
	signed, err := note.Open(rep.Note, note.VerifierList(site))
	if err != nil {
		return err
	}
	if r.Receipt, err = signNote(signed.Text, signed.Sigs, ledger.RoleReceipt, f.now()); err != nil {
		return err
	}
	a := export.Acceptance{
		Origin: rep.Origin, Report: *r.Report,
		Base: rep.Base, Accepted: rep.New, From: rep.From, Until: rep.Until, Verdict: export.OK, License: export.LicenseIssued, LicenseSerial: f.Serial, Issued: f.now(),
	}
	for _, m := range rep.Totals {
		a.Totals = append(a.Totals, export.AcceptedTotal{Meter: m.Meter, Aggregation: m.Aggregation, Count: m.Count + f.miscount, Value: m.Value, Adjusted: m.Adjusted})
	}
	if f.noLicense {
		a.License, a.LicenseSerial, a.Final = export.LicenseNone, 0, rep.Retired
	}
	r.AcceptanceNote, err = signNote(a.Text(), nil, ledger.RoleReply, f.now())
	return err
}

func initCode() (c export.InitializationCode) {
	d := vectors.Derive("init code")
	copy(c.Random[:], d[:])
	return c
}

// confirm answers an activation code.
func (f *vendorFlags) confirm(keyFile, codeFile string) ([]byte, error) {
	line, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	n, err := license.ParseKey(strings.TrimSpace(string(line)))
	if err != nil {
		return nil, err
	}
	l, err := license.Parse(n)
	if err != nil {
		return nil, err
	}
	rows, err := os.ReadFile(codeFile)
	if err != nil {
		return nil, err
	}
	code, err := export.ParseActivationCode(string(rows))
	if err != nil {
		return nil, err
	}
	open, err := code.Open(vectors.Domain, l.ID)
	if err != nil {
		return nil, err
	}
	if !code.Answers(open, initCode()) {
		return nil, fmt.Errorf("the code answers another initialization code")
	}
	text, err := l.ConfirmedText(open, f.Serial, f.Issued, f.End)
	if err != nil {
		return nil, err
	}
	signed, err := signNote(text, nil, ledger.RoleLicense, f.now())
	if err != nil {
		return nil, err
	}
	parsed, err := ledger.ParseNote(signed, ledger.NoteBytesMax)
	if err != nil {
		return nil, err
	}
	c := export.ConfirmationCode{Serial: uint16(f.Serial), Issued: f.Issued, End: f.End}
	copy(c.Signature[:], parsed.Sigs[0].Raw)
	return []byte(c.String()), nil
}
