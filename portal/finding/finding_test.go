package finding_test

import (
	"bufio"
	"compress/gzip"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/meterseal/meterseal/examples/traces"
	"github.com/meterseal/meterseal/portal/finding"
)

// year is three years of days that begin on a Thursday, 2026-01-01.
const begin = 20_454

var holidays = map[string]bool{"01-01": true, "04-03": true, "04-06": true, "05-01": true, "05-14": true, "05-25": true, "10-03": true, "12-24": true, "12-25": true, "12-26": true, "12-31": true}

// A site is a way to use a meter.
type site struct {
	name string
	// mean of a day, before noise
	mean func(day time.Time, i int) float64
	// noise is the standard deviation of the logarithm; counts add that of small
	// numbers.
	noise float64
}

var sites = []site{
	{"office", func(d time.Time, _ int) float64 {
		switch {
		case holidays[d.Format("01-02")]:
			return 15
		case d.Weekday() == time.Saturday || d.Weekday() == time.Sunday:
			return 20
		}
		return 2000
	}, 0.12},
	{"web shop, growing, with a season", func(d time.Time, i int) float64 {
		return 9000 * math.Pow(1.4, float64(i)/365) * (1 + 0.25*math.Sin(2*math.Pi*float64(d.YearDay())/365)) * (1 - 0.3*weekend(d))
	}, 0.15},
	{"month ends", func(d time.Time, _ int) float64 {
		if d.AddDate(0, 0, 3).Month() != d.Month() {
			return 5000
		}
		return 1000 * (1 - 0.5*weekend(d))
	}, 0.2},
	{"few", func(time.Time, int) float64 { return 6 }, 0},
	{"machines", func(time.Time, int) float64 { return 120_000 }, 0.03},
	{"school, closed for summer and at the turn of the year", func(d time.Time, _ int) float64 {
		if d.Month() == time.August || d.YearDay() > 356 || d.YearDay() < 7 {
			return 5
		}
		return 800 * (1 - 0.95*weekend(d))
	}, 0.2},
	{"heavy tails", func(time.Time, int) float64 { return 400 }, 0.8},
}

func weekend(d time.Time) float64 {
	if d.Weekday() == time.Saturday || d.Weekday() == time.Sunday {
		return 1
	}
	return 0
}

// use draws days of a site.
func (s site) use(seed uint64, days int) finding.Days {
	r := rand.New(rand.NewPCG(seed, 7))
	d := finding.Days{Begin: begin, Use: make([]int64, days)}
	for i := range d.Use {
		at := time.Unix((begin+int64(i))*86_400, 0).UTC()
		x := s.mean(at, i) * math.Exp(s.noise*r.NormFloat64())
		d.Use[i] = max(0, int64(math.Round(x+math.Sqrt(x)*r.NormFloat64())))
	}
	return d
}

// month is a limit that begins anew with each month.
func month(most int64) finding.Limit {
	return finding.Limit{Most: most, Period: func(day int64) (int64, int64) {
		y, m, _ := time.Unix(day*86_400, 0).UTC().Date()
		return time.Date(y, m, 1, 0, 0, 0, 0, time.UTC).Unix() / 86_400, time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC).Unix() / 86_400
	}}
}

// all are the findings of a meter, with a limit of one and a half times what is
// usual in a month.
func all(d finding.Days) (out []finding.Finding) {
	var sum int64
	for _, u := range d.Use {
		sum += u
	}
	out = append(out, d.Drops(d.Begin, 3, true)...)
	out = append(out, d.Plateaus()...)
	out = append(out, d.Seasons()...)
	return append(out, d.UnderLimit(month(sum/int64(len(d.Use))*45))...)
}

// Usual use, with weekends, holidays, growth and noise, is rarely a finding: the
// rates printed here stand in docs/explanation/vendor.md.
func TestFalseFindings(t *testing.T) {
	seeds, years := 40, 3
	if testing.Short() {
		seeds = 8
	}
	total := 0
	for _, s := range sites {
		kinds, n := map[string]int{}, 0
		for seed := range seeds {
			for _, f := range all(s.use(uint64(seed), 365*years)) {
				kinds[f.Kind]++
				n++
			}
		}
		rate := float64(n) / float64(seeds*years)
		t.Logf("%s: %.2f findings a year and meter %v", s.name, rate, kinds)
		most := 0.25
		if s.name == sites[5].name {
			most = 5 // it does close
		}
		if rate > most {
			t.Errorf("%s: %.2f false findings a year and meter, want %.2f at most", s.name, rate, most)
		}
		total += n
	}
}

// What is planted into usual use is found, with its first day and its evidence.
func TestPlanted(t *testing.T) {
	const at = 610 // not near a holiday
	monday := at
	for time.Unix((begin+int64(monday))*86_400, 0).UTC().Weekday() != time.Monday {
		monday++
	}
	for _, c := range []struct {
		kind  string
		site  int
		from  int // of the finding, at least
		slack int // days later
		plant func(d finding.Days)
	}{
		{finding.Drop, 0, monday, 1, func(d finding.Days) { scale(d, monday, 12, 0.2) }},
		{finding.Drop, 1, at, 3, func(d finding.Days) { scale(d, at, 14, 0.1) }},
		{finding.Drop, 4, at, 0, func(d finding.Days) { scale(d, at, 4, 0) }},
		{finding.Plateau, 1, at, 0, func(d finding.Days) { set(d, at, 9, 8000) }},
		{finding.Plateau, 4, at, 0, func(d finding.Days) { set(d, at, 5, 119_000) }},
		{finding.Season, 1, monday, 7, func(d finding.Days) { // Monday to Wednesday only
			for i := monday; i < monday+28; i++ {
				if (i-monday)%7 > 2 {
					d.Use[i] /= 10
				} else {
					d.Use[i] *= 2
				}
			}
		}},
		{finding.Season, 0, monday, 7, func(d finding.Days) { // weekends too
			for i := monday; i < monday+28; i++ {
				d.Use[i] = 1400 + int64(i*37%101)
			}
		}},
	} {
		found, rounds := 0, 20
		for seed := range rounds {
			d := sites[c.site].use(uint64(1000+seed), 800)
			c.plant(d)
			for _, f := range all(d) {
				if i := int(f.From - begin); f.Kind == c.kind && i >= c.from && i <= c.from+c.slack {
					found++
					checkEvidence(t, f)
					break
				}
			}
		}
		if found < rounds*9/10 {
			t.Errorf("%s planted into %s: found in %d of %d", c.kind, sites[c.site].name, found, rounds)
		}
	}
}

func scale(d finding.Days, at, n int, by float64) {
	for i := at; i < at+n; i++ {
		d.Use[i] = int64(float64(d.Use[i]) * by)
	}
}

func set(d finding.Days, at, n int, to int64) {
	for i := at; i < at+n; i++ {
		d.Use[i] = to
	}
}

// checkEvidence checks that a finding shows why it is one.
func checkEvidence(t *testing.T, f finding.Finding) {
	t.Helper()
	odd, last := 0, int64(0)
	for _, p := range f.Points {
		if p.From < last || p.Next <= p.From || p.Low > p.High {
			t.Fatalf("%s: point %+v after %d, want steps in order and a band", f.Kind, p, last)
		}
		last = p.Next
		if p.Odd {
			odd++
			if p.From < f.From || p.Next > f.Next {
				t.Errorf("%s: odd point %+v, want it within [%d, %d)", f.Kind, p, f.From, f.Next)
			}
			if f.Kind == finding.Drop && (!p.Known || p.Seen >= p.Low) {
				t.Errorf("drop: point %+v, want it below its band", p)
			}
		}
	}
	if odd == 0 || len(f.Points) <= odd && f.Kind != finding.UnderLimit {
		t.Errorf("%s: %d of %d points are odd, want some, and others beside them", f.Kind, odd, len(f.Points))
	}
}

// Use that ends, or keeps, just under a limit.
func TestUnderLimit(t *testing.T) {
	d := sites[1].use(3, 800)
	limit := month(0)
	first, next := limit.Period(begin + 400)
	// In one month it stops at 97 % of what the month would have had.
	var sum int64
	for day := first; day < first+20; day++ {
		sum += d.Use[day-begin]
	}
	for day := first + 20; day < next; day++ {
		d.Use[day-begin] = 0
	}
	got := d.UnderLimit(month(sum * 100 / 97))
	if len(got) != 1 || got[0].From != first+20 || got[0].Next != next || got[0].Limit != sum*100/97 || got[0].Seen != 0 {
		t.Fatalf("UnderLimit = %+v, want the days %d to %d", got, first+20, next)
	}
	checkEvidence(t, got[0])
	last := got[0].Points[len(got[0].Points)-1]
	if last.Seen != sum || last.Expected <= got[0].Limit {
		t.Errorf("the last point %+v, want %d seen and more than the limit expected", last, sum)
	}
	// Well under the limit an end is only a drop.
	if got := d.UnderLimit(month(sum * 2)); len(got) != 0 {
		t.Errorf("far under the limit: %+v, want none", got)
	}
	// Three months in a row at 98 %, then one over it.
	e := finding.Days{Begin: first, Use: make([]int64, 150)}
	months := 0
	for day := first; months < 4; months++ {
		from, next := limit.Period(day)
		e.Use[from-first] = 980
		if months == 3 {
			e.Use[from-first] = 1100
		}
		day = next
	}
	if got := e.UnderLimit(month(1000)); len(got) != 1 || got[0].Days != 3 || got[0].From != first || got[0].Seen != 2940 {
		t.Errorf("three months under the limit = %+v, want one finding", got)
	}
	if got := e.UnderLimit(month(1040)); len(got) != 0 {
		t.Errorf("three months at 94 %% = %+v, want none", got)
	}
}

func heard(days int, names ...string) finding.Heard {
	h := finding.Heard{Begin: begin, Left: map[string]int64{}}
	for range days {
		m := map[string]bool{}
		for _, n := range names {
			m[n] = true
		}
		h.Nodes, h.Counts = append(h.Nodes, m), append(h.Counts, int64(len(names)))
	}
	return h
}

func TestSilentNode(t *testing.T) {
	h := heard(60, "a", "b", "c")
	for i := 30; i < 34; i++ {
		delete(h.Nodes[i], "b")
	}
	delete(h.Nodes[20], "a") // two days are nothing
	delete(h.Nodes[21], "a")
	got := h.Silent()
	if len(got) != 1 || len(got["b"]) != 1 || got["b"][0].From != begin+30 || got["b"][0].Next != begin+34 {
		t.Fatalf("Silent = %+v, want b on days 30 to 34", got)
	}
	checkEvidence(t, got["b"][0])
	h.Left["b"] = begin + 30
	if got := h.Silent(); len(got) != 0 {
		t.Errorf("a node that left = %+v, want none", got)
	}
	all := heard(60, "a", "b")
	for i := 40; i < 50; i++ {
		clear(all.Nodes[i])
	}
	if got := all.Silent(); len(got) != 0 {
		t.Errorf("all nodes silent = %+v, want none: that is a drop", got)
	}
	short := heard(60)
	for i := range short.Nodes { // nodes that live for a week
		short.Nodes[i]["w"+strconv.Itoa(i/7)] = true
		short.Nodes[i]["a"] = true
	}
	if got := short.Silent(); len(got) != 0 {
		t.Errorf("nodes of a week = %+v, want none", got)
	}
}

func TestNodeCount(t *testing.T) {
	h := heard(60, "a", "b", "c")
	h.Counts[10], h.Counts[12], h.Counts[40] = 5, 4, 9
	got := h.Over(3)
	if len(got) != 2 || got[0].From != begin+10 || got[0].Next != begin+13 || got[0].Days != 2 || got[0].Seen != 5 || got[0].Limit != 3 || got[1].Seen != 9 {
		t.Fatalf("Over(3) = %+v, want days 10 to 13 with 5, and day 40 with 9", got)
	}
	checkEvidence(t, got[0])
	if h.Over(0) != nil || h.Over(9) != nil {
		t.Error("without a limit, or within it: want none")
	}
}

func TestClocks(t *testing.T) {
	var reports []finding.Arrival
	for i := range int64(10) {
		reports = append(reports, finding.Arrival{Received: 1_000_000 + i*86_400, Latest: 1_000_000 + i*86_400 - 3600})
	}
	if got := finding.Clocks(reports); len(got) != 0 {
		t.Errorf("reports that come an hour later = %+v, want none", got)
	}
	reports[4].Latest += 3600 + 299
	reports[6].Latest += 3600 + 301
	reports[7].Behind = 4000
	got := finding.Clocks(reports)
	if len(got) != 1 || got[0].From != reports[6].Received || got[0].Days != 2 || got[0].Seen != 4000 {
		t.Fatalf("Clocks = %+v, want reports 6 and 7", got)
	}
	checkEvidence(t, got[0])
}

// A trace of a real service, with the two days on which it was shut down for a
// hurricane: of two months nothing else is a finding.
func TestTrace(t *testing.T) {
	f, err := traces.Files.Open(traces.NASA)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	start, err := time.Parse(time.RFC3339, traces.NASAStart)
	if err != nil {
		t.Fatal(err)
	}
	d := finding.Days{Begin: start.Unix() / 86_400}
	at := start.Unix()
	words := bufio.NewScanner(z)
	words.Split(bufio.ScanWords)
	for s := words; s.Scan(); at++ {
		n, err := strconv.ParseInt(s.Text(), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		i := int(at/86_400 - d.Begin)
		for len(d.Use) <= i {
			d.Use = append(d.Use, 0)
		}
		d.Use[i] += n
	}
	for _, f := range all(d) {
		t.Logf("%s from %s, %d days: %d, usually %d", f.Kind, time.Unix(f.From*86_400, 0).UTC().Format(time.DateOnly), f.Days, f.Seen, f.Expected)
	}
	if n := len(all(d)); n > 1 {
		t.Errorf("%d findings in two months of a real service, want 1 at most", n)
	}
}
