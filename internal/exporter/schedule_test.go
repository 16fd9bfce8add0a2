package exporter_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/internal/exporter"
)

func schedule(t testing.TB, text, zone string) *exporter.Schedule {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	s, err := exporter.ParseSchedule(text, loc)
	if err != nil {
		t.Fatalf("ParseSchedule(%q): %v", text, err)
	}
	return s
}

// The words, lists, ranges, steps and names; days and weekdays as cron has them.
func TestScheduleNext(t *testing.T) {
	for _, c := range []struct{ text, zone, after, want string }{
		{"daily", "UTC", "2026-11-27T00:29:59Z", "2026-11-27T00:30:00Z"},
		{"daily", "UTC", "2026-11-27T00:30:00Z", "2026-11-28T00:30:00Z"},
		{"@hourly", "UTC", "2026-11-27T23:30:00Z", "2026-11-28T00:30:00Z"},
		{"weekly", "UTC", "2026-11-27T12:00:00Z", "2026-11-30T00:30:00Z"},
		{"monthly", "Europe/Berlin", "2026-11-27T12:00:00Z", "2026-11-30T23:30:00Z"},
		{"quarterly", "UTC", "2026-11-27T12:00:00Z", "2027-01-01T00:30:00Z"},
		{"yearly", "Asia/Tokyo", "2026-11-27T12:00:00Z", "2026-12-31T15:30:00Z"},
		{"0 6 * * mon-fri", "UTC", "2026-11-27T06:00:00Z", "2026-11-30T06:00:00Z"},
		{"*/20 8-10,18 * * *", "UTC", "2026-11-27T10:40:00Z", "2026-11-27T18:00:00Z"},
		{"5/25 4 * * *", "UTC", "2026-11-27T04:30:00Z", "2026-11-27T04:55:00Z"},
		{"0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"0 0 13 * fri", "UTC", "2026-11-27T00:00:00Z", "2026-12-04T00:00:00Z"},  // either of the two
		{"0 0 */2 * fri", "UTC", "2026-11-27T00:00:00Z", "2026-12-11T00:00:00Z"}, // both, as cron reads a star
		{"0 0 * * 7", "UTC", "2026-11-27T00:00:00Z", "2026-11-29T00:00:00Z"},
		{"0 12 1 jan,jul *", "UTC", "2026-11-27T00:00:00Z", "2027-01-01T12:00:00Z"},
		// The clocks go forward: what does not exist runs at the change, once.
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"},
		{"30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		{"30 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", "2026-04-23T22:00:00Z"},  // there is no midnight
		{"0 9 30 12 *", "Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-30T10:00:00Z"}, // there was no 30 December
		// They go back: what comes twice runs the first time, once.
		{"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"},
		{"30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		// Every hour stays every hour.
		{"30 * * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"},
		{"30 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"},
		{"*/30 * * * *", "Australia/Lord_Howe", "2026-04-04T14:30:00Z", "2026-04-04T15:00:00Z"}, // by half an hour
	} {
		after, err := time.Parse(time.RFC3339, c.after)
		if err != nil {
			t.Fatal(err)
		}
		if got := schedule(t, c.text, c.zone).Next(after).UTC().Format(time.RFC3339); got != c.want {
			t.Errorf("%q in %s: Next(%s) = %s, want %s", c.text, c.zone, c.after, got, c.want)
		}
	}
}

func TestScheduleRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                "want five fields",
		"fortnightly":     "want five fields",
		"0 0 * *":         "want five fields",
		"60 0 * * *":      `minute "60" is not 0 to 59`,
		"0 24 * * *":      `hour "24" is not 0 to 23`,
		"0 0 0 * *":       `day "0" is not 1 to 31`,
		"0 0 1 nov-feb *": `month "nov-feb" goes backwards`,
		"0 0 1 may-jux *": `month "jux" is not 1 to 12`,
		"*/0 * * * *":     `minute "*/0": a step is 1 to 59`,
		"0 0 30 2 *":      "which never comes",
		"0 0 , * *":       `day "" is not`,
	} {
		if _, err := exporter.ParseSchedule(text, time.UTC); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSchedule(%q) = %v, want %q", text, err, want)
		}
	}
}

// Next agrees with a clock on the wall that is looked at every minute: what is
// shown for the first time, or jumped over, runs; an hourly schedule runs
// whenever it is shown.
func TestScheduleIsACronOnTheWall(t *testing.T) {
	zones := []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Africa/Cairo", "America/Sao_Paulo", "Asia/Kathmandu", "UTC"}
	around := map[string][]string{
		"Europe/Berlin": {"2026-03-28", "2026-10-24"}, "America/New_York": {"2026-03-07", "2026-10-31"}, "Australia/Lord_Howe": {"2026-04-03", "2026-10-02"},
		"Africa/Casablanca": {"2026-02-14", "2026-03-21"}, "Africa/Cairo": {"2026-04-23", "2026-10-29"}, "America/Sao_Paulo": {"2018-02-16", "2018-11-03"},
		"Asia/Kathmandu": {"2026-02-27"}, "UTC": {"2026-12-30"},
	}
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		start, err := time.ParseInLocation(time.DateOnly, rapid.SampledFrom(around[zone]).Draw(t, "from"), loc)
		if err != nil {
			t.Fatal(err)
		}
		set := func(name string, lo, hi int) (string, []int) {
			v := rapid.SliceOfNDistinct(rapid.IntRange(lo, hi), 1, 4, rapid.ID).Draw(t, name)
			slices.Sort(v)
			text := make([]string, len(v))
			for i := range v {
				text[i] = strconv.Itoa(v[i])
			}
			return strings.Join(text, ","), v
		}
		minuteText, minutes := set("minute", 0, 59)
		hourText, hours := "*", []int(nil)
		if !rapid.Bool().Draw(t, "hourly") {
			hourText, hours = set("hour", 0, 3)
		}
		s, err := exporter.ParseSchedule(minuteText+" "+hourText+" * * *", loc)
		if err != nil {
			t.Fatal(err)
		}
		end := start.Add(72 * time.Hour)
		var want, got []string
		fits := func(shown time.Time) bool {
			return slices.Contains(minutes, shown.Minute()) && (hours == nil || slices.Contains(hours, shown.Hour()))
		}
		shownAt := func(at time.Time) time.Time { // as if it were UTC
			_, offset := at.In(loc).Zone()
			return at.UTC().Add(time.Duration(offset) * time.Second)
		}
		latest := shownAt(start)
		for at := start.Add(time.Minute); at.Before(end); at = at.Add(time.Minute) {
			shown := shownAt(at)
			due := fits(shown)
			if hours != nil {
				due = false
				for m := latest.Add(time.Minute); !m.After(shown); m = m.Add(time.Minute) {
					due = due || fits(m)
				}
			}
			if shown.After(latest) {
				latest = shown
			}
			if due {
				want = append(want, fmt.Sprint(at.Unix()))
			}
		}
		for at := s.Next(start); at.Before(end); at = s.Next(at) {
			got = append(got, fmt.Sprint(at.Unix()))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s in %s from %s:\n got %v\nwant %v", s, zone, start, got, want)
		}
	})
}
