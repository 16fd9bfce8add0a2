package portal_test

import (
	"bufio"
	"compress/gzip"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/meterseal/meterseal/examples/traces"
	"github.com/meterseal/meterseal/portal"
)

// backtest forecasts a week from each day on and counts how often the band held
// what came, and how far the value was off on average.
func backtest(series []int64) (held, days int, off float64) {
	for at := 28; at+7 <= len(series); at++ {
		for i, f := range portal.Forecast(series[:at], 7) {
			got := series[at+i]
			days++
			if f[1] <= got && got <= f[2] {
				held++
			}
			off += math.Abs(float64(got-f[0])) / math.Max(1, float64(got))
		}
	}
	return held, days, off / float64(days)
}

// The band of a forecast holds about eight of ten outcomes: of steady use, of
// weekends, of growth, with strange days between. // P-16
func TestForecastHolds(t *testing.T) {
	for name, x := range map[string]struct {
		use func(day int, r *rand.Rand) float64
		off float64
	}{
		"steady": {func(_ int, r *rand.Rand) float64 { return 10_000 * (1 + 0.1*r.NormFloat64()) }, 0.15},
		"weekends": {func(d int, r *rand.Rand) float64 {
			return []float64{9, 10, 10, 9, 8, 1, 1}[d%7] * 1000 * (1 + 0.15*r.NormFloat64())
		}, 0.2},
		"growth": {func(d int, r *rand.Rand) float64 { return 5000 * math.Exp(float64(d)/200) * (1 + 0.1*r.NormFloat64()) }, 0.2},
		"strange days": {func(d int, r *rand.Rand) float64 {
			return 10_000 * (1 + 0.1*r.NormFloat64()) * []float64{1, 5}[r.IntN(20)/19]
		}, 0.4},
		"small numbers": {func(_ int, r *rand.Rand) float64 { return math.Round(9 + 3*r.NormFloat64()) }, 0.7},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, 11))
			var held, days int
			var off float64
			for range 10 {
				series := make([]int64, 200)
				for d := range series {
					series[d] = int64(math.Max(0, x.use(d, r)))
				}
				h, n, o := backtest(series)
				held, days, off = held+h, days+n, off+o/10
			}
			share := float64(held) / float64(days)
			t.Logf("%.1f %% of %d days in the band, off by %.1f %% on average", 100*share, days, 100*off)
			if share < 0.74 || share > 0.88 || off > x.off {
				t.Errorf("the band held %.2f of the days, off by %.2f, want 0.74 to 0.88, at most %.2f", share, off, x.off)
			}
		})
	}
}

// On a measured trace, requests of a web server in 1995 with its nights of outage,
// the band holds most days too.
func TestForecastOfATrace(t *testing.T) {
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
	in := bufio.NewScanner(z)
	in.Split(bufio.ScanWords)
	var days []int64
	var sum int64
	for i := int64(0); in.Scan(); i++ {
		n, err := strconv.ParseInt(in.Text(), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		d := int((start.Unix()+i)/86400 - start.Unix()/86400)
		for len(days) <= d {
			days = append(days, 0)
		}
		days[d] += n
		sum += n
	}
	if sum != traces.NASARequests {
		t.Fatalf("the trace has %d requests, want %d", sum, traces.NASARequests)
	}
	days = days[:len(days)-1] // not a whole one
	held, n, off := backtest(days)
	share := float64(held) / float64(n)
	t.Logf("%d of %d days in the band, off by %.1f %% on average", held, n, 100*off)
	if share < 0.6 {
		t.Errorf("the band held %.2f of the days, want at least 0.6", share)
	}
}

// Nothing is said of what is too new, and nothing is ever below 0.
func TestForecastKeepsSilent(t *testing.T) {
	few := make([]int64, 60)
	for i := 33; i < 60; i++ {
		few[i] = 100 // 27 days
	}
	if got := portal.Forecast(few, 7); got != nil {
		t.Errorf("forecast after 27 days = %v, want none", got)
	}
	few[32] = 100
	if got := portal.Forecast(few, 9); len(got) != 9 || got[0][0] != 100 || got[8][0] != 100 {
		t.Errorf("forecast after 28 days of 100 = %v, want 100 each day", got)
	}
	if got := portal.Forecast(make([]int64, 60), 7); got != nil {
		t.Errorf("forecast of no use = %v, want none", got)
	}
	weekly := make([]int64, 56)
	for i := range weekly {
		weekly[i] = int64(i % 7 * 1000)
	}
	for i, got := range portal.Forecast(weekly, 14) {
		if want := int64(i % 7 * 1000); got[0] != want || got[1] < 0 || got[1] > got[0] || got[2] < got[0] {
			t.Errorf("forecast of day %d = %v, want %d within its band", i, got, want)
		}
	}
}
