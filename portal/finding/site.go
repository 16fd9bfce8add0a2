package finding

import (
	"math"
	"slices"
)

// Heard are the nodes of a ledger day by day from day Begin on, without a hole:
// whoever used something or said that it is alive.
type Heard struct {
	Begin int64
	Nodes []map[string]bool
	// Counts are how many nodes there were; as many as Nodes.
	Counts []int64
	// Left has the day on which a node left for good by its own record.
	Left map[string]int64
}

// What a silent node is.
const (
	heardDays   = 14 // before it falls silent,
	heardMin    = 12 // on so many of which it was heard of
	silentDays  = 3  // then not any more
	othersShare = 0.5
)

// Silent returns each node that was heard of on 12 of 14 days, and then on none of
// three or more, while at least half of the nodes like it were heard of. A node
// that left by a record of its own is none; when all fall silent the site does,
// which is a drop.
func (h Heard) Silent() map[string][]Finding {
	out := map[string][]Finding{}
	names := map[string]bool{}
	for _, day := range h.Nodes {
		for n := range day {
			names[n] = true
		}
	}
	settled := map[string][]bool{}
	for n := range names {
		settled[n] = h.settled(n)
	}
	others := make([]bool, len(h.Nodes))
	for i := range h.Nodes {
		all, heard := 0, 0
		for n := range names {
			if i > 0 && settled[n][i] {
				all++
				if h.Nodes[i][n] {
					heard++
				}
			}
		}
		others[i] = heard > 0 && float64(heard) >= othersShare*float64(all)
	}
	for n := range names {
		if f := h.silences(n, settled[n], others); len(f) > 0 {
			out[n] = f
		}
	}
	return out
}

// settled tells of each day whether the node was heard of on enough days before.
func (h Heard) settled(node string) []bool {
	out, count := make([]bool, len(h.Nodes)), 0
	for i := range h.Nodes {
		out[i] = i >= heardDays && count >= heardMin
		if h.Nodes[i][node] {
			count++
		}
		if i >= heardDays && h.Nodes[i-heardDays][node] {
			count--
		}
	}
	return out
}

func (h Heard) silences(node string, settled, others []bool) (out []Finding) {
	for i := 0; i < len(h.Nodes); i++ {
		left, gone := h.Left[node]
		if !settled[i] || h.Nodes[i][node] || !others[i] || gone && left <= h.Begin+int64(i) && left > h.Begin+int64(i)-heardDays {
			continue
		}
		n := 1
		for i+n < len(h.Nodes) && !h.Nodes[i+n][node] && others[i+n] {
			n++
		}
		if n >= silentDays {
			f := Finding{Kind: SilentNode, From: h.Begin + int64(i), Next: h.Begin + int64(i+n), Days: n, Expected: int64(n)}
			begin := max(0, i-stepsBefore)
			end := min(len(h.Nodes), i+n+stepsAfter, begin+pointsMax)
			for j := begin; j < end; j++ {
				p := Point{From: h.Begin + int64(j), Next: h.Begin + int64(j) + 1, Known: settled[j] || j >= i && j < i+n, Odd: j >= i && j < i+n}
				if h.Nodes[j][node] {
					p.Seen = 1
				}
				if p.Known {
					p.Expected, p.High = 1, 1
					if p.Odd {
						p.Low = 1
					}
				}
				f.Points = append(f.Points, p)
			}
			out = append(out, f)
		}
		i += n - 1
	}
	return out
}

// Over returns runs of days with more nodes than licensed; 0: no limit. Up to six
// days within it may be within the license.
func (h Heard) Over(licensed int64) (out []Finding) {
	if licensed <= 0 {
		return nil
	}
	const apart = 7
	for i, n := range h.Counts {
		if n <= licensed {
			continue
		}
		day := h.Begin + int64(i)
		if k := len(out) - 1; k < 0 || day-out[k].Next >= apart {
			out = append(out, Finding{Kind: NodeCount, From: day, Expected: licensed, Limit: licensed})
		}
		f := &out[len(out)-1]
		f.Next, f.Days, f.Seen = day+1, f.Days+1, max(f.Seen, n)
	}
	for k := range out {
		f := &out[k]
		begin := max(0, int(f.From-h.Begin)-stepsBefore)
		end := min(len(h.Counts), int(f.Next-h.Begin)+stepsAfter, begin+pointsMax)
		for j := begin; j < end; j++ {
			f.Points = append(f.Points, Point{From: h.Begin + int64(j), Next: h.Begin + int64(j) + 1, Seen: h.Counts[j], Known: true, Expected: min(h.Counts[j], licensed),
				High: licensed, Odd: h.Counts[j] > licensed})
		}
	}
	return out
}

// An Arrival is a report beside the time at which it came, in seconds since 1970.
type Arrival struct {
	Received int64
	// Latest is the newest time that the site states in it. Behind is how far a
	// time of the site's was before a time of the vendor's that it already knew.
	Latest, Behind int64
}

// clockSeconds is what clocks may differ by.
const clockSeconds = 300

// Clocks returns runs of reports in which the site's time cannot be right: more
// than five minutes after the moment at which the file was here, or before a time
// that the record itself quotes from the vendor's receipt. Points are reports;
// what is seen are the seconds that it is wrong by, at least.
func Clocks(reports []Arrival) (out []Finding) {
	open := false
	points := make([]Point, len(reports))
	ends := []int{}
	for i, r := range reports {
		off := max(0, r.Latest-r.Received, r.Behind)
		points[i] = Point{From: r.Received, Next: r.Received + 1, Seen: off, Known: true, High: clockSeconds, Odd: off > clockSeconds}
		if !points[i].Odd {
			open = false
			continue
		}
		if !open {
			out, ends = append(out, Finding{Kind: Clock, From: r.Received, Limit: clockSeconds}), append(ends, i)
		}
		open = true
		f := &out[len(out)-1]
		f.Next, f.Days, f.Seen = r.Received+1, f.Days+1, max(f.Seen, off)
		ends[len(ends)-1] = i
	}
	for k := range out {
		begin := max(0, ends[k]+1-out[k].Days-stepsBefore)
		end := min(len(points), ends[k]+1+stepsAfter)
		begin = max(begin, end-pointsMax)
		out[k].Points = points[begin:end:end]
	}
	return out
}

// middle is the median.
func middle(s []float64) float64 {
	if len(s) == 0 {
		return 0
	}
	s = slices.Sorted(slices.Values(s))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// spread is the scaled median absolute deviation.
func spread(s []float64, at float64) float64 {
	away := make([]float64, len(s))
	for k, x := range s {
		away[k] = math.Abs(x - at)
	}
	return madScale * middle(away)
}
