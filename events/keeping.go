package events

// Keep says what is stored of a field that tells people apart.
type Keep uint8

const (
	// KeepAll stores it as it came. It is the zero value.
	KeepAll Keep = iota
	// KeepHash stores a keyed hash in its place: equal values have equal hashes.
	KeepHash
	// KeepNone stores nothing of it.
	KeepNone
)

// Keeping says what is stored of the fields of an event that tell people apart.
// What is counted is the same whatever it says.
type Keeping struct {
	User, Host, IP Keep
	// Hash returns what stands for the value of a field, named "user", "host" or
	// "ip", of MaxIPBytes at most. Required with KeepHash, and with KeepNone for User.
	Hash func(field, value string) string
}

// All reports whether everything is stored as it came.
func (k *Keeping) All() bool {
	return k == nil || k.User == KeepAll && k.Host == KeepAll && k.IP == KeepAll
}

// Apply takes from e, an event of m, what is not to be stored. The user of a meter
// that counts users is hashed where it would be left out: the count needs to tell
// users apart. changed says whether e is another one now; its detail is replaced
// then, never written into, since events of one message may share it.
//
// Errors are *Error: event_too_large if hashes do not fit where their values did.
func (k *Keeping) Apply(e *Event, m *Meter) (changed bool, err error) {
	if k.All() || e.Detail == nil {
		return false, nil
	}
	d := *e.Detail
	user := k.User
	if user == KeepNone && m.Aggregation == Unique && m.Subject == "" {
		user = KeepHash
	}
	k.field(user, "user", &d.User)
	k.field(k.Host, "host", &d.Host)
	k.field(k.IP, "ip", &d.IP)
	if d.User == e.Detail.User && d.Host == e.Detail.Host && d.IP == e.Detail.IP {
		return false, nil
	}
	e.Detail = &d
	if d.User == "" && d.Host == "" && d.IP == "" && len(d.Dimensions) == 0 && d.Kind == KindUsage && d.Session == "" {
		e.Detail = nil
	}
	if err := e.check(); err != nil {
		return true, err
	}
	return true, nil
}

// Field returns what is stored of one value, outside of events.
func (k *Keeping) Field(keep Keep, name, value string) string {
	k.field(keep, name, &value)
	return value
}

func (k *Keeping) field(keep Keep, name string, v *string) {
	switch {
	case *v == "" || keep == KeepAll:
	case keep == KeepHash:
		*v = k.Hash(name, *v)
	default:
		*v = ""
	}
}
