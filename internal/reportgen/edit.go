package reportgen

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/ledger"
)

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

var levels = []export.Level{export.Standard, export.Pseudonymous, export.Detailed}

// someReport returns a report of a random range of a site, and what was accepted.
func someReport(s *site, rng *rand.Rand) ([]byte, []ledger.Checkpoint) {
	i := rng.IntN(len(s.sizes) - 1)
	j := i + 1 + rng.IntN(len(s.sizes)-1-i)
	var accepted []ledger.Checkpoint
	for k := 1; k <= i; k++ {
		accepted = append(accepted, s.At(s.sizes[k]))
	}
	return s.report(s.sizes[i], s.sizes[j], pick(rng, levels)), accepted
}

// Valid returns a valid report, of every kind of record, aggregation and level as
// seeds go on, and what was accepted before it.
func Valid(seed uint64) (text []byte, accepted []ledger.Checkpoint) {
	return someReport(newSite(seed), rand.New(rand.NewPCG(seed, 2)))
}

// EditedText returns a report that somebody edited who has no key; the digest at
// its end is redone for half.
func EditedText(seed uint64) (text []byte, accepted []ledger.Checkpoint) {
	rng := rand.New(rand.NewPCG(seed, 3))
	s := newSite(seed / 8)
	text, accepted = someReport(s, rng)
	text = editText(rng, text, s)
	if seed%2 == 1 && bytes.Contains(text, []byte("\nend ")) {
		text = exporttest.Redigest(text)
	}
	return text, accepted
}

// EditedLedger returns a report with edits that the site itself has signed: of
// records, of events, of closes. Half of them state in their closes what the edited
// records give. Of some seeds there is none: text is nil.
func EditedLedger(seed uint64) (text []byte, accepted []ledger.Checkpoint) {
	rng := rand.New(rand.NewPCG(seed, 4))
	s := newSite(seed / 8)
	i := 1 + rng.IntN(len(s.sizes)-1)
	base := s.sizes[i-1]
	if rng.IntN(4) == 0 {
		base = 0
	}
	accepted = []ledger.Checkpoint{s.At(5)}
	if i > 1 {
		accepted = append(accepted, s.At(s.sizes[i-1]))
	}
	if rng.IntN(8) == 0 {
		accepted = append(accepted, s.At(s.sizes[len(s.sizes)-1]))
	}
	s.Ledger = s.Clone(s.sizes[i])
	delete(s.Notes, s.Size())
	editLedger(rng, s, int(base))
	switch rng.IntN(4) {
	case 0:
		s.Lines = exporttest.Regroup(s.Lines)
	case 1, 2:
		s.Lines = append(s.Lines[:base:base], reclose(s.Lines)[base:]...)
	}
	if s.Notes[s.Size()] != nil {
		return nil, nil
	}
	s.Sign(signer())
	return s.report(base, s.Size(), pick(rng, levels)), accepted
}

// ClosedEarly returns a report whose close states events of open windows that never
// come: as long as these windows are not over it is ok, and in the last one, with
// one more window, it is not.
func ClosedEarly() (ok, reject []byte) {
	s := &site{Ledger: exporttest.NewSite().Ledger}
	end := func(no, after int64, open int) []string {
		return []string{fmt.Sprintf("close node n1 %d 0 0 0 0 0 %d %d 0 - - -", open, open, s.until),
			fmt.Sprintf("close end %d %d %d 1 0 7 %v %v", no, s.until+after, s.until, ledger.EmptyRoot, ledger.EmptyRoot)}
	}
	beat := func() []string {
		s.until += window
		return []string{fmt.Sprintf("beat n1 %d %d", s.until-window, s.until), fmt.Sprintf("clock %d 0 pad", s.until-3)}
	}
	report := func() []byte {
		s.Lines = exporttest.Regroup(s.Lines)
		s.Sign(signer())
		return s.report(0, s.Size(), export.Standard)
	}
	s.until = exporttest.Start
	s.Lines = slices.Concat(s.Lines, beat(), end(2, -3, 5), end(3, 60, 0))
	ok = report()
	s.Lines = slices.Concat(s.Lines, beat(), end(4, 60, 0))
	return ok, report()
}

// editText changes lines or bytes of a report.
func editText(rng *rand.Rand, text []byte, s *site) []byte {
	lines := strings.SplitAfter(string(text), "\n")
	lines = lines[:len(lines)-1]
	i, j := rng.IntN(len(lines)), rng.IntN(len(lines))
	switch rng.IntN(10) {
	case 0:
		lines = slices.Delete(lines, i, i+1)
	case 1:
		lines = slices.Insert(lines, j, lines[i])
	case 2:
		lines[i], lines[j] = lines[j], lines[i]
	case 3, 4, 5:
		lines[i] = editLine(rng, strings.TrimSuffix(lines[i], "\n"), lines, wild) + "\n"
	case 6:
		lines = slices.Delete(lines, min(i, j), max(i, j))
	case 7: // another report's rest
		other, _ := someReport(s, rng)
		rest := strings.SplitAfter(string(other), "\n")
		lines = append(lines[:i:i], rest[min(j, len(rest)-1):]...)
	case 8:
		return bytes.Clone(text[:rng.IntN(len(text))])
	case 9:
		b := bytes.Clone(text)
		b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		return b
	}
	return []byte(strings.Join(lines, ""))
}

// editLedger changes records or events from index base on.
func editLedger(rng *rand.Rand, s *site, base int) {
	for range 1 + rng.IntN(2) {
		n := len(s.Lines)
		i, j := base+rng.IntN(n-base), base+rng.IntN(n-base)
		switch rng.IntN(12) {
		case 0:
			s.move(i, -1)
			s.Lines = slices.Delete(s.Lines, i, i+1)
		case 1:
			s.move(j, 1)
			s.Lines = slices.Insert(s.Lines, j, s.Lines[i])
		case 2:
			s.Lines[i], s.Lines[j] = s.Lines[j], s.Lines[i]
			s.Events[uint64(i)], s.Events[uint64(j)] = s.Events[uint64(j)], s.Events[uint64(i)]
		case 3, 4:
			s.editEvents(rng, i)
		case 8: // more events of open windows than will come
			for ; i < n; i++ {
				if f := strings.Split(s.Lines[i], " "); strings.HasPrefix(s.Lines[i], "close node ") && len(f) > 9 {
					accepted, _ := strconv.ParseInt(f[4], 10, 64)
					for _, x := range f[5:9] {
						k, _ := strconv.ParseInt(x, 10, 64)
						accepted += k
					}
					more := 1 + rng.Int64N(3)
					// ACCEPTED and OPEN
					f[3], f[9] = strconv.FormatInt(accepted+more, 10), strconv.FormatInt(more, 10)
					s.Lines[i] = strings.Join(f, " ")
					s.Lines = exporttest.Regroup(s.Lines)
					break
				}
			}
		case 7: // what edits of a valid ledger seldom give
			from, none := s.until-window, rootOf(nil)
			line := pick(rng, []string{
				fmt.Sprintf("retire %d moved", s.until),
				fmt.Sprintf("adjust n1 count.m count %d %d 0 0 void 0 %v", from, s.until, none),
				fmt.Sprintf("seat editor %d %d 2 1 0 0 0 %v", from, s.until, none),
				fmt.Sprintf("seat viewer %d %d 0 2 10 0 1 %v", from, s.until, none),
				fmt.Sprintf("seat viewer %d %d 0 0 0 2 1 %v", from, s.until, none),
				fmt.Sprintf("seat viewer %d %d 1 1 %d 0 0 %v", from, s.until, window-1, none),
				fmt.Sprintf("seat viewer %d %d 1 1 %d 0 0 %v", from, s.until, window, none),
				fmt.Sprintf("seat viewer %d %d 0 0 0 0 0 %v", from, s.until, none),
				fmt.Sprintf("key %d site remove %s", s.until, s.OpeningKeys[0]),
				fmt.Sprintf("usage n1 sum.m sum %d %d 0 0 0 0 %v", from, s.until, none),
			})
			s.move(j, 1)
			s.Lines = slices.Insert(s.Lines, j, line)
		case 5, 6: // to another window
			from := regexp.MustCompile(` (\d{10}) (\d{10})\b`)
			by := pick(rng, []int64{window, -window, -3 * window})
			s.Lines[i] = from.ReplaceAllStringFunc(s.Lines[i], func(m string) string {
				var a, b int64
				if _, err := fmt.Sscan(m, &a, &b); err != nil {
					return m
				}
				return fmt.Sprintf(" %d %d", a+by, b+by)
			})
		default:
			s.Lines[i] = editLine(rng, s.Lines[i], s.Lines[base:], mild)
		}
	}
}

// move moves the events of the records from i on; by -1 those of i are lost.
func (s *site) move(i, by int) {
	moved := map[uint64][]export.CellEvent{}
	for n, e := range s.Events {
		switch {
		case n < uint64(i):
			moved[n] = e
		case n > uint64(i) || by > 0:
			moved[n+uint64(by)] = e
		}
	}
	s.Events = moved
}

// editEvents changes the events of the first record from i on that has some, and
// its ROOT and PRIVATE, so that the site has signed them.
func (s *site) editEvents(rng *rand.Rand, i int) {
	for ; i < len(s.Lines); i++ {
		list := slices.Clone(s.Events[uint64(i)])
		if len(list) == 0 || list[0].Line == "" {
			continue
		}
		old, k := rootOf(list).String(), rng.IntN(len(list))
		switch rng.IntN(6) {
		case 5: // somebody else's tag
			f := strings.Split(list[k].Line, " ")
			f[2] = string(ledger.AppendB16(nil, [16]byte{byte(rng.IntN(4))}))
			list[k].Line = strings.Join(f, " ")
		case 0:
			list = slices.Delete(list, k, k+1)
		case 1:
			list = append(list, list[k])
		case 2:
			list[k].Private = editLine(rng, list[k].Private, []string{list[k].Private, "user=u1", "host=a user=u2"}, mild)
			f := strings.Split(list[k].Line, " ")
			f[3] = ledger.PrivateHash(list[k].PrivateSalt, []byte(list[k].Private)).String()
			list[k].Line = strings.Join(f, " ")
		default:
			list[k].Line = editLine(rng, list[k].Line, []string{list[0].Line, list[k].Line}, mild)
		}
		s.Events[uint64(i)] = list
		s.Lines[i] = strings.Replace(s.Lines[i], old, rootOf(list).String(), 1)
		return
	}
}

// Odds of editLine: one of so many edits is of each kind that mostly gives what
// cannot be read; the others change numbers.
const (
	wild = 10
	mild = 30
)

// editLine changes one field of a line, or what its fields are.
func editLine(rng *rand.Rand, line string, lines []string, odds int) string {
	f := strings.Split(line, " ")
	k := rng.IntN(len(f))
	switch rng.IntN(odds) {
	case 0:
		f = slices.Delete(f, k, k+1)
	case 1:
		f = slices.Insert(f, k, f[k])
	case 2:
		f = append(f, pick(rng, []string{"start=5", "over=3", "x=%41", "x=1", "zz=%C3%BC", "=", "session=a", "kind=void", "user=u1", "counter=01"}))
	case 3:
		f[k] = pick(rng, []string{"-", "0", "1", "*", "-1", "-0", "01", "9223372036854775807", "9223372036854775808", "void", "weighted", "unique",
			"latest", "peak", "restore", "usage", "late", "x-a", "close", "", "900", "n1", "%", "a..b", "removed", "pad"})
	case 4: // of another line
		g := strings.Split(pick(rng, lines), " ")
		f[k] = g[min(k, len(g)-1)]
	case 5:
		b := []byte(line)
		if len(b) > 0 {
			b[rng.IntN(len(b))] = pick(rng, []byte("0123456789 aAzZ-+/=.%:>*~"))
		}
		return string(b)
	default: // a number a little off
		for range 20 {
			if n, err := strconv.ParseInt(f[k], 10, 62); err == nil {
				f[k] = strconv.FormatInt(n+pick(rng, []int64{1, -1, 2, window, -window, 86_400, -86_400, 60, 450}), 10)
				break
			}
			k = rng.IntN(len(f))
		}
	}
	return strings.Join(f, " ")
}
