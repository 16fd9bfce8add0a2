package portaltest

import (
	"bytes"
	"compress/gzip"
	"context"
	"strings"

	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
)

// A Refusal is an answer of the table in docs/explanation/vendor.md, with a file that gets it.
type Refusal struct {
	Code   string
	Status int
	FixBy  string
	Reply  bool // there is a signed rejection to carry in
	// File makes the file, and says what its courier chose.
	File func(v *Vendor) ([]byte, portal.AcceptOptions)
}

// Refusals are all of them, but size/too_large, which needs a cap.
var Refusals = []Refusal{
	{"format/not_a_report", 400, "courier", false, func(*Vendor) ([]byte, portal.AcceptOptions) { return []byte("hello\n"), portal.AcceptOptions{} }},
	{"format/line_ends_changed", 400, "courier", false, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		return bytes.ReplaceAll(s.Use(1).Report(), []byte("\n"), []byte("\r\n")), portal.AcceptOptions{}
	}},
	{"format/truncated", 400, "courier", false, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		b := s.Use(1).Report()
		return b[:bytes.LastIndex(b, []byte("\nend "))+1], portal.AcceptOptions{}
	}},
	{"format/malformed", 400, "courier", false, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		return append(s.Use(1).Report(), "more\n"...), portal.AcceptOptions{}
	}},
	{"auth/not_allowed", 403, "vendor", false, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		return s.Use(1).Report(), portal.AcceptOptions{Customer: "other"}
	}},
	{"license/offline_not_allowed", 403, "vendor", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: Set("allow-offline", "no")})
		return v.Open(l, "a").Report(), portal.AcceptOptions{}
	}},
	{"key/unknown", 403, "courier", false, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1"})
		s := v.Open(l, "a")
		from := s.Size()
		s.Use(1)
		return s.ReportOf(from, s.Size()), portal.AcceptOptions{}
	}},
	{"key/rotated", 403, "site", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		old := s.Clone()
		s.Rotate("new")
		s.Send()
		thief := &Site{Site: old, V: v, Base: s.Base}
		return thief.Use(1).ReportOf(thief.Closes()[1], thief.Size()), portal.AcceptOptions{}
	}},
	{"key/revoked", 403, "site", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		v.Must(v.RevokeLedger(context.Background(), s.Ledger.Name, "stolen", "ana"))
		return s.Use(1).Report(), portal.AcceptOptions{}
	}},
	{"history/differs", 409, "site", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		other := &Site{Site: s.Clone(), V: v, Base: s.Base}
		s.Use(5).Send()
		return other.Use(6, 7, 8).Report(), portal.AcceptOptions{}
	}},
	{"history/fork", 409, "site", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		other := &Site{Site: s.Clone(), V: v, Base: s.Base}
		s.Use(5).Send()
		return other.Use(6).Report(), portal.AcceptOptions{}
	}},
	{"history/rolled_back", 409, "site", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		other := &Site{Site: s.Clone(), V: v, Base: s.Base}
		s.Use(5, 6, 7, 8).Send()
		return other.Use(9).Report(), portal.AcceptOptions{}
	}},
	{"history/witness_ahead", 409, "site", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		s.Append(&ledger.Seen{Time: s.Now(), Node: "node-01", Epoch: 1, Seq: 99, Taken: 99, Size: s.Size() + 500, Root: ledger.EmptyRoot})
		return s.Use(1).Report(), portal.AcceptOptions{}
	}},
	{"history/base_missing", 409, "courier", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		s.Use(1)
		from := s.Size()
		s.Use(2)
		return s.ReportOf(from, s.Size()), portal.AcceptOptions{}
	}},
	{"ledger/retired", 409, "site", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		copied := &Site{Site: s.Clone(), V: v, Base: s.Base}
		s.Use(1).Retire()
		s.Send()
		copied.Use(1).Retire()
		copied.Append(&ledger.Clock{Time: copied.Now() + 9, Step: 99, Cause: ledger.ClockStep})
		copied.Use(2)
		return copied.Report(), portal.AcceptOptions{}
	}},
	{"ledger/superseded", 409, "site", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		v.Must(v.ReleaseLedger(context.Background(), s.Ledger.Name, "burnt down", "ana"))
		return s.Use(1).Report(), portal.AcceptOptions{}
	}},
	{"activation/already_active", 409, "site", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		_, l := v.Ready("L-1")
		return v.Open(l, "again", func(o *exporttest.Opening) { o.Key = "L-1" }).Report(), portal.AcceptOptions{}
	}},
	{"activation/limit", 409, "site", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1"})
		v.Open(l, "a").Send()
		return v.Open(l, "b").Report(), portal.AcceptOptions{}
	}},
	{"activation/transfer_limit", 409, "vendor", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: Set("transfers", "none")})
		s := v.Open(l, "a")
		s.Send()
		s.Use(1).Retire()
		s.Send()
		return v.Open(l, "b").Report(), portal.AcceptOptions{}
	}},
	{"activation/trial_used", 409, "vendor", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: Set("trial", "yes")})
		v.Open(l, "a").Send()
		again := v.Issue(portal.LicenseSpec{ID: "L-2", Set: Set("trial", "yes")})
		return v.Open(again, "b", func(o *exporttest.Opening) { o.Key = "a" }).Report(), portal.AcceptOptions{}
	}},
	{"size/ratio", 413, "site", false, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s := v.Open(v.Issue(portal.LicenseSpec{ID: "L-1"}), "a")
		for range 4000 {
			s.AppendLine([]byte("x-pad " + strings.Repeat("0", 4000)))
		}
		s.Use(1)
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(s.Report()); err != nil {
			panic(err) // a buffer takes everything
		}
		if err := z.Close(); err != nil {
			panic(err)
		}
		return b.Bytes(), portal.AcceptOptions{}
	}},
	{"ledger/wrong_ledger", 422, "courier", false, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: Set("max-activations", "2")})
		a, b := v.Open(l, "a"), v.Open(l, "b")
		a.Send(portal.AcceptOptions{Ledger: "A"})
		b.Send(portal.AcceptOptions{Ledger: "B"})
		return b.Use(1).Report(), portal.AcceptOptions{Ledger: "A"}
	}},
	{"license/unknown", 422, "site", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1"})
		forged := *l
		forged.Note = strings.Replace(l.Note, "enforcement hard", "enforcement soft", 1)
		return v.Open(&forged, "a").Report(), portal.AcceptOptions{}
	}},
	{"license/solution_name_mismatch", 422, "site", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1", SolutionName: "Renderd"})
		return v.Open(l, "a").Report(), portal.AcceptOptions{}
	}},
	{"signature/invalid", 422, "courier", false, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		b := s.Use(1).Report()
		i := bytes.LastIndex(b, []byte("— ")) + len("— "+s.Ledger.Name+" ") + 20
		b[i] = 'A' + (b[i]-'A'+1)%26
		return exporttest.Redigest(b), portal.AcceptOptions{}
	}},
	{"proof/root_mismatch", 422, "courier", false, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		return exporttest.Redigest(bytes.Replace(s.Use(44).Report(), []byte(" 1 44 "), []byte(" 1 14 "), 1)), portal.AcceptOptions{}
	}},
	{"records/totals", 422, "vendor", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		s.Use(44)
		s.Resign("close total render.pages sum 1 44", "close total render.pages sum 1 4")
		return s.Report(), portal.AcceptOptions{}
	}},
	{"records/sequence_gap", 422, "vendor", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		s.Use(44)
		s.Resign(" 1 44 2 3 ", " 1 44 3 4 ")
		return s.Report(), portal.AcceptOptions{}
	}},
	{"records/window_gap", 422, "vendor", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		s.Window()
		s.AppendLine([]byte("clock 1793609000 0 pad"))
		s.Use(1)
		s.ResignFunc(func(lines []string) {
			for i, line := range lines {
				if strings.HasPrefix(line, "beat ") {
					lines[i] = "x-nothing"
				}
			}
		})
		return s.Report(), portal.AcceptOptions{}
	}},
	{"version/too_new", 422, "vendor", false, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		return bytes.Replace(s.Use(1).Report(), []byte("meterseal-report/v1"), []byte("meterseal-report/v2"), 1), portal.AcceptOptions{}
	}},
	{"version/too_old", 422, "site", true, func(v *Vendor) ([]byte, portal.AcceptOptions) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: Set("min-version", "1.1.0")})
		return v.Open(l, "a").Report(), portal.AcceptOptions{}
	}},
}
