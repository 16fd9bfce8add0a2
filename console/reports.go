package console

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/httpapi"
)

// Reports knows what a report will say, what one says, and which were written. Its
// methods are called by many goroutines at once.
type Reports interface {
	// Preview returns what the report from a size on would say now; nil: where the
	// last receipt ended. It changes nothing.
	Preview(ctx context.Context, from *uint64) (ReportPreview, error)
	// Lines returns lines of a report with what they mean, from record on and of at
	// most limit records.
	Lines(ctx context.Context, o ReportOptions, record, limit uint64) (ReportLines, error)
	// Verify verifies a document as it is read. What is wrong with it is in the
	// answer; an error is that of r, or our own.
	Verify(ctx context.Context, r io.Reader) (Verified, error)
	// Exported returns the reports that were written, the newest first.
	Exported(ctx context.Context) ([]ExportedReport, error)
	// KeepExported notes one.
	KeepExported(e ExportedReport) error
}

// A PreparedReport is what a report is, without its text.
type PreparedReport struct {
	Name    string `json:"name" doc:"of the file"`
	From    uint64 `json:"from" doc:"its first record"`
	Until   uint64 `json:"until" doc:"the record after its last one: the size that its checkpoint has"`
	Level   string `json:"level" enum:"standard,pseudonymous,detailed"`
	Records uint64 `json:"records"`
	Events  uint64 `json:"events" doc:"single events that it shows"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256" doc:"of the text"`
}

// ExportedReport is a report that was written, and what came of it.
type ExportedReport struct {
	PreparedReport
	Time    time.Time `json:"time"`
	Who     string    `json:"who" doc:"operator, token or job that had it written; empty: a program of this machine"`
	Message string    `json:"message,omitempty" doc:"for the log of the site; it is in no report"`

	Receipt *time.Time      `json:"receipt,omitempty" doc:"when the vendor gave the receipt that covers it, if one was imported"`
	Refused *ImportRejected `json:"refused,omitempty" doc:"why the vendor did not accept it"`
}

// ReportPreview is what the next report will say.
type ReportPreview struct {
	Origin      string         `json:"origin"`
	From        uint64         `json:"from" doc:"its first record: the size of the last receipt, if not told otherwise"`
	Size        uint64         `json:"size" doc:"records of the ledger now; the export adds those of its close"`
	LastReport  uint64         `json:"last_report" doc:"where the last close ended; equal to size: nothing is new, and an export gives the same bytes again"`
	ReceiptTime *time.Time     `json:"receipt_time,omitempty" doc:"of the vendor, if the report continues from a receipt"`
	Since       time.Time      `json:"since" doc:"windows from here on"`
	Until       time.Time      `json:"until" doc:"to here are closed"`
	Level       string         `json:"level" enum:"standard,pseudonymous,detailed" doc:"as configured"`
	Retired     bool           `json:"retired"`
	Kinds       map[string]int `json:"kinds" doc:"records by kind"`

	Meters   []PreviewMeter     `json:"meters" nullable:"false"`
	Pools    []export.PoolTotal `json:"pools" nullable:"false" doc:"of floating seats"`
	Gaps     []export.Gap       `json:"gaps" nullable:"false" doc:"spans that nothing is known of, the first 1000"`
	GapsAll  uint64             `json:"gaps_all"`
	Findings []export.Finding   `json:"findings" nullable:"false" doc:"what the vendor will ask about, as far as it can be told here"`
	LeftOut  []LeftOut          `json:"left_out" nullable:"false" doc:"what is not in it, and why"`
}

// PreviewMeter is the use of a meter in the next report, in its smallest unit.
type PreviewMeter struct {
	Meter       string `json:"meter"`
	Unit        string `json:"unit,omitempty"`
	Scale       int    `json:"scale"`
	Aggregation string `json:"aggregation"`
	Count       int64  `json:"count" doc:"events"`
	Value       int64  `json:"value" doc:"late records included"`
	LateCount   int64  `json:"late_count"`
	LateValue   int64  `json:"late_value" doc:"of windows that were closed already"`
	Adjusted    int64  `json:"adjusted" doc:"by corrections; not in value"`
	Over        int64  `json:"over" doc:"beyond the limit of the license"`
}

// LeftOut is something that a report does not have.
type LeftOut struct {
	What  string `json:"what"`
	Count int64  `json:"count" doc:"-1: it is not counted"`
	Why   string `json:"why"`
}

// ReportLines is a part of a report, explained.
type ReportLines struct {
	From  uint64        `json:"from"`
	Until uint64        `json:"until"`
	Level string        `json:"level"`
	Lines []export.Line `json:"lines" nullable:"false"`
	Next  uint64        `json:"next,omitempty" doc:"the record to go on with; absent: these were the last lines"`
}

// Verified is what was found in a document.
type Verified struct {
	Kind    string `json:"kind" enum:"report,reply"`
	OK      bool   `json:"ok" doc:"it is whole, and what it says adds up"`
	Own     bool   `json:"own" doc:"it is of this ledger; of another nobody here vouches for the keys"`
	Verdict string `json:"verdict,omitempty" doc:"of a report: ok, explain or reject; of a reply: accepted, refresh or rejected"`

	Checks   []export.Check      `json:"checks" nullable:"false"`
	Findings []export.Finding    `json:"findings" nullable:"false"`
	Code     string              `json:"code,omitempty" doc:"why it is refused"`
	Message  string              `json:"message,omitempty"`
	Hint     string              `json:"hint,omitempty"`
	FixBy    string              `json:"fix_by,omitempty"`
	Record   *int64              `json:"record,omitempty" doc:"the first bad one"`
	Line     uint64              `json:"line,omitempty" doc:"of the text, where it went wrong"`
	LedgerID string              `json:"ledger_id,omitempty"`
	Level    string              `json:"level,omitempty"`
	From     uint64              `json:"from,omitempty"`
	Until    uint64              `json:"until,omitempty"`
	Since    *time.Time          `json:"since,omitempty"`
	To       *time.Time          `json:"to,omitempty" doc:"end of the last window that is closed in it"`
	Totals   []export.MeterTotal `json:"totals" nullable:"false"`
	Bytes    int64               `json:"bytes,omitempty" doc:"of the text"`
	SHA256   string              `json:"sha256,omitempty" doc:"of the text"`
}

// VerifyBytesMax is the size of a document that is verified.
const VerifyBytesMax = export.SizeMaxDefault

// verifiesAtOnce bounds the documents that are verified at once.
const verifiesAtOnce = 2

// Records of a page of lines.
const (
	linesDefault = 200
	linesMax     = 2000
)

type exportedAnswer struct {
	Reports []ExportedReport `json:"reports" nullable:"false"`
}

func (s *server) reportsRoutes() []route {
	if s.Reports == nil {
		return nil
	}
	return []route{{
		Method: http.MethodGet, Path: "/v1/report/preview", ID: "previewReport", Right: access.Read,
		Summary:  "What the next report will say",
		Doc:      "The numbers that an export now would carry, from the same code. Nothing is written and no window is closed.",
		Params:   []param{{Name: "from", Kind: httpapi.Count, Doc: "an accepted size to begin at, 0 for the whole ledger; else where the last receipt ended"}},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Of: ReportPreview{}}},
		Problems: []int{400, 409, 422, 503},
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			out, err := s.Reports.Preview(r.Context(), given64(q, "from"))
			if err != nil {
				return err
			}
			return s.answer(w, http.StatusOK, out)
		},
	}, {
		Method: http.MethodPost, Path: "/v1/report/prepare", ID: "prepareReport", Right: access.Report,
		Summary:  "Close the ledger, and say what the report is",
		Doc:      "The same as POST /v1/report, but the text does not leave: read it with GET /v1/report/lines first.",
		Params:   reportParams[:3],
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Of: PreparedReport{}}},
		Problems: []int{400, 404, 409, 422, 503},
		Serve:    s.postPrepare,
	}, {
		Method: http.MethodGet, Path: "/v1/report/lines", ID: "readReport", Right: access.Report,
		Summary: "Lines of a report with what they mean",
		Doc:     "All pages together are the report, byte for byte.",
		Params: append([]param{
			{Name: "record", Kind: httpapi.Count, Doc: "begin with this record; the head if not given"},
			{Name: "limit", Kind: httpapi.Count, Max: linesMax, Doc: "at most so many records; 200 if not given"},
		}, reportParams[:3]...),
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Of: ReportLines{}}},
		Problems: []int{400, 404, 409, 422, 503},
		Serve:    s.getLines,
	}, {
		Method: http.MethodGet, Path: "/v1/reports", ID: "listReports", Right: access.Read,
		Summary:  "Reports that were written, and what came of them",
		Doc:      "The newest 200, the newest first.",
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Of: exportedAnswer{}}},
		Problems: []int{400, 503},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			list, err := s.Reports.Exported(r.Context())
			if err != nil {
				return storeProblem(err)
			}
			return s.answer(w, http.StatusOK, exportedAnswer{append([]ExportedReport{}, list...)})
		},
	}, {
		Method: http.MethodPost, Path: VerifyPath, ID: "verifyDocument", Right: access.Read,
		Summary:  "Verify a report or a reply",
		Doc:      "It is read once, up to 1 GiB, and not kept. What is wrong with it is in the answer.",
		Body:     []content{{MediaType: "application/octet-stream", Doc: "The file as it came"}},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Of: Verified{}}},
		Problems: []int{400, 413, 415, 429, 503},
		Serve:    s.postVerify,
	}}
}

func given64(q values, name string) *uint64 {
	if !q.Has(name) {
		return nil
	}
	n := q.N[name]
	return &n
}

// who names the sender of r in the list of reports.
func who(r *http.Request) string {
	switch c := CallerOf(r); {
	case c.Operator != "":
		return "operator " + c.Operator
	case c.Token != "":
		return "token " + c.Token
	}
	return ""
}

func (s *server) postPrepare(w http.ResponseWriter, r *http.Request, q values) error {
	rep, err := s.Reporter.Report(r.Context(), ReportOptions{From: given64(q, "from"), Until: given64(q, "until"), Level: q.Text["level"]})
	if err != nil {
		return err
	}
	rep.Close()
	return s.answer(w, http.StatusOK, rep.PreparedReport)
}

func (s *server) getLines(w http.ResponseWriter, r *http.Request, q values) error {
	limit := uint64(linesDefault)
	if q.Has("limit") {
		limit = max(1, q.N["limit"])
	}
	out, err := s.Reports.Lines(r.Context(), ReportOptions{From: given64(q, "from"), Until: given64(q, "until"), Level: q.Text["level"]}, q.N["record"], limit)
	if err != nil {
		return err
	}
	return s.answer(w, http.StatusOK, out)
}

func (s *server) postVerify(w http.ResponseWriter, r *http.Request, _ values) error {
	select {
	case s.verifies <- struct{}{}:
		defer func() { <-s.verifies }()
	default:
		return &Problem{Status: http.StatusTooManyRequests, Code: events.CodeBusy, Message: "as many documents as may be are verified just now", Hint: "send it again a little later"}
	}
	Unhurried(w, r)
	out, err := s.Reports.Verify(r.Context(), r.Body)
	var size *http.MaxBytesError
	if errors.As(err, &size) {
		return &Problem{Status: http.StatusRequestEntityTooLarge, Code: export.CodeSizeTooLarge, Message: "the document is larger than 1 GiB", Hint: "verify it with meterseal report verify"}
	}
	if err != nil {
		return err
	}
	return s.answer(w, http.StatusOK, out)
}

// VerifyPath is where documents are verified, and VerifyPage the page that sends
// them there. Their bodies may be large, and take as long as they go on coming.
const (
	VerifyPath = "/v1/report/verify"
	VerifyPage = "/reports/verify"
)

// Unhurried lets a body take the time that it needs, as long as it does not stop
// for a minute.
func Unhurried(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Time{})
	r.Body = &steady{r.Body, c}
}

type steady struct {
	io.ReadCloser
	c *http.ResponseController
}

func (s *steady) Read(b []byte) (int, error) {
	_ = s.c.SetReadDeadline(time.Now().Add(time.Minute))
	return s.ReadCloser.Read(b)
}

// bodyMax is the size of the body that a request may have.
func bodyMax(r *http.Request) int64 {
	switch r.URL.Path {
	case VerifyPath:
		return VerifyBytesMax
	case VerifyPage:
		return VerifyBytesMax + 64<<10 // a form has a little more
	}
	return MaxBodyBytes
}
