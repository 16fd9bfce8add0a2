package events

import "errors"

func (a Aggregation) String() string { return aggregationNames[a] }

// ParseAggregation reads the spelling of an aggregation.
func ParseAggregation(s string) (Aggregation, error) { return 0, errors.New("todo") }

// Validate reports what is wrong with the declaration, as *Error with code config_invalid.
func (m Meter) Validate() error { return errors.New("todo") }

// Resolve checks e, an event of m that came any way (JSON, CloudEvents, SDK batch), against the declaration of m
// and gives it the quantity of the rule book, if m names one. It is idempotent. Errors are *Error.
func (m *Meter) Resolve(e *Event) error { return errors.New("todo") }

// ParseMeterFlag reads "id:aggregation[:scale[:unit]]".
func ParseMeterFlag(s string) (Meter, error) { return Meter{}, errors.New("todo") }

// NewMeters validates the declarations. An id may stand once.
func NewMeters(list []Meter) (*Meters, error) { return nil, errors.New("todo") }

// Lookup returns nil if there is none.
func (s *Meters) Lookup(id string) *Meter { return nil }

// ByEventType in order of declaration.
func (s *Meters) ByEventType(t string) []*Meter { return nil }

// All in order of declaration.
func (s *Meters) All() []Meter { return nil }

// ValidNode reports whether s is the name of a node: a name without ".".
func ValidNode(s string) bool { return false }

// ValidMeter reports whether s can be the id of a meter.
func ValidMeter(s string) bool { return false }

// Input is one message as it came.
type Input struct {
	Node        string // of the subject or token; empty: none, then the event's own, a CloudEvent's source, or "local"
	Meter       string // of the subject; empty: none
	ContentType string
	ID          string                   // Nats-Msg-Id
	Header      func(name string) string // nil: none; asked for lower-case names that begin with "ce-"; should ignore case
	Data        []byte
}

// Parser is not safe for concurrent use. The zero value with Meters set works.
type Parser struct {
	Meters *Meters
}

// LocalNode is the node of events that name none and have no credential.
const LocalNode = "local"

// Parse reads one event; a CloudEvent may give several, all or none. Errors are *Error. out is dst and the events.
func (p *Parser) Parse(in Input, dst []Event) (node string, out []Event, err error) {
	return "", dst, errors.New("todo")
}

// ParseBatch reads JSON array, CloudEvents batch, NDJSON, or a single object. It calls yield once per element, in order, with its events
// (valid until yield returns) or its *Error; i = -1: the batch as a whole is refused and nothing else was or will be yielded.
func (p *Parser) ParseBatch(in Input, yield func(i int, node string, evs []Event, err error)) {}

// IsBatch reports whether in must go to ParseBatch.
func IsBatch(in Input) bool { return false }

// CheckTime sets e.TimeMS to 0 (the group's time) if it is up to futureMS ahead of wallMS, and refuses what is beyond.
func CheckTime(e *Event, wallMS, futureMS int64) error { return nil }

// Batch limits.
const (
	MaxBatchEvents = 10_000
	MaxBatchBytes  = 1 << 20
)

// Batch is an SDK batch.
type Batch struct {
	Epoch  uint64 // ms at which this numbering began
	First  uint64 // number of the first event
	Last   bool   // last batch of its epoch
	Events []Event
}

// BatchHeader is the fixed part of an SDK batch.
type BatchHeader struct {
	Epoch, First     uint64
	Last, Compressed bool
	Count            int // events
	BaseMS           int64
	BlockBytes       int // before compression
}

// AppendBatch appends b; an event without time gets baseMS.
func AppendBatch(dst []byte, b *Batch, baseMS int64, compress bool) ([]byte, error) {
	return nil, errors.New("todo")
}

// ParseBatchHeader checks header and checksum.
func ParseBatchHeader(b []byte) (BatchHeader, error) { return BatchHeader{}, errors.New("todo") }

// DecodeBatch errors are *Error.
func DecodeBatch(b []byte) (*Batch, error) { return nil, errors.New("todo") }

// Group limits.
const (
	MaxGroupBytes   = 1 << 20 // of the message
	MaxGroupPayload = 8 << 20 // before compression
	MaxGroupEvents  = 1 << 18
)

// Form of a run.
type Form uint8

const (
	FormBatch    Form = 0
	FormEvents   Form = 1
	FormControl  Form = 2
	FormRefusals Form = 3
)

// Group is one message of the stream.
type Group struct {
	Prev    uint64
	WallNS  int64
	Term    uint64
	First   uint64
	PrevSum [32]byte
	Sum     [32]byte
	Count   int // events of all runs
	Runs    []Run
}

// Run of a group.
type Run struct {
	Node         string // empty for FormControl; "-" (unknown sender) for FormRefusals only
	Form         Form
	Raw          []byte    // FormBatch: the batch as it came; FormControl: the line without LF
	Epoch, First uint64    // FormBatch
	Last         bool      // FormBatch
	Events       []Event   // FormBatch, FormEvents
	Refusals     []Refusal // FormRefusals
}

// Refusal counts events of a node that were refused for a reason.
type Refusal struct {
	Reason string
	Count  uint64
}

// GroupWriter reuses its buffers and encoder; not safe for concurrent use. The zero value works.
type GroupWriter struct{}

// Append appends g; sets g.Sum, g.Count, and the time of events without one, in place.
func (w *GroupWriter) Append(dst []byte, g *Group) ([]byte, error) { return nil, errors.New("todo") }

// AppendGroup is GroupWriter.Append with a pooled writer.
func AppendGroup(dst []byte, g *Group) ([]byte, error) { return nil, errors.New("todo") }

// DecodeGroup checks and decodes; errors wrap ErrGroupDamaged or ErrGroupVersion.
func DecodeGroup(b []byte) (*Group, error) { return nil, errors.New("todo") }

// WallMS is the group's time.
func (g *Group) WallMS() int64 { return 0 }

// Follows checks g against the group before (nil: none) at stream sequence prevSeq; errors wrap ErrGroupHole or ErrGroupDamaged.
func (g *Group) Follows(prev *Group, prevSeq uint64) error { return nil }

// EncodedSize is an upper bound for the bytes of e in a group before compression.
func (e *Event) EncodedSize() int { return 0 }

var (
	ErrGroupDamaged  = errors.New("group is damaged")
	ErrGroupHole     = errors.New("group does not follow the one before")
	ErrGroupVersion  = errors.New("group is of a newer version")
	ErrGroupTooLarge = errors.New("group is too large")
)

// Rule gives the quantity of one operation.
type Rule struct {
	Operation   string
	Quantity    int64
	Description string
}

// RuleBook is a versioned list of rules.
type RuleBook struct {
	Version, Title, Unit, Dimension string
	Rules                           []Rule
}

// LookupRuleBook returns a shipped rule book by version ("documents/3"), nil if there is none.
func LookupRuleBook(version string) *RuleBook { return nil }
