package ledger

import "slices"

// A Claim is a root that a record names for a size of its ledger. The audit does
// not hash, so the caller compares: with the base, with the sizes it accepted,
// and for sizes within the records in a second pass over them.
type Claim struct {
	Index uint64 // of the first record that names it
	Size  uint64
	Root  Hash
	Code  string // of the finding if the root differs
}

// claimsMax is how many different claims are kept, about 80 bytes each.
const claimsMax = 16_384

type claims struct {
	list    []Claim
	seen    map[uint64]int // position in list, by size
	dropped bool
}

// claim notes a root, or finds it wrong when it is already known what it is.
func (a *Audit) claim(size uint64, root Hash, code string) {
	if size == 0 {
		if root != EmptyRoot {
			a.find(code, "size 0 with the root %s", root)
		}
		return
	}
	cs := &a.claims
	if at, ok := cs.seen[size]; ok {
		if first := cs.list[at]; first.Root != root {
			const format = "size %d with the root %s, record %d says %s"
			if code == CodeWitnessAhead {
				a.findAhead(format, size, root, first.Index, first.Root)
			} else {
				a.find(code, format, size, root, first.Index, first.Root)
			}
		}
		return
	}
	if len(cs.list) >= claimsMax {
		cs.dropped = true
		return
	}
	if cs.seen == nil {
		cs.seen = map[uint64]int{}
	}
	cs.seen[size] = len(cs.list)
	cs.list = append(cs.list, Claim{Index: a.index, Size: size, Root: root, Code: code})
}

// drop forgets the claims of a code.
func (cs *claims) drop(code string) {
	cs.list = slices.DeleteFunc(cs.list, func(c Claim) bool { return c.Code == code })
	clear(cs.seen)
	for i, c := range cs.list {
		cs.seen[c.Size] = i
	}
}

// Claims returns the different roots that the records name, ascending by size.
// All is false when there were more than are kept: then the rest was not checked,
// and the verifier says so.
func (a *Audit) Claims() (list []Claim, all bool) {
	list = slices.Clone(a.claims.list)
	slices.SortFunc(list, func(x, y Claim) int {
		switch {
		case x.Size < y.Size:
			return -1
		case x.Size > y.Size:
			return 1
		}
		return 0
	})
	return list, !a.claims.dropped
}
