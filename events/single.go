package events

// MaxSingleBytes is the most that AppendEvent writes for one event.
const MaxSingleBytes = 4096

// AppendEvent appends e alone, with its time as it is: what a sender keeps until
// it makes batches. It is an event block of one event whose base time is 0.
//
// Errors are *Error with what is wrong with e; a reader of a batch would find the
// same. Nothing is allocated unless e is refused.
func AppendEvent(dst []byte, e *Event) ([]byte, error) {
	if !ValidMeter(e.Meter) {
		return dst, malformed("bad_name", "meter", "name a declared meter", "%s is not the id of a meter", shown(e.Meter))
	}
	if err := e.sound(false); err != nil {
		return dst, err
	}
	if e.TimeMS <= 0 {
		return dst, badTime("before_1970", spellTime(e.TimeMS))
	}
	dst = append(dst, 1)
	dst = appendString(dst, e.Meter)
	dst = append(dst, 1)
	return appendEvent(dst, e, e.TimeMS, 0), nil
}

// A SingleReader reads events that AppendEvent wrote. It keeps memory for the
// details of many.
type SingleReader struct{ d blockReader }

// Read reads one event from b into e. Its strings alias b. Errors are *Error.
func (s *SingleReader) Read(b []byte, e *Event) error {
	r := &reader{b: b}
	var one [1]Event
	evs := s.d.read(r, 0, one[:], 1, false)
	switch {
	case r.err != nil:
		return r.err
	case len(evs) != 1:
		return malformed("count", "", binaryHint, "%d events, not one", len(evs))
	case r.left() != 0:
		return malformed("length", "", binaryHint, "%d bytes behind the event", r.left())
	}
	*e = evs[0]
	return nil
}
