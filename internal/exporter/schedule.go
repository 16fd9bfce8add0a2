package exporter

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Schedule says at which instants a job runs: five fields as crontab(5) has
// them, in the local time of a zone.
//
// Where clocks go forward, a local time that does not exist runs at the instant
// of the change. Where they go back, one that comes twice runs the first time
// only. A schedule of every hour ("*") knows no local time and runs at each
// instant that fits, so its distances stay even. These are the rules of cron.
type Schedule struct {
	text  string
	zone  *time.Location
	field [5][]int // minute, hour, day, month, weekday (0 is Sunday), ascending
	// anyDay and anyWeekday say that the field is "*": when neither is, a day fits
	// if either does.
	anyDay, anyWeekday, everyHour bool
}

// words are short for five fields. They run half an hour after the turn of the
// period: with the default settings its last window is closed by then.
var words = map[string]string{
	"hourly":    "30 * * * *",
	"daily":     "30 0 * * *",
	"weekly":    "30 0 * * mon",
	"monthly":   "30 0 1 * *",
	"quarterly": "30 0 1 1,4,7,10 *",
	"yearly":    "30 0 1 1 *",
}

// bound is what a field may hold.
type bound struct {
	name     string
	min, max int
	names    string // three letters each, from min on
}

var bounds = [5]bound{
	{"minute", 0, 59, ""}, {"hour", 0, 23, ""}, {"day", 1, 31, ""},
	{"month", 1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"},
	{"weekday", 0, 7, "sun mon tue wed thu fri sat"},
}

// farthest is how far ahead an occurrence is looked for: 29 February is eight
// years away at most.
const farthest = 9 * 366

// ParseSchedule reads five fields, or one of the words hourly, daily, weekly,
// monthly, quarterly, yearly. A schedule that never comes is refused.
func ParseSchedule(text string, zone *time.Location) (*Schedule, error) {
	s := &Schedule{text: strings.Join(strings.Fields(text), " "), zone: zone}
	spelled := s.text
	if long, ok := words[strings.TrimPrefix(spelled, "@")]; ok {
		spelled = long
	}
	fields := strings.Fields(strings.ToLower(spelled))
	if len(fields) != len(s.field) {
		return nil, fmt.Errorf("is %q, want five fields (minute hour day month weekday) or hourly, daily, weekly, monthly, quarterly, yearly", text)
	}
	for i, f := range fields {
		var err error
		if s.field[i], err = parseField(i, f); err != nil {
			return nil, fmt.Errorf("is %q: %w", text, err)
		}
	}
	s.everyHour = len(s.field[1]) == 24
	s.anyDay, s.anyWeekday = strings.HasPrefix(fields[2], "*"), strings.HasPrefix(fields[4], "*")
	if s.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fmt.Errorf("is %q, which never comes", text)
	}
	return s, nil
}

// parseField reads a field: parts with commas between them, each a value, a range
// a-b, or * , and with /n every nth of it.
func parseField(i int, f string) (values []int, err error) {
	b := bounds[i]
	for _, part := range strings.Split(f, ",") {
		span, step, stepped := strings.Cut(part, "/")
		n := 1
		if stepped {
			if n, err = strconv.Atoi(step); err != nil || n < 1 || n > b.max {
				return nil, fmt.Errorf("%s %q: a step is 1 to %d", b.name, part, b.max)
			}
		}
		from, to := b.min, b.max
		if i == 4 && span == "*" {
			to = 6 // 7 is Sunday once more
		}
		if span != "*" {
			first, last, isRange := strings.Cut(span, "-")
			if from, err = b.value(first); err != nil {
				return nil, err
			}
			switch {
			case isRange:
				if to, err = b.value(last); err != nil {
					return nil, err
				}
			case !stepped:
				to = from
			}
			if to < from {
				return nil, fmt.Errorf("%s %q goes backwards", b.name, part)
			}
		}
		for v := from; v <= to; v += n {
			if i == 4 && v == 7 {
				values = append(values, 0)
				continue
			}
			values = append(values, v)
		}
	}
	slices.Sort(values)
	return slices.Compact(values), nil
}

func (b bound) value(text string) (int, error) {
	if at := slices.Index(strings.Fields(b.names), text); at >= 0 {
		return b.min + at, nil
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < b.min || v > b.max {
		return 0, fmt.Errorf("%s %q is not %d to %d", b.name, text, b.min, b.max)
	}
	return v, nil
}

// String is the schedule as it was given.
func (s *Schedule) String() string { return s.text }

// Zone is the zone that it counts in.
func (s *Schedule) Zone() *time.Location { return s.zone }

// Next returns the first instant after t; zero if there is none.
func (s *Schedule) Next(t time.Time) time.Time {
	if s.everyHour {
		return s.nextInstant(t)
	}
	y, m, d := t.In(s.zone).Date()
	for day := range farthest {
		date := time.Date(y, m, d-1+day, 0, 0, 0, 0, time.UTC) // the day before too: a zone may go back across midnight
		if !s.fits(date) {
			continue
		}
		for _, hour := range s.field[1] {
			for _, minute := range s.field[0] {
				if at := s.instant(date, hour, minute); at.After(t) {
					return at
				}
			}
		}
	}
	return time.Time{}
}

// nextInstant walks along instants: hours that come twice count twice, those that
// are left out do not count.
func (s *Schedule) nextInstant(t time.Time) time.Time {
	at := t.Truncate(time.Minute).Add(time.Minute)
	for end := t.AddDate(0, 0, farthest); at.Before(end); {
		local := at.In(s.zone)
		y, m, d := local.Date()
		if date := time.Date(y, m, d, 0, 0, 0, 0, time.UTC); !s.fits(date) {
			// To the next local midnight, or the first instant of that day.
			if at = s.instant(date.AddDate(0, 0, 1), 0, 0); !at.After(local) {
				at = local.Add(time.Hour)
			}
			continue
		}
		if slices.Contains(s.field[0], local.Minute()) {
			return at
		}
		at = at.Add(time.Minute)
	}
	return time.Time{}
}

// fits tells whether a date is one of the schedule.
func (s *Schedule) fits(date time.Time) bool {
	day, weekday := slices.Contains(s.field[2], date.Day()), slices.Contains(s.field[4], int(date.Weekday()))
	if !slices.Contains(s.field[3], int(date.Month())) {
		return false
	}
	if s.anyDay || s.anyWeekday {
		return day && weekday
	}
	return day || weekday
}

// instant is when the clocks of the zone show hour and minute of date: the first
// time if twice, and the instant of the change if never.
func (s *Schedule) instant(date time.Time, hour, minute int) time.Time {
	const around = 36 * time.Hour // farther than any zone is from UTC, and any change
	shown := date.Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
	offset := func(at time.Time) time.Duration {
		_, seconds := at.In(s.zone).Zone()
		return time.Duration(seconds) * time.Second
	}
	before, after := offset(shown.Add(-around)), offset(shown.Add(around))
	first := shown.Add(-max(before, after)).In(s.zone)
	second := shown.Add(-min(before, after)).In(s.zone)
	for _, at := range []time.Time{first, second} {
		if _, seconds := at.Zone(); at.Add(time.Duration(seconds) * time.Second).Equal(shown) {
			return at
		}
	}
	change, _ := second.ZoneBounds()
	return change
}
