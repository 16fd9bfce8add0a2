package export

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/meterseal/meterseal/ledger"
)

// checkKeys is step 2: the keys that the head names are those on record.
func (v *verifier) checkKeys() error {
	at := v.h.keyLine
	for i, list := range [][]string{v.h.keys, v.h.newKeys} {
		for j, s := range list {
			k, err := ledger.ParseVKey(s)
			if err != nil {
				return refuse(CodeMalformed, "key: %v", err).at(at)
			}
			isSite := k.CheckRole(ledger.RoleSite) == nil
			isPQ := k.CheckRole(ledger.RoleSitePQ) == nil
			if !isSite && !isPQ || i == 0 && isSite != (j == 0) || i == 1 && j == 1 && !isPQ {
				return refuse(CodeKeyUnknown, "key %s is not a site's", shortKey(s)).at(at)
			}
			if v.origin == "" {
				v.origin = k.Origin()
			}
			if k.Origin() != v.origin {
				return refuse(CodeKeyUnknown, "key %s is of another ledger than %s", shortKey(s), shortKey(v.h.keys[0])).at(at)
			}
			at++
		}
	}
	if v.o.Origin != "" && v.origin != v.o.Origin {
		return refuse(CodeWrongLedger, "this is ledger %s, not %s", v.origin, v.o.Origin).at(v.h.keyLine)
	}
	if len(v.o.SiteKeys) > 0 {
		return v.checkKnownKeys()
	}
	if v.o.TrustFile {
		return nil
	}
	if v.h.base > 0 {
		return refuse(CodeKeyUnknown, "no key is known for ledger %s", v.origin).at(v.h.keyLine)
	}
	if len(v.h.keys) > 1 {
		return refuse(CodeKeyUnknown, "a first report is signed by the key that opened the ledger, and no other").at(v.h.keyLine + 1)
	}
	return nil
}

func (v *verifier) checkKnownKeys() error {
	if slices.Equal(v.h.keys, v.o.SiteKeys) {
		return nil
	}
	at := v.h.keyLine
	key := v.h.keys[0]
	switch {
	case key == v.o.SiteKeys[0] && len(v.o.SiteKeys) > 1 && len(v.h.keys) == 1 && !slices.Contains(v.h.newKeys, v.o.SiteKeys[1]):
		return refuse(CodeSignature, "the site's second key %s has not signed", shortKey(v.o.SiteKeys[1])).at(at)
	case key == v.o.SiteKeys[0] && len(v.h.keys) > 1:
		return refuse(CodeKeyUnknown, "second key %s is not on record", shortKey(v.h.keys[1])).at(at + 1)
	case key == v.o.SiteKeys[0] || slices.Contains(v.o.RotatedKeys, key) && slices.Contains(v.h.newKeys, v.o.SiteKeys[0]):
		return nil // from before a rotation that it carries: the key on record has signed it too
	case slices.Contains(v.o.RotatedKeys, key):
		return refuse(CodeKeyRotated, "key %s was replaced by %s", shortKey(key), shortKey(v.o.SiteKeys[0])).at(at)
	}
	return refuse(CodeKeyUnknown, "key %s is not the one on record, %s", shortKey(key), shortKey(v.o.SiteKeys[0])).at(at)
}

// shortKey returns the key id of a vkey, to talk about it.
func shortKey(vkey string) string {
	k, err := ledger.ParseVKey(vkey)
	if err != nil {
		return "(malformed)"
	}
	return keyID(k.ID)
}

func keyID(id uint32) string {
	s := strconv.FormatUint(uint64(id), 16)
	return strings.Repeat("0", 8-len(s)) + s
}

// verifiers returns one per vkey; they were parsed before.
func verifiers(vkeys []string) ([]note.Verifier, error) {
	var out []note.Verifier
	for _, s := range vkeys {
		k, err := ledger.ParseVKey(s)
		if err != nil {
			return nil, err
		}
		w, err := k.Verifier()
		if err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, nil
}

// checkNote is step 3: the new checkpoint.
func (v *verifier) checkNote() error {
	if v.o.live {
		v.size = math.MaxInt64
		return nil
	}
	at := v.h.newLine
	keys, err := verifiers(append(slices.Clone(v.h.keys), v.h.newKeys...))
	if err != nil {
		return refuse(CodeMalformed, "key: %v", err).at(v.h.keyLine)
	}
	if v.note, err = ledger.ParseCheckpoint(v.h.newNote, keys...); err != nil {
		if errors.Is(err, ledger.ErrSignature) {
			return refuse(CodeSignature, "new checkpoint: %v", err).at(at).because(err)
		}
		return refuse(CodeMalformed, "new checkpoint: %v", err).at(at).because(err)
	}
	if v.note.Origin != v.origin {
		return refuse(CodeMalformed, "the new checkpoint is of ledger %s, the key of %s", v.note.Origin, v.origin).at(at)
	}
	if v.note.Size <= v.h.base {
		return refuse(CodeMalformed, "the new checkpoint has size %d, the base %d", v.note.Size, v.h.base).at(at)
	}
	v.size = v.note.Size
	return nil
}

// checkBase is step 4: the frontier gives the root, the last record is its last
// hash, and the pair of size and root is one to continue from.
func (v *verifier) checkBase() error {
	var err error
	if v.frontier, err = ledger.NewFrontier(v.h.base, v.h.frontier); err != nil {
		return refuse(CodeMalformed, "frontier: %v", err)
	}
	v.index = v.h.base
	if v.h.base > 0 {
		if v.frontier.Root() != v.h.root {
			return refuse(CodeRootMismatch, "the frontier does not give the root of size %d", v.h.base).at(v.h.prevLine)
		}
		if ledger.LeafHash([]byte(v.h.prev)) != v.h.frontier[len(v.h.frontier)-1] {
			return refuse(CodeRootMismatch, "the prev line is not the last record of size %d", v.h.base).at(v.h.prevLine).record(v.h.base - 1)
		}
		if v.base, err = ledger.ParseCheckpoint(v.h.oldNote); err != nil {
			return refuse(CodeMalformed, "old checkpoint: %v", err).at(v.h.oldLine).because(err)
		}
		if want := (ledger.Checkpoint{Origin: v.origin, Size: v.h.base, Root: v.h.root}); v.base.Checkpoint != want {
			return refuse(CodeRootMismatch, "the old checkpoint says %d %v, the old line %d %v", v.base.Size, v.base.Root, want.Size, want.Root).at(v.h.oldLine)
		}
	}
	v.fold = newFold(v)
	if v.h.base > 0 {
		if err := v.fold.begin(v.h.prev); err != nil {
			return refuse(CodeMalformed, "prev line: %v", err).at(v.h.prevLine).record(v.h.base - 1)
		}
	}
	v.sortAccepted()
	return v.proveBase()
}

// sortAccepted keeps the accepted checkpoints above the base.
func (v *verifier) sortAccepted() {
	for _, c := range v.o.Accepted {
		if c.Origin == v.origin && c.Size > v.h.base {
			v.accepted = append(v.accepted, c)
		}
	}
	slices.SortFunc(v.accepted, func(a, b ledger.Checkpoint) int {
		switch {
		case a.Size < b.Size:
			return -1
		case a.Size > b.Size:
			return 1
		}
		return 0
	})
	v.next = math.MaxUint64
	if len(v.accepted) > 0 {
		v.next = v.accepted[0].Size
	}
}

// proveBase says why the base is one to continue from.
func (v *verifier) proveBase() error {
	if v.h.base == 0 {
		v.proven = BaseGenesis
		return nil
	}
	var newest uint64
	for _, c := range v.o.Accepted {
		if c.Origin != v.origin {
			continue
		}
		newest = max(newest, c.Size)
		if c.Size != v.h.base {
			continue
		}
		if v.proven = BaseAccepted; c.Root != v.h.root {
			v.proven = BaseDiffers
			v.fold.audit.Find(CodeDiffers, v.h.base-1, "size %d was accepted with root %v, the report continues from %v",
				c.Size, c.Root, v.h.root)
		}
		return nil
	}
	if v.hasReceipt() {
		v.proven = BaseReceipt
		if len(v.o.Accepted) > 0 {
			v.alarms = append(v.alarms, "receipt_unknown: our own receipt of size "+strconv.FormatUint(v.h.base, 10)+
				" is not in our records; they are older than it")
		}
		return nil
	}
	if v.o.TrustFile {
		v.proven = BaseSite
		keys, err := verifiers(v.h.keys[:1])
		if err == nil {
			_, err = v.base.Note.Verify(keys[0])
		}
		if err != nil {
			return refuse(CodeSignature, "old checkpoint: %v", err).at(v.h.oldLine).because(err)
		}
		return nil
	}
	e := refuse(CodeBaseMissing, "the report continues from size %d, which was not accepted", v.h.base).at(v.h.oldLine)
	if newest > 0 {
		e.Hint = "bring the earlier report first, or export again with --from " + strconv.FormatUint(newest, 10)
	}
	// Only a whole file says so: in a damaged one the receipt may be what was hit.
	v.baseMissing = e
	return nil
}

// hasReceipt reports whether a receipt key of the vendor has signed the base.
func (v *verifier) hasReceipt() bool {
	for _, s := range v.o.ReceiptKeys {
		w, err := ledger.ParseVerifier(s, ledger.RoleReceipt)
		if err != nil {
			continue
		}
		if _, err := v.base.Note.Verify(w); err == nil {
			return true
		}
	}
	return false
}

// compareAccepted compares the root at a size that was accepted.
func (v *verifier) compareAccepted() {
	root := v.frontier.Root()
	for len(v.accepted) > 0 && v.accepted[0].Size == v.index {
		if c := v.accepted[0]; c.Root != root {
			code, what := CodeDiffers, "the report gives "
			if v.index == v.size {
				code, what = CodeFork, "the site signed "
			}
			at := v.index - 1
			if v.own.differs {
				at = v.own.first
			}
			v.fold.audit.Find(code, at, "size %d was accepted with root %v, %s%v", c.Size, c.Root, what, root)
		}
		v.accepted = v.accepted[1:]
	}
	v.next = math.MaxUint64
	if len(v.accepted) > 0 {
		v.next = v.accepted[0].Size
	}
}

// ownRecords compares records with those that were accepted before.
type ownRecords struct {
	same    uint64 // records that are as accepted, from the base on without a hole
	differs bool
	first   uint64
}

func (r *ownRecords) compare(v *verifier, leaf ledger.Hash) {
	own, ok := v.o.OwnLeaf(v.index)
	switch {
	case !ok:
	case own != leaf && !r.differs:
		r.differs, r.first = true, v.index
	case v.index == v.h.base+r.same:
		r.same++
	}
}

// state is step 5: the state lines are the group that prev ends. It returns the
// first line after them.
func (v *verifier) state() ([]byte, error) {
	at := v.l.line + 1
	for {
		line, err := v.nextLine()
		if err != nil {
			return nil, err
		}
		rest, ok := bytes.CutPrefix(line, []byte("= "))
		if !ok || v.h.base == 0 {
			if err := v.fold.audit.EndBase(); err != nil {
				return nil, refuse(CodeRootMismatch, "the state lines are not those of the close that the report continues from: %v", err).at(at).because(err)
			}
			return line, nil
		}
		if err := v.fold.audit.AddBase(rest); err != nil {
			return nil, refuse(CodeRootMismatch, "state line: %v", err).at(v.l.line).because(err)
		}
		if v.o.VisitState != nil {
			if err := v.o.VisitState(string(rest)); err != nil {
				return nil, err
			}
		}
	}
}

// parseEnd parses the line "end SIZE HASH".
func parseEnd(line string) (size uint64, digest ledger.Hash, err error) {
	a, b, _ := strings.Cut(strings.TrimPrefix(line, "end "), " ")
	if size, err = ledger.ParseUint(a); err != nil {
		return 0, digest, err
	}
	digest, err = ledger.ParseHash(b)
	return size, digest, err
}
