package console

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/license"
)

// Licensing answers for the license of the site. Its methods are called by many
// goroutines at once.
type Licensing interface {
	// License returns what the license comes to now; it is asked for every request.
	License() License
	// Describe returns every field of the license with what it means now.
	Describe() LicenseDetail
	// History returns the licenses and receipts of this ledger, oldest first.
	History(ctx context.Context) ([]LicenseEvent, error)
	// Allow answers "may I?". It counts nothing, and reserves what Hold says.
	Allow(ctx context.Context, q AllowRequest) (Allowed, error)
	// Consume asks and counts in one step: e is stored if the answer is yes. The
	// request says what e does not.
	Consume(ctx context.Context, node string, e events.Event, q license.Request) (Consumed, error)
	// Release gives a reservation back; none of that name is no error.
	Release(ctx context.Context, node, id string) error
	// Import takes a reply, a license or a license key into use, or only says
	// what would be done. Nothing is changed when it returns an error.
	Import(ctx context.Context, doc []byte, dryRun bool) (Imported, error)
	// ActivationCode answers the vendor's initialization code where no file may
	// leave, and ImportCode takes his confirmation code into use.
	ActivationCode(ctx context.Context, init string) (string, error)
	ImportCode(ctx context.Context, code string, dryRun bool) (Imported, error)
	// Deactivate ends the ledger, and returns the last report: its file name and
	// what writes it. Doing it again gives the same report.
	Deactivate(ctx context.Context, o DeactivateOptions) (name string, write func(io.Writer) error, err error)
	// Prune removes raw events and records that the newest receipt covers and whose
	// time is over, or only says what would go.
	Prune(ctx context.Context, dryRun bool) (Pruned, error)
	// RotateKey makes the next key of the site and records it. Both sign until a
	// receipt covers the record.
	RotateKey(ctx context.Context) (KeyRotation, error)
}

// License is the license of GET /v1/status: what it comes to now, and what it is.
// Instants are the last second in which something holds; one that is absent does
// not exist.
type License struct {
	license.Status
	Message       string `json:"message,omitempty" doc:"of a license that is refused: why"`
	ID            string `json:"id,omitempty"`
	Serial        uint64 `json:"serial,omitempty" doc:"0: the license key, before a reply was imported"`
	SolutionName  string `json:"solution_name,omitempty"`
	Type          string `json:"type,omitempty" doc:"perpetual, time-limited, subscription or consumption"`
	Trial         bool   `json:"trial,omitempty"`
	EndsLocal     string `json:"ends_local,omitempty" doc:"in the time zone of the daemon"`
	ReportByLocal string `json:"report_by_local,omitempty"`
	NextByLocal   string `json:"next_action_by_local,omitempty"`

	Words license.Words `json:"words" doc:"the state, for people"`

	ExitCode int `json:"exit_code" doc:"of meterseal status"`

	// Meters is what the license says of each meter, by its id; the meters of
	// GET /v1/status show it.
	Meters map[string]MeterLimit `json:"-"`
}

// MeterLimit is what the license says of a meter now, in its smallest unit.
type MeterLimit struct {
	Licensed         bool
	Limit            *int64 // with the credit of the period; nil: unlimited
	SinceReceipt     int64
	Period           int64
	Remaining        *int64 // nil: unlimited
	OverageRemaining *int64 // nil: unlimited
	Alert            int    // percent of the limit that is reached: 0, 50, 80, 90 or 100
	ResetsAt         *time.Time
}

// LicenseDetail is the answer of GET /v1/license.
type LicenseDetail struct {
	License
	Dates  []LicenseDate  `json:"dates" nullable:"false" doc:"every date, in UTC and local time, and what happens then"`
	Fields []LicenseField `json:"fields" nullable:"false" doc:"every line of the license, and what it means"`
	Text   string         `json:"text,omitempty" doc:"the signed note"`
	Key    string         `json:"key,omitempty" doc:"the note on one line, as license.key takes it"`
}

// LicenseDate is an instant of a license.
type LicenseDate struct {
	Name  string    `json:"name"`
	UTC   time.Time `json:"utc"`
	Local string    `json:"local"`
	Then  string    `json:"then" doc:"what happens after it"`
}

// LicenseField is a line of a license.
type LicenseField struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Meaning string `json:"meaning,omitempty"`
}

// LicenseEvent is a license or receipt that was taken into use.
type LicenseEvent struct {
	Kind   string    `json:"kind" enum:"license,receipt"`
	Time   time.Time `json:"time" doc:"when it was imported"`
	ID     string    `json:"id,omitempty"`
	Serial uint64    `json:"serial"`
	Size   uint64    `json:"size" doc:"records of the checkpoint that it names"`
	Digest string    `json:"digest" doc:"base64"`
	Record uint64    `json:"record" doc:"its index in the ledger"`
}

type historyAnswer struct {
	Events []LicenseEvent `json:"events" nullable:"false"`
}

// Imported says what an import did.
type Imported struct {
	Used       bool            `json:"used" doc:"false: it was in use already, or it is a rejection"`
	Already    bool            `json:"already,omitempty" doc:"exactly this was imported before: nothing to do"`
	DryRun     bool            `json:"dry_run,omitempty"`
	Kind       string          `json:"kind" enum:"reply,license"`
	Result     string          `json:"result,omitempty" enum:"accepted,refresh,rejected"`
	Vendor     string          `json:"vendor,omitempty"`
	Issued     *time.Time      `json:"issued,omitempty"`
	Receipt    *ImportReceipt  `json:"receipt,omitempty"`
	License    *ImportLicense  `json:"license,omitempty"`
	Pending    bool            `json:"pending,omitempty" doc:"the vendor decides about the license; a reply with it follows"`
	Refused    bool            `json:"license_refused,omitempty" doc:"the usage was accepted, and the vendor gives no license: it is suspended, revoked, or its contract is over"`
	Final      bool            `json:"final,omitempty" doc:"the ledger ended with this report"`
	KeyRotated bool            `json:"key_rotated,omitempty" doc:"the receipt covers the record of a new site key: from now on only that one counts"`
	Explain    []string        `json:"explain,omitempty" nullable:"false" doc:"what the vendor asks about"`
	Reject     *ImportRejected `json:"rejection,omitempty"`

	TotalsEqual  *bool    `json:"totals_equal,omitempty" doc:"whether the vendor counted what this ledger closed with; absent if that cannot be told"`
	TotalsDiffer []string `json:"totals_differ,omitempty" nullable:"false" doc:"meters where he did not"`
}

// ImportReceipt is the receipt of an imported reply.
type ImportReceipt struct {
	Size uint64    `json:"size"`
	Time time.Time `json:"time" doc:"of the vendor"`
}

// ImportLicense is what an import changed in the license.
type ImportLicense struct {
	ID          string     `json:"id"`
	State       string     `json:"state" doc:"of the license, once it is in force"`
	Serial      uint64     `json:"serial"`
	WasSerial   *uint64    `json:"was_serial,omitempty"`
	Ends        *time.Time `json:"ends,omitempty"`
	WasEnds     *time.Time `json:"was_ends,omitempty"`
	ReportBy    *time.Time `json:"report_by,omitempty"`
	WasReportBy *time.Time `json:"was_report_by,omitempty"`
}

// ImportRejected is why the vendor did not accept a report.
type ImportRejected struct {
	Code    string  `json:"code"`
	FixBy   string  `json:"fix_by" enum:"site,courier,vendor"`
	Message string  `json:"message"`
	How     string  `json:"how"`
	Record  *int64  `json:"record,omitempty" doc:"the first bad one"`
	Last    *uint64 `json:"last,omitempty" doc:"the newest size that was accepted"`
}

// Pruned says what pruning left and removed.
type Pruned struct {
	Receipt uint64 `json:"receipt" doc:"records that the newest receipt covers; 0: there is none, so nothing goes"`
	Group   uint64 `json:"oldest_group" doc:"the oldest raw events that stay"`
	Record  uint64 `json:"oldest_record" doc:"the oldest record whose line stays"`
	Groups  uint64 `json:"groups" doc:"groups of raw events that went, or would"`
	Records uint64 `json:"records" doc:"lines of records that went, or would"`
	Keys    string `json:"oldest_key" doc:"the oldest month whose key stays, 2026-12; empty: there is no receipt"`
	Months  uint64 `json:"keys" doc:"months whose keys went, or would: those just before it"`
}

// KeyRotation is a new site key that waits for a receipt.
type KeyRotation struct {
	Key    string `json:"key" doc:"the public key that counts until then"`
	Next   string `json:"new_key" doc:"the public key that replaces it"`
	Record uint64 `json:"record" doc:"index of the record that names it"`
}

// DeactivateOptions of Licensing.Deactivate.
type DeactivateOptions struct {
	SolutionName string            `json:"solution_name" doc:"of the license, so that nothing ends by mistake"`
	Reason       string            `json:"reason,omitempty" maxLength:"128" doc:"one word, for the retire record"`
	To           string            `json:"to,omitempty" maxLength:"128" doc:"where the license goes, for the retire record"`
	Variables    map[string]string `json:"variables,omitempty" doc:"final device variables, beside and in place of those that are set"`
}

func (s *server) licenseRoutes() []route {
	if s.Licensing == nil {
		return nil
	}
	return []route{{
		Method: http.MethodGet, Path: "/v1/license", ID: "getLicense", Right: access.Read,
		Summary:  "The license: every field with its meaning now, every date with what happens then",
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "The license in force", Of: LicenseDetail{}}},
		Problems: []int{400},
		Serve: func(w http.ResponseWriter, _ *http.Request, _ values) error {
			d := s.Licensing.Describe()
			d.Words = d.Status.Words()
			return s.answer(w, http.StatusOK, d)
		},
	}, {
		Method: http.MethodGet, Path: "/v1/license/history", ID: "getLicenseHistory", Right: access.Read,
		Summary:  "Licenses and receipts that were taken into use, oldest first",
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "As the ledger has them", Of: historyAnswer{}}},
		Problems: []int{400, 503},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			list, err := s.Licensing.History(r.Context())
			if err != nil {
				return err
			}
			return s.answer(w, http.StatusOK, historyAnswer{append([]LicenseEvent{}, list...)})
		},
	}, {
		Method: http.MethodPost, Path: "/v1/reply", ID: "importReply", Right: access.Import,
		Summary: "Take a reply of the vendor into use",
		Doc:     "The reply as it came; a license or a license key too. All of it is checked before anything is written; what is imported is in force at once. The same again does nothing.",
		Params: []param{
			{Name: "dry_run", Kind: httpapi.Flag, Doc: "check it and say what would change"},
			{Name: "code", Kind: httpapi.Flag, Doc: "the body is a confirmation code, as it is typed"},
		},
		Body:     []content{{MediaType: textType, Doc: "The reply"}},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "What was done", Of: Imported{}}},
		Problems: []int{400, 409, 413, 415, 422, 503},
		Serve:    s.postReply,
	}, {
		Method: http.MethodPost, Path: "/v1/activation", ID: "activationCode", Right: access.Import,
		Summary:  "Answer an initialization code where no file may leave",
		Doc:      "The activation code carries site key and opening of the ledger, and no usage: that follows in the first report.",
		Body:     []content{{MediaType: jsonType, Of: codeBody{}}},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "The activation code, in rows", Of: codeBody{}}},
		Problems: []int{400, 409, 413, 415, 422, 503},
		Serve:    s.postActivation,
	}, {
		Method: http.MethodPost, Path: "/v1/prune", ID: "prune", Right: access.Admin,
		Summary:  "Remove raw events and records that the newest receipt covers",
		Doc:      "Only past their retention, and never what no receipt covers. Hashes stay, so every proof from the receipt on can still be made.",
		Params:   []param{{Name: "dry_run", Kind: httpapi.Flag, Doc: "say what would go"}},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "What is left and what went", Of: Pruned{}}},
		Problems: []int{400, 409, 503},
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			out, err := s.Licensing.Prune(r.Context(), q.Flag["dry_run"])
			if err != nil {
				return err
			}
			s.Log.Info("pruned", "groups", out.Groups, "records", out.Records, "dry_run", q.Flag["dry_run"])
			return s.answer(w, http.StatusOK, out)
		},
	}, {
		Method: http.MethodPost, Path: "/v1/keys/rotate", ID: "rotateKey", Right: access.Admin,
		Summary:  "Replace the site key",
		Doc:      "Makes a new key and records it; the private half stays in the data directory. Both sign until a receipt that covers the record is imported, then only the new one. Until then it is refused to rotate again.",
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "The keys", Of: KeyRotation{}}},
		Problems: []int{400, 409, 410, 503},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			out, err := s.Licensing.RotateKey(r.Context())
			if err != nil {
				return err
			}
			s.Log.Info("site key to be replaced", "new_key", out.Next, "record", out.Record)
			return s.answer(w, http.StatusOK, out)
		},
	}, {
		Method: http.MethodPost, Path: "/v1/deactivate", ID: "deactivate", Right: access.Admin,
		Summary:  "End the ledger and write the last report",
		Doc:      "Closes every window, retires the ledger, and answers with the report that carries the final usage. From then on events get 410 and every answer is no. Doing it again gives the same report.",
		Body:     []content{{MediaType: jsonType, Of: DeactivateOptions{}}},
		Answers:  []content{{Status: http.StatusOK, MediaType: textType, Doc: "The last report; Content-Disposition has its name"}},
		Problems: []int{400, 409, 413, 415, 422, 503},
		Serve:    s.postDeactivate,
	}}
}

// license returns the license of the site, or that of one without any.
func (s *server) license() License {
	var l License
	if s.Licensing != nil {
		l = s.Licensing.License()
	} else {
		var none *license.License
		l = License{Status: none.State(license.Facts{Opened: s.Started}, s.Now())}
		l.ExitCode = l.Exit
	}
	l.Words = l.Status.Words()
	return l
}

// refusal is why the license gives no service, or events are not taken.
func (l *License) refusal() *Problem {
	p := &Problem{Status: http.StatusServiceUnavailable, Code: l.Code, Message: l.Message, Hint: l.NextAction}
	if p.Message == "" {
		p.Message = "the license is " + string(l.State)
	}
	if p.Hint == "" {
		p.Hint = `see "meterseal status"`
	}
	return p
}

// checkTaken refuses events in the states in which none are taken.
func (s *server) checkTaken() error {
	l := s.license()
	switch l.Events {
	case license.EventsRetired:
		p := l.refusal()
		p.Status, p.Code = http.StatusGone, events.CodeRetired
		return p
	case license.EventsNotTaken:
		return l.refusal()
	}
	return nil
}

func (s *server) postReply(w http.ResponseWriter, r *http.Request, q values) error {
	if s.StoreDisabled {
		return noStore()
	}
	doc, err := readBody(r)
	if err != nil {
		return err
	}
	if len(doc) == 0 {
		return badRequest("body", "is empty", "send the reply as it came")
	}
	var out Imported
	if q.Flag["code"] {
		out, err = s.Licensing.ImportCode(r.Context(), string(doc), q.Flag["dry_run"])
	} else {
		out, err = s.Licensing.Import(r.Context(), doc, q.Flag["dry_run"])
	}
	if err != nil {
		return err
	}
	if out.Used && !out.DryRun {
		l := s.Licensing.License()
		s.Log.Info("reply imported", "result", out.Result, "state", string(l.State), "serial", strconv.FormatUint(l.Serial, 10))
	}
	return s.answer(w, http.StatusOK, out)
}

// codeBody is a typed code.
type codeBody struct {
	Code string `json:"code" doc:"rows of five characters in groups, each with its check characters"`
}

func (s *server) postActivation(w http.ResponseWriter, r *http.Request, _ values) error {
	var ask codeBody
	if given, err := readJSON(r, &ask); err != nil {
		return err
	} else if !given {
		return badRequest("body", "is missing", `send {"code":"…"}`)
	}
	code, err := s.Licensing.ActivationCode(r.Context(), ask.Code)
	if err != nil {
		return err
	}
	return s.answer(w, http.StatusOK, codeBody{code})
}

func (s *server) postDeactivate(w http.ResponseWriter, r *http.Request, _ values) error {
	if s.StoreDisabled {
		return noStore()
	}
	var ask DeactivateOptions
	if given, err := readJSON(r, &ask); err != nil {
		return err
	} else if !given {
		return badRequest("body", "is missing", `send {"solution_name":"…"}`)
	}
	name, write, err := s.Licensing.Deactivate(r.Context(), ask)
	if err != nil {
		return err
	}
	size, err := s.stream(w, textType, name, write)
	if err == nil {
		s.Log.Info("ledger deactivated", "path", name, "size", size)
	}
	return err
}
