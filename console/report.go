package console

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/httpapi"
)

func (s *server) reportRoutes() []route {
	list := []route{{
		Method: http.MethodPost, Path: "/v1/report", ID: "exportReport", Right: access.Report,
		Summary: "Write a usage report",
		Doc:     "The report covers closed windows only, removes nothing, and is the same again as long as nothing new is recorded.",
		Params: append([]param{
			{Name: "close_now", Kind: httpapi.Flag, Doc: "first close the open windows: for demonstrations and tests; needs the right admin too"},
			{Name: "message", Doc: "goes to the log of the site, never into the report"},
		}, reportParams[:]...),
		Body: []content{{MediaType: jsonType, Doc: "instead of parameters", Of: reportBody{}}}, BodyOptional: true,
		Answers:  []content{{Status: http.StatusOK, MediaType: textType, Doc: "The report; Content-Disposition has its name"}},
		Problems: []int{400, 404, 409, 413, 415, 422, 503},
		Serve:    s.postReport,
	}}
	list = append(list, s.reportsRoutes()...)
	if s.Backup == nil {
		return list
	}
	return append(list, route{
		Method: http.MethodPost, Path: "/v1/backup", ID: "writeBackup", Right: access.Admin,
		Summary:  "Write a backup while the daemon runs",
		Doc:      "It never holds the private keys: keep the folder keys of the data directory apart.",
		Answers:  []content{{Status: http.StatusOK, MediaType: backupType, Doc: "A consistent archive"}},
		Problems: []int{400, 503},
		Serve:    s.postBackup,
	})
}

// reportParams say which report is meant.
var reportParams = [...]param{
	{Name: "from", Kind: httpapi.Count, Doc: "an accepted size to begin at, 0 for the whole ledger; else where the last receipt ended"},
	{Name: "until", Kind: httpapi.Count, Doc: "the size that an earlier close ended with; else the ledger is closed now"},
	{Name: "level", Enum: reportLevels, Doc: "what it shows of single events; as configured if not given"},
}

var reportLevels = []string{"standard", "pseudonymous", "detailed"}

// reportBody is what POST /v1/report takes, as a body or as parameters.
type reportBody struct {
	From     *uint64 `json:"from,omitempty" doc:"an accepted size to begin at, 0 for the whole ledger; else where the last receipt ended"`
	Until    *uint64 `json:"until,omitempty" doc:"the size that an earlier close ended with; else the ledger is closed now"`
	Level    string  `json:"level,omitempty" enum:"standard,pseudonymous,detailed"`
	CloseNow bool    `json:"close_now,omitempty" doc:"first close the open windows"`
	Message  string  `json:"message,omitempty" maxLength:"1024" doc:"goes to the log of the site, never into the report"`
}

const maxMessageBytes = 1024

const backupType = "application/zstd"

// readJSON reads a JSON body strictly into v; given is false if there is none.
func readJSON(r *http.Request, v any) (given bool, err error) {
	data, err := readBody(r)
	if err != nil || len(bytes.TrimSpace(data)) == 0 {
		return false, err
	}
	if t, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); t != jsonType {
		return true, &Problem{Status: http.StatusBadRequest, Code: "malformed", Message: "the body is " + shown(t), Hint: "send " + jsonType}
	}
	if err := events.ReadStrict(data, v); err != nil {
		return true, badRequest("body", err.Message, "GET /openapi.json describes the body")
	}
	return true, nil
}

func (s *server) postReport(w http.ResponseWriter, r *http.Request, q values) error {
	if s.StoreDisabled || s.Reporter == nil {
		return noStore()
	}
	ask := reportBody{From: given64(q, "from"), Until: given64(q, "until"), Level: q.Text["level"], CloseNow: q.Flag["close_now"], Message: q.Text["message"]}
	if given, err := readJSON(r, &ask); err != nil {
		return err
	} else if given && r.URL.RawQuery != "" {
		return badRequest("query", "there is a body too", "send parameters or a body")
	}
	if ask.Level != "" && !slices.Contains(reportLevels, ask.Level) {
		return badRequest("body.level", shown(ask.Level)+" is none of "+strings.Join(reportLevels, ", "), "leave it out to use the configured level")
	}
	if len(ask.Message) > maxMessageBytes {
		return badRequest("body.message", fmt.Sprintf("has %d bytes, at most %d are allowed", len(ask.Message), maxMessageBytes), "shorten it")
	}
	if ask.CloseNow { // cuts windows short for everybody
		if err := s.permit(r, access.Admin); err != nil {
			return err
		}
	}
	begin := s.Now()
	rep, err := s.Reporter.Report(r.Context(), ReportOptions(ask))
	if err != nil {
		return err
	}
	defer rep.Close()
	size, err := s.stream(w, textType, rep.Name, rep.Write)
	if err != nil {
		return err
	}
	s.Log.Info("report exported", "path", rep.Name, "size", size, "level", cmp.Or(ask.Level, "configured"), "message", ask.Message,
		"operator", CallerOf(r).Operator, "elapsed", s.Now().Sub(begin))
	if s.Reports != nil {
		err := s.Reports.KeepExported(ExportedReport{PreparedReport: rep.PreparedReport, Time: begin.UTC(), Who: who(r), Message: ask.Message})
		if err != nil { // the report has left all the same
			s.Log.Error("exported report not noted", "path", rep.Name, "err", err)
		}
	}
	return nil
}

// stream answers with what write writes, as a file called name. It may be large
// and gets the time that it needs. An error means that nothing was written; one
// that comes later cuts the connection, so that no client takes a part for the
// whole.
func (s *server) stream(w http.ResponseWriter, contentType, name string, write func(io.Writer) error) (size int64, err error) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	out := &counter{w: w}
	if err := write(out); err != nil {
		if out.n == 0 {
			h.Del("Content-Disposition")
			return 0, err
		}
		s.Log.Warn("download cut off", "path", name, "size", out.n, "err", err)
		panic(http.ErrAbortHandler)
	}
	return out.n, nil
}

// counter counts what it writes. Writing nothing does not begin the answer.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

func (s *server) postBackup(w http.ResponseWriter, r *http.Request, _ values) error {
	begin := s.Now()
	name := "meterseal-" + begin.UTC().Format("20060102T150405Z") + ".backup"
	size, err := s.stream(w, backupType, name, func(w io.Writer) error { return s.Backup(r.Context(), w) })
	if err != nil {
		return err
	}
	s.Log.Info("backup written", "path", name, "size", size, "elapsed", s.Now().Sub(begin))
	return nil
}
