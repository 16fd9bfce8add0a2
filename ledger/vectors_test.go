package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

// report is a .usage file cut into its parts; tests only, export reads reports.
type report struct {
	size0    uint64
	root0    ledger.Hash
	frontier []ledger.Hash
	prev     string
	old, new []byte
	state    []string
	body     []string // record, > and >> lines
}

func (r *report) records() (out []string) {
	for _, line := range r.body {
		if !strings.HasPrefix(line, ">") {
			out = append(out, line)
		}
	}
	return out
}

func readReport(t testing.TB, name string) *report {
	t.Helper()
	r := &report{}
	parts := strings.Split(string(vectors.Read(name)), "\n\n")
	for _, line := range strings.Split(parts[0], "\n")[2:] {
		switch kind, rest, _ := strings.Cut(line, " "); kind {
		case "key":
		case "old":
			size, root, _ := strings.Cut(rest, " ")
			r.size0, r.root0 = must(ledger.ParseUint(size))(t), must(ledger.ParseHash(root))(t)
		case "prev":
			r.prev = rest
		default:
			r.frontier = append(r.frontier, must(ledger.ParseHash(line))(t))
		}
	}
	i := 1
	note := func() []byte { i += 2; return []byte(parts[i-2] + "\n\n" + parts[i-1] + "\n") }
	if r.size0 > 0 {
		r.old = note()
	}
	r.new = note()
	for _, line := range strings.Split(strings.TrimSuffix(parts[i], "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "= "):
			r.state = append(r.state, line[2:])
		case strings.HasPrefix(line, "end "):
		default:
			r.body = append(r.body, line)
		}
	}
	return r
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func verifier(t testing.TB, role ledger.Role) note.Verifier {
	t.Helper()
	return must(vectors.Key(role).VKey().Verifier())(t)
}

var reports = []string{"a.usage", "b.usage", "b.standard.usage", "b.pseudonymous.usage", "c.usage"}

// auditReport follows a report as a verifier does.
func auditReport(t testing.TB, r *report) *ledger.Audit {
	t.Helper()
	var prev *ledger.CloseEnd
	if r.prev != "" {
		prev = must(ledger.ParseRecord(r.prev))(t).(*ledger.CloseEnd)
	}
	a := ledger.NewAudit(r.size0, prev)
	for _, line := range r.state {
		if err := a.AddBase([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.EndBase(); err != nil {
		t.Fatal(err)
	}
	for i, line := range r.records() {
		a.Add(r.size0+uint64(i), []byte(line))
	}
	a.Finish()
	return a
}

func TestVectorsAreTheShippedBytes(t *testing.T) {
	for name, want := range map[string]string{"a.usage": "3f30632f4a02e210", "b.usage": "5a64e764d58f4773", "c.usage": "a72c6f2600847b97",
		"a.reply": "a110cd2731659856", "bound.license": "41b379ea788c1e34"} {
		if got := fmt.Sprintf("%x", sha256.Sum256(vectors.Read(name)))[:16]; got != want {
			t.Errorf("SHA-256 of %s = %s…, want %s…", name, got, want)
		}
	}
}

// record chain and totals follow from the records; O-33: so does the account.
func TestVectorReports(t *testing.T) {
	for _, name := range reports {
		t.Run(name, func(t *testing.T) {
			r := readReport(t, name)
			f := must(ledger.NewFrontier(r.size0, r.frontier))(t)
			if got := f.Root(); got != r.root0 {
				t.Errorf("frontier gives %v, want %v", got, r.root0)
			}
			if r.size0 > 0 {
				if got := f.Hashes()[len(f.Hashes())-1]; got != ledger.LeafHash([]byte(r.prev)) {
					t.Error("the last frontier hash is not the leaf of prev")
				}
				old := must(ledger.ParseCheckpoint(r.old, verifier(t, ledger.RoleSite), verifier(t, ledger.RoleReceipt)))(t)
				if old.Size != r.size0 || old.Root != r.root0 {
					t.Errorf("old note is %v", old.Checkpoint)
				}
			}
			for _, line := range append(append(r.records(), r.state...), r.prev) {
				if line == "" {
					continue
				}
				if got := ledger.Line(must(ledger.ParseRecord(line))(t)); got != line {
					t.Errorf("re-encoded %q, want %q", got, line)
				}
			}
			for _, line := range r.records() {
				f.Append(ledger.LeafHash([]byte(line)))
			}
			cp := must(ledger.ParseCheckpoint(r.new, verifier(t, ledger.RoleSite)))(t)
			if f.Size() != cp.Size || f.Root() != cp.Root {
				t.Errorf("records give %d %v, the note says %v", f.Size(), f.Root(), cp.Checkpoint)
			}
			if diff := cmp.Diff(r.new, cp.Note.Bytes()); diff != "" {
				t.Errorf("note re-encoded: %s", diff)
			}
			a := auditReport(t, r)
			if a.Verdict() != ledger.VerdictOK {
				t.Errorf("verdict %v: %v", a.Verdict(), a.Findings())
			}
			checkClaims(t, a, r)
		})
	}
}

// checkClaims compares the roots that records name with those of the records.
func checkClaims(t *testing.T, a *ledger.Audit, r *report) {
	t.Helper()
	roots := map[uint64]ledger.Hash{r.size0: r.root0}
	f := must(ledger.NewFrontier(r.size0, r.frontier))(t)
	for _, line := range r.records() {
		f.Append(ledger.LeafHash([]byte(line)))
		roots[f.Size()] = f.Root()
	}
	claims, all := a.Claims()
	if !all {
		t.Error("claims were dropped")
	}
	for _, c := range claims {
		if root, known := roots[c.Size]; known && root != c.Root {
			t.Errorf("record %d names the root %v of size %d, which is %v", c.Index, c.Root, c.Size, root)
		}
	}
}

func TestVectorSiteSignsTheSameBytes(t *testing.T) {
	signer := must(vectors.Key(ledger.RoleSite).Signer(nil))(t)
	for _, name := range []string{"a.usage", "b.usage", "c.usage"} {
		r := readReport(t, name)
		cp := must(ledger.ParseCheckpoint(r.new))(t)
		if got := must(ledger.SignCheckpoint(cp.Checkpoint, signer))(t); !bytes.Equal(got, r.new) {
			t.Errorf("%s: signed %q, want %q", name, got, r.new)
		}
	}
}

func TestVectorOrigin(t *testing.T) {
	open := must(ledger.ParseRecord(readReport(t, "a.usage").records()[0]))(t).(*ledger.Open)
	if err := ledger.CheckOrigin(open.Origin, open.VKey, open.Nonce); err != nil {
		t.Error(err)
	}
	if open.VKey != vectors.Key(ledger.RoleSite).VKey().String() || open.Nonce != vectors.Nonce() || open.Origin != vectors.Origin {
		t.Errorf("open is not derived from the example: %+v", open)
	}
	open.Nonce[0]++
	if err := ledger.CheckOrigin(open.Origin, open.VKey, open.Nonce); err == nil {
		t.Error("another nonce has the same origin")
	}
	keys := strings.Fields(string(vectors.Read("keys.txt")))
	for i, role := range []ledger.Role{ledger.RoleSite, ledger.RoleLicense, ledger.RoleReceipt, ledger.RoleReply} {
		if got := vectors.Key(role).VKey().String(); got != keys[i] {
			t.Errorf("%v key = %s, want %s", role, got, keys[i])
		}
	}
}

// The salts, tags, private hashes and roots of all events come out of the
// example secrets.
func TestVectorEvents(t *testing.T) {
	secrets := vectors.Secrets()
	tagger := secrets.Tagger()
	for _, name := range []string{"b.usage", "c.usage"} {
		r := readReport(t, name)
		var salts *ledger.Salts
		inCell := false
		var hasher ledger.EventHasher
		var both [32]byte
		var event, root ledger.Hash
		var tag [16]byte
		tree, n := ledger.Frontier{}, uint64(0)
		finish := func() {
			if inCell && tree.Root() != root {
				t.Errorf("%s: hashed root %v, want %v", name, tree.Root(), root)
			}
			inCell = false
		}
		var line *ledger.EventLine
		for _, l := range append(r.body, "end") {
			kind, rest, _ := strings.Cut(l, " ")
			b16, body, _ := strings.Cut(rest, " ")
			switch kind {
			case ">":
				salts.Event(n, &both)
				if salt := must(ledger.ParseB16(b16))(t); salt != [16]byte(both[:16]) {
					t.Errorf("%s: salt of event %d is %x, want %x", name, n, both[:16], salt)
				}
				line = must(ledger.ParseEventLine(body))(t)
				if got := string(line.AppendLine(nil)); got != body {
					t.Errorf("event re-encoded %q, want %q", got, body)
				}
				event, tag = ledger.EventLeaf([16]byte(both[:16]), []byte(body)), line.Tag
				if !line.HasPrivate {
					tree.Append(event)
				}
				n++
			case ">>":
				if salt := must(ledger.ParseB16(b16))(t); salt != [16]byte(both[16:]) {
					t.Errorf("%s: private salt of event %d is %x, want %x", name, n-1, both[16:], salt)
				}
				p := must(ledger.ParsePrivateLine(body))(t)
				if got := string(p.AppendLine(nil)); got != body {
					t.Errorf("private line re-encoded %q, want %q", got, body)
				}
				if got := ledger.PrivateHash([16]byte(both[16:]), []byte(body)); got != line.Private {
					t.Errorf("private line gives %v, want %v", got, line.Private)
				}
				if p.User != "" && (tagger.Tag(p.User) != tag || secrets.TagOf(p.User) != tag) {
					t.Errorf("tag of %s is %s", p.User, ledger.FormatTag(tagger.Tag(p.User)))
				}
				want := line.Private
				if got := hasher.Leaf(salts, n-1, line, p); got != event || line.Private != want {
					t.Errorf("%s: EventHasher gives %v, want %v", name, got, event)
				}
				tree.Append(event)
			default:
				finish()
				rec, err := ledger.ParseRecord(l)
				if err != nil {
					continue
				}
				c, r := cellOf(rec)
				if c == nil {
					continue
				}
				c.Close, root = map[string]uint64{"b.usage": 2, "c.usage": 3}[name], r
				salts, n = secrets.CellSalts(*c), 0
				tree.Reset()
				inCell = true
			}
		}
	}
}

func cellOf(r ledger.Record) (*ledger.Cell, ledger.Hash) {
	switch r := r.(type) {
	case *ledger.Usage:
		return &ledger.Cell{Kind: r.Kind(), Node: r.Node, Meter: r.Meter, From: r.From, To: r.To}, r.Root
	case *ledger.Adjust:
		return &ledger.Cell{Kind: "adjust", Node: r.Node, Meter: r.Meter, From: r.From, To: r.To}, r.Root
	case *ledger.Seat:
		return &ledger.Cell{Kind: "seat", Node: ledger.UnknownNode, Meter: r.Pool, From: r.From, To: r.To}, r.Root
	}
	return nil, ledger.Hash{}
}

// The receipt record's digest is that of the vendor's signature field, and its
// time is in it.
func TestVectorReceipt(t *testing.T) {
	old := must(ledger.ParseCheckpoint(readReport(t, "b.usage").old))(t)
	sig := must(old.Note.Verify(verifier(t, ledger.RoleReceipt)))(t)
	rec := must(ledger.ParseRecord(readReport(t, "b.usage").records()[0]))(t).(*ledger.Receipt)
	if got := ledger.Hash(sha256.Sum256(sig.Bytes())); got != rec.Digest {
		t.Errorf("digest %v, want %v", got, rec.Digest)
	}
	if at, err := sig.Time(); err != nil || at != rec.VTime {
		t.Errorf("time %d, %v, want %d", at, err, rec.VTime)
	}
}

// The cosignature in the seen record of c is node-01's of the receipted
// checkpoint.
func TestVectorSeen(t *testing.T) {
	r := readReport(t, "c.usage")
	cp := must(ledger.ParseCheckpoint(r.old))(t)
	for _, line := range r.records() {
		if s, ok := must(ledger.ParseRecord(line))(t).(*ledger.Seen); ok {
			v := verifier(t, ledger.RoleNode)
			if s.Size != cp.Size || !v.Verify([]byte(cp.Text()), s.Sig[4:]) {
				t.Errorf("cosignature of %s does not verify", line)
			}
		}
	}
}
