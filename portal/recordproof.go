package portal

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"strings"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
)

// A RecordProof shows that a record is in an accepted ledger. Text is a
// c2sp.org/tlog-proof@v1 under the checkpoint that the site and the vendor have
// signed, which any program for such proofs checks together with Line.
type RecordProof struct {
	Origin string `json:"origin"`
	Index  uint64 `json:"index"`
	Line   string `json:"line"` // the record, without LF
	Size   uint64 `json:"size"` // of the checkpoint
	Root   string `json:"root"`
	Report string `json:"report_id"` // whose file has the record
	Text   string `json:"proof"`
}

// ProveRecord proves an accepted record, from the file that brought it. It reads
// that file once, in constant memory, and checks the proof before it returns it.
func (p *Portal) ProveRecord(ctx context.Context, origin string, index uint64) (*RecordProof, error) {
	l, err := p.Ledger(ctx, origin)
	if err != nil {
		return nil, err
	}
	receipts, err := p.Receipts(ctx, origin)
	if err != nil {
		return nil, err
	}
	for _, r := range receipts {
		if r.Size <= index || r.Note == "" {
			continue
		}
		sha, _, err := p.fileOf(ctx, r.ReportID)
		if missing(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		t := &proofTree{index: index, size: r.Size}
		if err := p.readProof(sha, t); errors.Is(err, errEnough) || errors.Is(err, os.ErrNotExist) {
			continue // that file begins after the record, or is not here
		} else if err != nil {
			return nil, notKept(r.ReportID, err)
		}
		path := t.path()
		root, err := ledger.ParseHash(r.Root)
		if err != nil {
			return nil, err
		}
		if err := ledger.CheckInclusion(ledger.LeafHash([]byte(t.line)), index, r.Size, root, path); err != nil {
			return nil, fmt.Errorf("prove record %d of %s: %w", index, l.LedgerID, err)
		}
		proof := ledger.RecordProof{Index: index, Path: path, Checkpoint: []byte(r.Note)}
		return &RecordProof{Origin: origin, Index: index, Line: t.line, Size: r.Size, Root: r.Root, Report: r.ReportID, Text: string(proof.Bytes())}, nil
	}
	return nil, refuse(CodeNotFound, "no kept report of ledger %s proves record %d", l.LedgerID, index)
}

// readProof feeds a kept report to t.
func (p *Portal) readProof(sha string, t *proofTree) error {
	f, err := os.Open(p.path(uploadsFolder, sha))
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = export.VerifyReport(f, export.VerifyOptions{TrustFile: true, SizeMax: p.uploadBytesMax(), Unwrap: p.unwrap(), VisitHead: t.visitHead,
		Visit: func(v *export.Visited) error {
			if v.Index < t.size {
				t.visit(v.Index, v.Line)
			}
			return nil
		}})
	return err
}

// A proofTree computes the audit path of one leaf while leaves pass by. What is
// before the first of them comes from the frontier of the report's base.
type proofTree struct {
	index, size uint64
	line        string
	siblings    []sibling // from the top
}

// A sibling is a part [first, next) of the tree whose root stands in the path.
type sibling struct {
	first, next uint64
	tree        *ledger.Frontier
}

// visitHead takes the frontier of the base. It returns errEnough for a report that
// begins after the record.
func (t *proofTree) visitHead(head export.VisitedHead) error {
	if head.Base > t.index {
		return errEnough
	}
	var base []ledger.Hash
	after := false // the line "old"
	for line := range strings.Lines(string(head.Head)) {
		line = strings.TrimSuffix(line, "\n")
		if !after || strings.HasPrefix(line, "prev ") {
			after = after || strings.HasPrefix(line, "old ")
			continue
		}
		h, err := ledger.ParseHash(line)
		if err != nil {
			return fmt.Errorf("frontier of the base: %w", err)
		}
		base = append(base, h)
	}
	t.siblings = nil
	for lo, hi := uint64(0), t.size; hi-lo > 1; {
		middle := lo + uint64(1)<<(bits.Len64(hi-lo-1)-1)
		s := sibling{first: middle, next: hi}
		if t.index >= middle {
			s.first, s.next, lo = lo, middle, middle
		} else {
			hi = middle
		}
		var err error
		if s.tree, err = frontierWithin(base, head.Base, s.first, s.next); err != nil {
			return err
		}
		t.siblings = append(t.siblings, s)
	}
	return nil
}

// frontierWithin is the frontier of the leaves from first that are below size,
// where hashes are the frontier of size. [first, next) is a part of a tree that
// is split as a proof splits it.
func frontierWithin(hashes []ledger.Hash, size, first, next uint64) (*ledger.Frontier, error) {
	if size <= first {
		return new(ledger.Frontier), nil
	}
	at, rest := uint64(0), size
	for _, h := range hashes { // perfect trees, the largest first
		width := uint64(1) << (bits.Len64(rest) - 1)
		if next <= size && at == first { // all of the part, which is one of them
			return ledger.NewFrontier(width, []ledger.Hash{h})
		}
		if at >= first {
			break
		}
		at, rest = at+width, rest-width
	}
	return ledger.NewFrontier(size-at, hashes[len(hashes)-bits.OnesCount64(size-at):])
}

// visit takes the next leaf.
func (t *proofTree) visit(index uint64, line []byte) {
	if index == t.index {
		t.line = string(line)
		return
	}
	for i := range t.siblings {
		if s := &t.siblings[i]; index >= s.first && index < s.next {
			s.tree.Append(ledger.LeafHash(line))
			return
		}
	}
}

// path is the audit path, sibling first.
func (t *proofTree) path() []ledger.Hash {
	out := make([]ledger.Hash, len(t.siblings))
	for i, s := range t.siblings {
		out[len(out)-1-i] = s.tree.Root()
	}
	return out
}
