package model_test

import (
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

// Rows 4 and 5: the operator puts the daemon's disk back, or its whole virtual
// machine; the nodes keep what they know. Copies of the directory stand for both:
// of a daemon that was ended, and of one that stands still in the middle of its
// work.
func (a *attacks) rollBack(snapshot bool) func(t *testing.T) {
	return func(t *testing.T) {
		g := a.newGap(t)
		p := g.active()
		b := p.node("node-2")
		b.Use(3)
		p.witnessed(b)
		p.use(1)
		p.round()
		backup := p.backup()
		var old *plant
		if snapshot {
			old = p.copied()
		} else {
			p.end()
			old = p.copied()
			p.begin()
			b.Connect(p.d.nats)
		}
		p.use(6, 7)
		p.export() // its records are what the node is shown
		b.Use(3)
		b.AwaitCounted()
		b.Says()
		p.revert(old)
		b.Connect(p.d.nats)
		if answer, _ := b.Says(); !strings.Contains(answer, "rolled_back") {
			t.Fatalf("a node that holds more is answered %s, want rolled_back", answer)
		}
		if got := p.publish("node-1", 1); !strings.Contains(got, `"code":503`) || !strings.Contains(got, "rolled_back") {
			t.Errorf("event: %s, want 503 rolled_back", got)
		}
		g.note("rolled_back")
		a.wants(t, 7, []string{"behind_node"}, "status", "--http", p.d.http)
		g.refuses(409, "history/witness_ahead", p.export())

		// The way out: a restore by procedure, of which the vendor asks why. What the
		// node has it sends again.
		p.end()
		if snapshot {
			a.wants(t, 0, []string{"restored"}, "restore", "--in-place", "--data", p.dir)
		} else {
			g.must(os.RemoveAll(p.dir))
			identity := filepath.Join(t.TempDir(), "identity")
			g.must(os.WriteFile(identity, []byte(backupIdentity), 0o600))
			a.wants(t, 0, []string{"restored"}, "restore", "--from", backup, "--identity-file", identity, "--data", p.dir)
		}
		p.begin()
		b.Connect(p.d.nats)
		if got := b.Batch(0, 6); got.Error != nil || got.Duplicates != 3 {
			t.Errorf("events 0 to 5 sent again: %+v, want 3 duplicates", got)
		}
		b.AwaitCounted()
		b.Says()
		p.use(2)
		answer := g.accepts(export.Explain, p.export())
		g.finds(answer, "explain/restore")
		p.imports(answer)
		p.use(1)
		p.round()
	}
}

// Row 6: daemon and every node go back to one state that is not older than the
// last receipt, and the clock goes back with them. Nobody is left who knows more.
func (a *attacks) rollBackAll(t *testing.T) {
	g := a.newGap(t)
	p := g.active()
	old := p.copied()
	p.use(100, 100)
	p.revertAt(old, -30*time.Minute)
	p.use(1, 1)
	g.accepts(export.OK, p.export())
	g.billed(2*5 + 2*(1+1))
}

// Row 7: the operator restores a backup that is older than the last accepted
// report. The backup is a copy of the directory.
func (a *attacks) restoreOlder(t *testing.T) {
	g := a.newGap(t)
	p := g.active()
	old := p.copied()
	first := g.acceptedSize() + 2 // after the records receipt and license of the reply
	p.use(6, 7, 8, 9, 10, 11, 12)
	answer := p.round()
	p.revert(old)
	p.refusesImport(7, "ledger_behind_pin", g.reply(answer))
	g.refuses(409, "history/rolled_back", p.export())
	bound := *p // with the license of the reply as license key
	bound.key = g.boundKey(answer)
	p.end()
	bound.refusesStart(7, "ledger_behind_pin")
	p.begin()

	p.use(1, 1, 1, 1, 1, 1, 1, 1, 1)
	p.refusesImport(7, "ledger_off_pin", g.reply(answer))
	refused := g.refuses(409, "history/differs", p.export())
	if got := refused.Refusal.Details["first_index"]; got != first {
		t.Errorf("first_index = %v, want %d", got, first)
	}
	p.end()
	bound.refusesStart(7, "ledger_off_pin")
}

// Row 8: the operator copies the site and runs both. Each start writes a nonce of
// its own, so their histories part there. A node that meets both shows it at once.
func (a *attacks) cloneSite(t *testing.T) {
	for _, c := range []struct {
		code string
		more []int64 // windows of the clone beyond those of the site
	}{{"history/fork", nil}, {"history/differs", []int64{1, 1, 1, 1}}} {
		t.Run(c.code, func(t *testing.T) {
			g := a.newGap(t)
			p := g.active()
			p.end()
			clone := p.copied()
			p.begin()
			clone.begin()
			p.count(6)
			clone.count(1)
			g.pass(15 * time.Minute)
			p.round()
			clone.use(c.more...)
			g.refuses(409, c.code, clone.export())
			alerts, err := g.vendor.Alerts(background, false)
			g.must(err)
			if len(alerts) != 1 || alerts[0].Evidence == "" {
				t.Fatalf("alerts = %+v, want one with evidence", alerts)
			}
			text, err := os.ReadFile(alerts[0].Evidence)
			g.must(err)
			if n := strings.Count(string(text), "\n\n— "+vendorDomain+"/"); n != 2 || !strings.Contains(string(text), "at a start of the daemon") {
				t.Errorf("the evidence has %d signed checkpoints, want 2, and that they part at a start:\n%s", n, text)
			}
			n := p.node("node-3")
			n.Use(1)
			n.AwaitCounted()
			n.Connect(clone.d.nats)
			if answer, _ := n.Says(); !strings.Contains(answer, "rolled_back") {
				t.Errorf("a node that has met the site tells the clone: %s, want rolled_back", answer)
			}
			a.wants(t, 7, []string{"behind_node"}, "status", "--http", clone.d.http)
			p.use(7) // the other one goes on
			if a := g.upload(p.export()); a.Refusal != nil {
				t.Errorf("the site itself: %v, want it accepted", a.Refusal)
			}
		})
	}
}

// Row 21: somebody copies the site key, and the report that was carried out with
// it. He can append, but what was accepted stays; after a rotation the copy is
// worth nothing.
func (a *attacks) copyKey(t *testing.T) {
	g := a.newGap(t)
	p := g.active()
	base := g.acceptedSize()
	thief := p.forge()
	p.use(50)
	p.round()
	at := g.acceptedSize()
	less := strings.NewReplacer(" 50 ", " 5 ", " 100 ", " 10 ", " 110 ", " 20 ") // usage, total, total of all time
	lower := func(lines []string) []string {
		for i, line := range lines {
			lines[i] = less.Replace(line)
		}
		return lines
	}
	same := p.forge() // in all but one record, so of the accepted size
	same.Ledger = same.Clone(at)
	g.refuses(409, "history/fork", same.edit(int(base), lower).report(base))
	longer := p.forge().edit(int(base), lower)
	g.refuses(409, "history/differs", longer.report(base))

	// The site rotates its key. No command does so yet: its daemon's hand is the
	// same as the thief's.
	k := exporttest.Key(p.ledgerName(), ledger.KeyEd25519, "next")
	next, err := k.Signer(nil)
	g.must(err)
	p.use(6)
	honest := p.forge()
	rotated := honest.editWith([]note.Signer{honest.signer, next}, int(at), func(lines []string) []string {
		i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "close ") })
		end := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "close end ") })
		time := strings.Fields(lines[end])[3]
		return slices.Insert(lines, i, fmt.Sprintf("key %s site add %s", time, k.VKey()), "clock "+time+" 0 pad")
	})
	if answer := g.accepts(export.OK, rotated.report(at)); !answer.KeyRotation {
		t.Errorf("answer %+v, want key_rotation", answer)
	}
	g.refuses(403, "key/rotated", thief.report(0))
}

// Row 25: the site goes on after its last report: with the daemon, with records
// written by hand after the end, and with a copy made before.
func (a *attacks) goOnAfterRetire(t *testing.T) {
	g := a.newGap(t)
	p := g.active()
	p.end()
	dark := p.copied()
	p.begin()
	p.use(6)
	last := filepath.Join(t.TempDir(), "last.usage")
	a.wants(t, 0, []string{"last.usage"}, "deactivate", "--http", p.d.http, "--yes", "--out", last)
	if got := p.publish("node-1", 1); !strings.Contains(got, `"code":410`) || !strings.Contains(got, "ledger_retired") {
		t.Errorf("event after the end: %s, want 410 ledger_retired", got)
	}
	g.note("ledger_retired")
	file, err := os.ReadFile(last)
	g.must(err)
	answer := g.accepts(export.OK, file)
	if !answer.Final {
		t.Errorf("answer %+v, want it final", answer)
	}
	more := p.forge()
	more.edit(int(answer.Base), goOn)
	g.refuses(409, "ledger/retired", more.report(answer.Base))

	// The copy counts and is silent, until its license ends: nobody can tell. When
	// it reports it is another history.
	dark.begin()
	dark.use(7, 8, 9, 10)
	g.refuses(409, "history/differs", dark.export())
}

// Row 26: an old activation is imported again, and another one with the serial
// that is in force. Two of one serial come from a vendor's database that was
// restored from a backup.
func (a *attacks) replayActivation(t *testing.T) {
	g := a.newGap(t)
	p := g.newPlant(g.issue("L-1"))
	p.use(5)
	first := p.round()
	p.use(6)
	report := p.export()
	before := g.vendorCopy()
	p.imports(g.accepts(export.OK, report))
	p.refusesImport(3, "license_superseded", g.reply(first))
	g.pass(time.Minute)
	g.openVendor(before)
	p.refusesImport(3, "license_conflict", g.reply(g.accepts(export.OK, report)))
}

// Row 32: the vendor's database is restored from a backup that lacks an accepted
// report. The next report shows the vendor's own signature; and everything is
// made again from the files that were kept.
func (a *attacks) restoreVendor(t *testing.T) {
	g := a.newGap(t)
	p := g.active()
	before := g.vendorCopy()
	p.use(6)
	lost := p.round()
	current := g.options
	g.openVendor(before)
	p.use(7)
	answer := g.accepts(export.OK, p.export())
	if len(answer.Alarms) == 0 || !strings.HasPrefix(answer.Alarms[0], "receipt_unknown") || answer.Base != lost.Size {
		t.Errorf("alarms %q, base %d, want receipt_unknown first and base %d", answer.Alarms, answer.Base, lost.Size)
	}
	g.note("receipt_unknown")
	p.imports(answer)

	// Only the database was lost: files have the rest.
	current.DSN = "sqlite:" + filepath.Join(t.TempDir(), "again.db")
	again, out, err := portal.Rebuild(background, current, nil)
	g.must(err)
	g.vendor.Close()
	g.vendor, g.options = again, current
	if out.Reports != 2 {
		t.Errorf("rebuilt %+v, want 2 reports", out)
	}
	g.billed(2 * (5 + 6))
}

// acceptedSize is how much of the one ledger the vendor has accepted.
func (g *gap) acceptedSize() uint64 {
	g.t.Helper()
	list, err := g.vendor.Ledgers(background, "")
	g.must(err)
	return list[0].Size
}

// boundKey is a file with the license of a reply as a license key.
func (g *gap) boundKey(a *portal.Answer) string {
	g.t.Helper()
	r, err := export.ParseReply(a.Reply)
	g.must(err)
	file := filepath.Join(g.t.TempDir(), "bound.key")
	g.must(os.WriteFile(file, []byte(license.Key(r.License)+"\n"), 0o600))
	return file
}

// vendorCopy is the vendor's folder as it is now.
func (g *gap) vendorCopy() portal.Options {
	g.t.Helper()
	g.must(g.vendor.Close())
	o := g.options
	o.Dir = filepath.Join(g.t.TempDir(), "vendor")
	g.must(os.CopyFS(o.Dir, os.DirFS(g.options.Dir)))
	files, _ := filepath.Glob(filepath.Join(o.Dir, "keys", "*")) // CopyFS widens the modes
	for _, f := range files {
		g.must(os.Chmod(f, 0o600))
	}
	g.must(os.Chmod(filepath.Join(o.Dir, "keys"), 0o700))
	g.openVendor(g.options)
	return o
}

// openVendor goes on with another folder.
func (g *gap) openVendor(o portal.Options) {
	g.t.Helper()
	g.vendor.Close()
	var err error
	g.vendor, err = portal.Open(background, o)
	g.must(err)
	g.options = o
}

// finds fails the test unless an answer asks about something.
func (g *gap) finds(a *portal.Answer, code string) {
	g.t.Helper()
	if !slices.ContainsFunc(a.Findings, func(f export.Finding) bool { return f.Code == code }) {
		g.t.Errorf("findings %+v, want %s", a.Findings, code)
	}
	g.note(code)
}

// goOn appends to a ledger that ended, as if it had not: one more close, with
// nothing in it.
func goOn(lines []string) []string {
	end := len(lines) - 2 // the last close, before retire
	begin := end
	for strings.HasPrefix(lines[begin-1], "close ") {
		begin--
	}
	f := strings.Fields(lines[end])
	time := f[3]
	f[2] = "3" // its number
	for _, line := range append(slices.Clone(lines[begin:end]), strings.Join(f, " ")) {
		if rest, ok := strings.CutPrefix(line, "close total pages sum "); ok {
			t := strings.Fields(rest)
			line = "close total pages sum 0 0 0 " + strings.Join(t[3:], " ")
		}
		lines = append(lines, line)
	}
	return slices.Insert(lines, end+2, "clock "+time+" 0 pad")
}
