package ledger

import "math"

// A Witness is what a ledger knows of a node that numbers its events and says
// which of them it was told are counted. Who writes the ledger and who audits it
// both keep one, so that they cannot disagree.
//
// Between two `seen` records the daemon takes at least as many events as the
// node's SEQ grows by, but for numbers that never came, which `gap` records
// declare, and for corrections, which stand in `adjust` records. Those come when
// their window closes, before or after the `seen`; so what is short is kept as a
// balance, which must be made up when the window of the later `seen` is closed.
type Witness struct {
	Known             bool   // there was a seen record
	Epoch, Seq, Taken uint64 // of the newest one
	// Short is by how many numbers SEQ went beyond what was taken, less those that
	// records explain; below 0: more is explained than was short so far.
	Short int64
}

// Seen takes the next statement, and returns by how many numbers it is short by
// itself. A later epoch counts from 0.
func (w *Witness) Seen(epoch, seq, taken uint64) (short int64) {
	if w.Known {
		grown := seq
		switch {
		case epoch < w.Epoch:
			grown = 0
		case epoch == w.Epoch:
			grown -= min(seq, w.Seq)
		}
		if took := taken - min(taken, w.Taken); grown > took {
			short = int64(grown - took)
		}
	}
	w.Known, w.Epoch, w.Seq, w.Taken = true, epoch, seq, taken
	w.Short = addBounded(w.Short, short)
	return short
}

// Explain takes numbers that a gap record declares lost, or corrections. Before
// the first statement there is nothing to explain.
func (w *Witness) Explain(numbers uint64) {
	if w.Known {
		w.Short = addBounded(w.Short, -int64(numbers))
	}
}

// addBounded stays within int64: a hostile file may name any numbers.
func addBounded(a, b int64) int64 {
	if sum, ok := addInt(a, b); ok {
		return sum
	}
	if a > 0 {
		return math.MaxInt64
	}
	return -math.MaxInt64
}
