package console

import (
	"errors"
	"net/http"
	"time"

	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/exporter"
	"github.com/meterseal/meterseal/internal/httpapi"
)

// Exports are the jobs that export reports by themselves. An *exporter.Exporter is
// one; it is called by many goroutines at once.
type Exports interface {
	// Status returns the jobs and what became of them.
	Status() exporter.Overview
	// Run runs a job now and returns what came of it. Errors: exporter.ErrUnknown.
	Run(name string) (exporter.Run, error)
}

func (s *server) exportRoutes() []route {
	if s.Exports == nil {
		return nil
	}
	return []route{{
		Method: http.MethodGet, Path: "/v1/exports", ID: "getExports", Right: access.Read,
		Summary: "Exports by a schedule, and the inbox of replies",
		Doc:     "What is configured, when each export comes next, and its last runs. A run lists every period that it stands for, so none is missed in silence.",
		Answers: []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "In the order of the configuration", Of: exporter.Overview{}}},
		Serve: func(w http.ResponseWriter, _ *http.Request, _ values) error {
			return s.answer(w, http.StatusOK, s.Exports.Status())
		},
	}, {
		Method: http.MethodPost, Path: "/v1/exports/{name}/run", ID: "runExport", Right: access.Report,
		Summary:  "Run an export now",
		Doc:      "Answers when the run has ended, well or not: result says which. A run that is under way is finished first. One that failed goes on to be tried again by itself.",
		Params:   []param{{Name: "name", In: "path", Doc: "the export"}},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "What came of it", Of: exporter.Run{}}},
		Problems: []int{400, 404},
		Serve:    s.runExport,
	}}
}

func (s *server) runExport(w http.ResponseWriter, r *http.Request, _ values) error {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // a command may take its time
	run, err := s.Exports.Run(r.PathValue("name"))
	if errors.Is(err, exporter.ErrUnknown) {
		return &Problem{Status: http.StatusNotFound, Code: codeNotFound, Message: "there is no export " + httpapi.Shown(r.PathValue("name")), Hint: "GET /v1/exports lists them; they are made in the configuration"}
	}
	if err != nil {
		return err
	}
	return s.answer(w, http.StatusOK, run)
}

// exportStates are the exports as status shows them.
func (s *server) exportStates() []ExportStatus {
	list := []ExportStatus{}
	if s.Exports == nil {
		return list
	}
	for _, j := range s.Exports.Status().Exports {
		e := ExportStatus{Name: j.Name, State: j.State, Next: j.Next}
		if j.Last != nil && j.State == exporter.Failing {
			e.Code, e.Message, e.Hint = j.Last.Code, j.Last.Message, j.Last.Hint
		}
		list = append(list, e)
	}
	return list
}

// ExportStatus is an export in GET /v1/status.
type ExportStatus struct {
	Name    string    `json:"name"`
	State   string    `json:"state" enum:"waiting,running,failing,overdue"`
	Next    time.Time `json:"next" doc:"the first period that is not done"`
	Code    string    `json:"code,omitempty" doc:"of a failing one"`
	Message string    `json:"message,omitempty"`
	Hint    string    `json:"hint,omitempty"`
}
