package events

import (
	"fmt"
	"time"
)

// ParseTime reads an RFC 3339 time with any offset and returns ms since 1970
// UTC; digits below a millisecond are cut, not rounded. It takes exactly RFC
// 3339: "T" and "Z" in either case, "." before a fraction of any length, no
// leap second. Errors are *Error with cause "bad_time", or "before_1970" for
// what is not after 1970-01-01T00:00:00Z.
func ParseTime(s string) (int64, error) {
	ms, cause := parseTime(s)
	if cause != "" {
		return 0, badTime(cause, s)
	}
	return ms, nil
}

func badTime(cause, s string) *Error {
	if cause == "before_1970" {
		return malformed(cause, "time", "check the clock of the node", "time %s is not after 1970", shown(s))
	}
	return malformed(cause, "time", "send RFC 3339 with an offset, such as 2026-11-03T10:15:03.250Z or 2026-11-03T11:15:03+01:00",
		"time %s is not a time", shown(s))
}

// two reads two digits of s at i, which must be there; above 99 if they are
// none.
func two(s string, i int) int {
	a, b := s[i]-'0', s[i+1]-'0'
	if a > 9 || b > 9 {
		return 1000
	}
	return int(a)*10 + int(b)
}

func parseTime(s string) (ms int64, cause string) {
	if len(s) < len("2006-01-02T15:04:05Z") || s[4] != '-' || s[7] != '-' || s[10]|0x20 != 't' || s[13] != ':' || s[16] != ':' {
		return 0, "bad_time"
	}
	century, year, month, day := two(s, 0), two(s, 2), two(s, 5), two(s, 8)
	hour, minute, second := two(s, 11), two(s, 14), two(s, 17)
	if century > 99 || year > 99 || hour > 23 || minute > 59 || second > 59 || month > 12 || month < 1 || day < 1 {
		return 0, "bad_time"
	}
	year += century * 100
	if day > daysIn(year, month) {
		return 0, "bad_time"
	}
	i := 19
	frac := 0
	if s[i] == '.' {
		start := i + 1
		for i = start; i < len(s) && s[i]-'0' <= 9; i++ {
			if i-start < 3 {
				frac = frac*10 + int(s[i]-'0')
			}
		}
		if i == start || i == len(s) {
			return 0, "bad_time"
		}
		for n := i - start; n < 3; n++ {
			frac *= 10
		}
	}
	offset := 0
	switch rest := s[i:]; {
	case len(rest) == 1 && rest[0]|0x20 == 'z':
	case len(rest) == 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':':
		h, m := two(rest, 1), two(rest, 4)
		if h > 23 || m > 59 {
			return 0, "bad_time"
		}
		offset = h*60 + m
		if rest[0] == '-' {
			offset = -offset
		}
	default:
		return 0, "bad_time"
	}
	minutes := (daysSince1970(year, month, day)*24+int64(hour))*60 + int64(minute) - int64(offset)
	ms = (minutes*60+int64(second))*1000 + int64(frac)
	if ms <= 0 {
		return 0, "before_1970"
	}
	return ms, ""
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSince1970 counts in the proleptic Gregorian calendar. Years begin in
// March here, so that the leap day is the last of its year.
func daysSince1970(year, month, day int) int64 {
	y, m := int64(year), int64(month)
	if m <= 2 {
		y--
		m += 12
	}
	y += 400 // keeps divisions of year 0 from rounding up
	days := 365*y + y/4 - y/100 + y/400 + (153*(m-3)+2)/5 + int64(day) - 1
	return days - 719468 - 146097
}

// CheckTime lets the time of e enter a group of time wallMS: a time up to
// futureMS ahead becomes 0, which stands for the group's time; one further
// ahead is refused with code time_in_future. Times before wallMS stay.
func CheckTime(e *Event, wallMS, futureMS int64) error {
	if e.TimeMS <= wallMS {
		return nil
	}
	// The first comparison keeps the difference within int64: a time read
	// from JSON is positive, but one of a batch may be anything.
	if wallMS < 0 && e.TimeMS > wallMS+1<<62 || e.TimeMS-wallMS > futureMS {
		return &Error{
			Code: CodeTimeInFuture, Field: "time",
			Message: fmt.Sprintf("time %s is more than %v ahead of %s", spellTime(e.TimeMS),
				time.Duration(futureMS)*time.Millisecond, spellTime(wallMS)),
			Hint: "set the clock of the node, or leave out the time",
		}
	}
	e.TimeMS = 0
	return nil
}

// spellTime writes ms as RFC 3339, or as a number where no year has four
// digits.
func spellTime(ms int64) string {
	t := time.UnixMilli(ms).UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return fmt.Sprintf("%d ms", ms)
	}
	return t.Format("2006-01-02T15:04:05.000Z")
}
