package projections

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/ledger"
)

// append adds one record to the ledger.
func (st *State) append(line string) {
	st.appendRecord(bookedRecord{line: line})
}

// appendCell adds the record of a cell and remembers which part of the stream
// its events stand in, so that they can be opened later.
func (st *State) appendCell(line string, c *cell) {
	st.appendRecord(bookedRecord{line: line, first: c.firstSeq, last: c.lastSeq, close: c.close})
}

func (st *State) appendRecord(r bookedRecord) {
	r.index = st.frontier.Size()
	leaf := ledger.LeafHash([]byte(r.line))
	st.frontier.Append(leaf)
	st.tiler.Append(leaf)
	st.fx.tiles = append(st.fx.tiles, st.tiler.Tiles()...)
	st.fx.records = append(st.fx.records, r)
}

// appendControl folds a control line that becomes a record. A TIME of "@" is
// the group's; "#" in a boot record is the number of this boot; SIZE and ROOT of
// a restore record, given as "# #", are those of the ledger before it: only the
// fold knows what this group closed.
func (st *State) appendControl(line string) error {
	fields := strings.Split(line, " ")
	now := max(st.lastTime, floorDiv(st.cursor.WallNS, 1e9))
	for i, f := range fields {
		if f == "@" {
			fields[i] = strconv.FormatInt(now, 10)
		}
	}
	if (fields[0] == "open") != (st.frontier.Size() == 0) {
		return fmt.Errorf("%w: record %q at index %d", ErrDamaged, fields[0], st.frontier.Size())
	}
	if st.retired {
		return st.afterRetire(fields)
	}
	switch fields[0] {
	case "open":
		if len(fields) < 6 {
			return fmt.Errorf("%w: open has %d fields", ErrDamaged, len(fields))
		}
		st.begin(fields[3], now)
	case "boot":
		st.boots++
		for i, f := range fields {
			if f == "#" {
				fields[i] = strconv.FormatUint(st.boots, 10)
			}
		}
	case "restore":
		if len(fields) > 4 && fields[3] == "#" && fields[4] == "#" {
			fields[3], fields[4] = strconv.FormatUint(st.frontier.Size(), 10), st.frontier.Root().String()
		}
		if b := st.history.behind; b != nil && len(fields) > 6 && fields[5] == "-" {
			fields[5], fields[6] = strconv.FormatUint(b.Size, 10), b.Root.String()
		}
	case "key":
		st.enrol(fields)
	}
	text := strings.Join(fields, " ")
	rec, err := ledger.ParseRecord(text)
	if err != nil {
		return fmt.Errorf("%w: control line %q: %w", ErrDamaged, line, err)
	}
	if fields[0] == "retire" {
		return st.retire(now, text, rec)
	}
	st.append(text)
	st.lastTime, st.fx.core = now, true
	return st.noteRecord(st.frontier.Size()-1, rec)
}

// begin notes when and as what the ledger was opened.
func (st *State) begin(origin string, now int64) {
	st.origin, st.openedAt = origin, now
	st.closedUntil = floorDiv(now, st.windowSeconds()) * st.windowSeconds()
	st.close.until = st.closedUntil
	st.setMonth(now)
}

// retire ends the ledger: whatever windows hold is closed, then the ledger, and
// the record is the last one. All of it is one step of the fold, so that no
// event and no window can come between (L-08).
func (st *State) retire(now int64, text string, rec ledger.Record) error {
	st.endSeats()
	if err := st.closeNow(true, ""); err != nil {
		return err
	}
	st.append(text)
	st.retired, st.lastTime, st.fx.core = true, now, true
	st.close.size = st.frontier.Size() // a report may end here
	st.signNow()
	return st.noteRecord(st.frontier.Size()-1, rec)
}

// afterRetire folds a line that would become a record of a retired ledger. None
// does; the receipt of the last report is remembered all the same, since pruning
// asks for it.
func (st *State) afterRetire(fields []string) error {
	if fields[0] != "receipt" {
		return nil
	}
	rec, err := ledger.ParseRecord(strings.Join(fields, " "))
	if err != nil {
		return fmt.Errorf("%w: control line %q: %w", ErrDamaged, strings.Join(fields, " "), err)
	}
	return st.noteRecord(st.frontier.Size(), rec)
}

// noteDown notes the whole windows between two groups of different terms: no
// gateway ran in them.
func (st *State) noteDown(before, now int64) {
	w := st.windowSeconds()
	from, to := max(floorDiv(before, w)*w+w, st.closedUntil), floorDiv(now, w)*w
	if st.origin != "" && !st.retired && to > from {
		st.downs = append(st.downs, span{from: from, to: to})
	}
}

// enrol keeps the close line of every enrolled key but the site's own.
func (st *State) enrol(fields []string) {
	if len(fields) != 5 || fields[2] == "site" {
		return
	}
	line := "close key " + fields[2] + " " + fields[4]
	kept := st.close.keys[:0:0]
	for _, k := range st.close.keys {
		if k != line {
			kept = append(kept, k)
		}
	}
	if fields[3] == "add" {
		kept = append(kept, line)
	}
	st.close.keys = kept
}

// setMonth tells the secrets in which month the ledger was opened.
func (st *State) setMonth(opened int64) {
	if !st.secrets.Moved {
		*st.secrets = *ledger.NewSecrets(st.secrets.Salt, st.secrets.Tag, opened)
	}
}
