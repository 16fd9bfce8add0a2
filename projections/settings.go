package projections

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
)

// Settings are what the fold needs to know besides the events. They travel in
// the stream as a control line, so that a replay needs no configuration and
// every replica folds alike.
type Settings struct {
	// Window is the span over which usage is summed: whole seconds, 60 s to
	// 24 h, a divisor of 24 h. It never changes within a ledger.
	Window time.Duration
	// Lateness is how long after its end a window stays open.
	Lateness time.Duration
	// Horizon is how long event ids are remembered at least.
	Horizon time.Duration
	// Trace says that the gateway's time follows replayed data: old events are
	// quarantined only if their ids may be forgotten. See
	// docs/decisions/0004-trace-clock.md.
	Trace bool
}

// DefaultSettings are windows of 15 minutes, 10 minutes of lateness, ids
// remembered for 35 days.
func DefaultSettings() Settings {
	return Settings{Window: 15 * time.Minute, Lateness: 10 * time.Minute, Horizon: 35 * 24 * time.Hour}
}

// Validate names the first setting that cannot be.
func (s Settings) Validate() error {
	const day = 24 * time.Hour
	switch {
	case s.Window < time.Minute || s.Window > day || s.Window%time.Second != 0 || day%s.Window != 0:
		return fmt.Errorf("%w: windows.length %v does not divide 24 h into windows of 1 min to 24 h", ErrSettings, s.Window)
	case s.Lateness < 0 || s.Lateness > 30*day || s.Lateness%time.Second != 0:
		return fmt.Errorf("%w: windows.lateness %v is not 0 s to 30 d in whole seconds", ErrSettings, s.Lateness)
	case s.Horizon < time.Hour || s.Horizon%time.Second != 0:
		return fmt.Errorf("%w: events.id_horizon %v is not at least 1 h in whole seconds", ErrSettings, s.Horizon)
	}
	return nil
}

// Line returns the control line that carries the settings.
func (s Settings) Line() string {
	clock := "wall"
	if s.Trace {
		clock = "trace"
	}
	return fmt.Sprintf("settings clock=%s horizon=%d lateness=%d window=%d", clock,
		int64(s.Horizon/time.Second), int64(s.Lateness/time.Second), int64(s.Window/time.Second))
}

func parseSettings(fields []string) (Settings, error) {
	var s Settings
	for _, f := range fields {
		name, value, ok := strings.Cut(f, "=")
		if !ok {
			return s, fmt.Errorf("setting %q has no value", f)
		}
		if name == "clock" {
			s.Trace = value == "trace"
			continue
		}
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return s, fmt.Errorf("setting %q: %w", f, err)
		}
		switch d := time.Duration(n) * time.Second; name {
		case "horizon":
			s.Horizon = d
		case "lateness":
			s.Lateness = d
		case "window":
			s.Window = d
		default:
			return s, fmt.Errorf("unknown setting %q", name)
		}
	}
	return s, s.Validate()
}

// DeclareLine returns the control line that declares m to the fold: id,
// aggregation, unit, scale, corrections, undo interval in seconds, and as
// attributes what else the fold uses.
func DeclareLine(m *events.Meter) string {
	corrections := "no"
	if m.Corrections {
		corrections = "yes"
	}
	unit := m.Unit
	if unit == "" {
		unit = "-"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "declare %s %s %s %d %s %d", m.ID, m.Aggregation, unit, m.Scale, corrections, int64(m.Undo/time.Second))
	for _, d := range m.Dimensions {
		if !d.Private {
			fmt.Fprintf(&b, " d.%s=public", d.Name)
		} else {
			fmt.Fprintf(&b, " d.%s=private", d.Name)
		}
	}
	if m.RuleBook != "" {
		fmt.Fprintf(&b, " rulebook=%s", m.RuleBook)
	}
	if m.Subject != "" {
		fmt.Fprintf(&b, " subject=%s", m.Subject)
	}
	if m.UniqueMax != 0 {
		fmt.Fprintf(&b, " unique-max=%d", m.UniqueMax)
	}
	return b.String()
}

func parseDeclare(fields []string) (events.Meter, error) {
	if len(fields) < 6 {
		return events.Meter{}, fmt.Errorf("declare has %d fields, want 6 or more", len(fields))
	}
	agg, err := events.ParseAggregation(fields[1])
	if err != nil {
		return events.Meter{}, err
	}
	scale, err := strconv.Atoi(fields[3])
	if err != nil {
		return events.Meter{}, err
	}
	undo, err := strconv.ParseInt(fields[5], 10, 64)
	if err != nil {
		return events.Meter{}, err
	}
	m := events.Meter{ID: fields[0], Aggregation: agg, Scale: scale, Corrections: fields[4] == "yes", Undo: time.Duration(undo) * time.Second}
	if fields[2] != "-" {
		m.Unit = fields[2]
	}
	for _, f := range fields[6:] {
		name, value, _ := strings.Cut(f, "=")
		switch {
		case strings.HasPrefix(name, "d."):
			m.Dimensions = append(m.Dimensions, events.MeterDimension{Name: name[2:], Private: value != "public"})
		case name == "rulebook":
			m.RuleBook = value
		case name == "subject":
			m.Subject = value
		case name == "unique-max":
			if m.UniqueMax, err = strconv.Atoi(value); err != nil {
				return m, err
			}
		default:
			return m, fmt.Errorf("declare %s: unknown attribute %q", m.ID, f)
		}
	}
	return m, nil
}

func parseSettingsLine(line string) (Settings, error) {
	return parseSettings(strings.Fields(line)[1:])
}

func parseDeclareLine(line string) (events.Meter, error) {
	return parseDeclare(strings.Fields(line)[1:])
}
