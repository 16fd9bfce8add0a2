package console_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/exporter"
)

// noExports is a site with one export that has never run: what exports do is tested
// with the daemon.
type noExports struct{}

func (noExports) Status() exporter.Overview {
	return exporter.Overview{Exports: []exporter.JobStatus{{Name: "monthly", State: exporter.Failing, MailTo: []string{}, Command: []string{}, Runs: []exporter.Run{}, Last: &exporter.Run{Result: exporter.Failed, Periods: []time.Time{}, Code: exporter.CodeFolder, Message: "it is full"}}}, Inbox: []exporter.InboxStatus{}}
}

func (noExports) Run(name string) (exporter.Run, error) {
	if name != "monthly" {
		return exporter.Run{}, fmt.Errorf("%w: %s", exporter.ErrUnknown, name)
	}
	return exporter.Run{Number: 7, Result: exporter.Exported, Periods: []time.Time{}}, nil
}

// O-13: what the browser shows and does of exports, HTTP does; status names one
// that fails.
func TestExports(t *testing.T) {
	s := newSite(t, func(o *console.Options) { o.Exports = noExports{} })
	var all exporter.Overview
	s.get("/v1/exports").is(http.StatusOK).into(&all)
	if len(all.Exports) != 1 || all.Exports[0].Name != "monthly" {
		t.Errorf("exports = %+v, want monthly", all)
	}
	var run exporter.Run
	s.post("/v1/exports/monthly/run", "", "").is(http.StatusOK).into(&run)
	if run.Number != 7 || run.Result != exporter.Exported {
		t.Errorf("run = %+v, want number 7, exported", run)
	}
	s.post("/v1/exports/weekly/run", "", "").refusedAs(http.StatusNotFound, "not_found")
	var st struct {
		Exports []struct{ Name, State, Code, Message string }
	}
	s.get("/v1/status").is(http.StatusOK).into(&st)
	if len(st.Exports) != 1 || st.Exports[0].State != exporter.Failing || st.Exports[0].Code != exporter.CodeFolder {
		t.Errorf("exports of status = %+v, want monthly, failing with %s", st.Exports, exporter.CodeFolder)
	}
}
