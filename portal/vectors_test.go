package portal_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// exampleVendor is a portal with the keys of docs/formats/vectors, which answers
// at the time at which the vectors were answered.
func exampleVendor(t *testing.T, dsn string) *vendor {
	t.Helper()
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	if err := os.Mkdir(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	var list strings.Builder
	for _, role := range []ledger.Role{ledger.RoleLicense, ledger.RoleReceipt, ledger.RoleReply} {
		k := vectors.Key(role)
		to, err := age.NewScryptRecipient("correct horse")
		if err != nil {
			t.Fatal(err)
		}
		to.SetWorkFactor(workFactor)
		var b bytes.Buffer
		w, err := age.Encrypt(&b, to)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(k.Secret() + "\n"))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(keys, role.String()+"-2026.age"), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		list.WriteString(role.String() + " active " + k.VKey().String() + "\n")
	}
	if err := os.WriteFile(filepath.Join(keys, "keys.txt"), []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c := portaltest.At(time.Unix(1793698200, 0).UTC())
	v := &vendor{T: t, Clock: c, O: portal.Options{Dir: dir, DSN: dsn, Now: c.Now, Passphrase: func() (string, error) { return "correct horse", nil }}}
	ids, err := age.ParseIdentities(bytes.NewReader(vectors.Read("report-age.identity")))
	v.Must(err)
	v.O.Identities = ids
	v.Reopen()
	t.Cleanup(func() { v.Portal.Close() })
	v.Must(v.AddExampleLicense(t0, vectors.Read("unbound.license")))
	return v
}

// answeredAt moves the clock to when the base of a report was receipted.
func answeredAt(v *vendor, file []byte) {
	v.T.Helper()
	_, rest, _ := bytes.Cut(file, []byte("\n\n"))
	note, sigs, _ := bytes.Cut(rest, []byte("\n\n"))
	sigs, _, _ = bytes.Cut(sigs, []byte("\n\n"))
	n, err := ledger.ParseNote([]byte(string(note)+"\n\n"+string(sigs)+"\n"), ledger.CheckpointNoteBytesMax)
	v.Must(err)
	for _, s := range n.Sigs {
		if strings.Contains(s.Name, "/receipt/") {
			at, err := s.Time()
			v.Must(err)
			v.Clock.Set(time.Unix(at, 0).UTC())
		}
	}
}

// The reply to the example's first report has the receipt and the acceptance of
// docs/formats/vectors/a.reply, byte for byte.
func TestExampleReply(t *testing.T) {
	v := exampleVendor(t, "")
	a := v.Takes(vectors.Read("a.usage"))
	got, err := export.ParseReply(a.Reply)
	v.Must(err)
	want, err := export.ParseReply(vectors.Read("a.reply"))
	v.Must(err)
	if !bytes.Equal(got.Receipt, want.Receipt) || !bytes.Equal(got.AcceptanceNote, want.AcceptanceNote) {
		t.Errorf("receipt and acceptance are\n%s\n%s\nwant\n%s\n%s", got.Receipt, got.AcceptanceNote, want.Receipt, want.AcceptanceNote)
	}
	b := v.Bound(got)
	for name, rest := range map[string]string{"serial": "1", "end": "2027-10-31T23:59:59Z", "report-by": "2027-01-31T23:59:59Z", "site": vectors.Origin} {
		lines, err := b.Lines()
		v.Must(err)
		if len(lines[name]) != 1 || lines[name][0] != rest {
			t.Errorf("license line %s is %q, want %q", name, lines[name], rest)
		}
	}
}

// Every report of docs/formats/vectors gets from the portal what a verifier says
// of it: late records, adjustments, seats, levels, wrappings, rotation, and each
// finding.
func TestVectorsGetTheirAnswers(t *testing.T) {
	tested := 0
	for line := range strings.Lines(string(vectors.Read("EXPECT-reports"))) {
		f := strings.Fields(line)
		if len(f) != 4 || strings.HasSuffix(f[0], ".db") || f[0] == "#" {
			continue
		}
		name, want, verdict, known := f[0], f[1], f[2], f[3]
		before := map[string][]string{"5": {"a.usage"}, "5,17": {"a.usage", "b.standard.usage"}}[known]
		if known == "-" && strings.HasPrefix(name, "a.") {
			before = []string{}
		}
		if before == nil {
			continue
		}
		if want == "-" || strings.HasPrefix(want, "explain/") {
			want = verdict
		}
		tested++
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := exampleVendor(t, "")
			for i, earlier := range before {
				if i+1 < len(before) {
					answeredAt(v, vectors.Read(before[i+1]))
				} else if plain(name) {
					tryAnsweredAt(v, vectors.Read(name))
				}
				v.Takes(vectors.Read(earlier))
			}
			if a := v.Answers(vectors.Read(name)); a.Code != want {
				t.Errorf("Accept = %s, %v, want %s", a.Code, a.Refusal, want)
			} else if want == "ok" {
				v.ReplyOf(a)
			}
		})
	}
	if tested < 70 {
		t.Errorf("%d vectors were tested, want 70 or more", tested)
	}
}

func plain(name string) bool { return strings.HasSuffix(name, ".usage") }

// tryAnsweredAt is answeredAt for a file that may be damaged.
func tryAnsweredAt(v *vendor, file []byte) {
	if _, err := export.VerifyReport(bytes.NewReader(file), export.VerifyOptions{TrustFile: true}); err == nil && !bytes.Contains(file, []byte("\nold 0 ")) {
		answeredAt(v, file)
	}
}

// Y-06, P-19: late records and corrections of the example, as the statement has
// them.
func TestExampleStatement(t *testing.T) {
	onBoth(t, func(t *testing.T, old *vendor) {
		v := exampleVendor(t, old.O.DSN)
		v.Takes(vectors.Read("a.usage"))
		answeredAt(v, vectors.Read("c.usage"))
		v.Takes(vectors.Read("b.usage"))
		a := v.Takes(vectors.Read("c.usage"))
		rows, err := v.Statement(t0, time.Unix(0, 0), time.Unix(1<<33, 0), portal.StatementFilter{Meter: "render.pages"})
		v.Must(err)
		var sum portal.StatementRow
		for _, r := range rows {
			sum.Quantity, sum.Adjusted, sum.Late, sum.Events = sum.Quantity+r.Quantity, sum.Adjusted+r.Adjusted, sum.Late+r.Late, sum.Events+r.Events
		}
		r, err := export.VerifyReport(bytes.NewReader(vectors.Read("c.usage")), export.VerifyOptions{TrustFile: true})
		v.Must(err)
		for _, m := range r.Totals {
			if m.Meter == "render.pages" && (sum.Quantity != *m.AllValue || sum.Adjusted != m.AllAdjusted || sum.Events != uint64(m.AllCount)) {
				t.Errorf("statement %+v, the ledger says %d, %d adjusted, %d events", sum, *m.AllValue, m.AllAdjusted, m.AllCount)
			}
		}
		if sum.Late == 0 || sum.Adjusted == 0 || !a.Final {
			t.Errorf("statement %+v, final %v, want late and adjusted amounts, and the end", sum, a.Final)
		}
	})
}
