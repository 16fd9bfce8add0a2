package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/exporter"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// docExport has what is known of each export, by its name.
const docExport = "export"

// exporterOptions wires the exporter to the site.
func (s *site) exporterOptions() exporter.Options {
	return exporter.Options{Site: exports{s}, Jobs: s.cfg.Exports, Inbox: s.cfg.Inbox, Label: s.cfg.SiteName, Now: s.now, Log: s.log, Placed: s.placed,
		Describe: func(err error) (code, message, hint string) {
			f := describeError(err)
			return f.Code, f.Message, f.Hint
		}}
}

// placed notes a report of a job among those that were written. Without the note the
// file is there all the same, so the job goes on.
func (s *site) placed(job, name string, w *export.Written) {
	e := console.ExportedReport{PreparedReport: preparedReport(w), Time: s.now().UTC(), Who: "job " + job}
	e.Name = name
	if err := s.keepExported(e); err != nil {
		s.log.Warn("export not noted", "code", describeError(err).Code, "job", job, "err", err)
	}
}

// exports is the site as the exporter sees it.
type exports struct{ *site }

// Report is exporter.Site. A ledger that has ended gives its last report.
func (e exports) Report(ctx context.Context, level export.Level) (*os.File, *export.Written, error) {
	if e.store.Retired() {
		return e.writeReport(ctx, reportRequest{level: level})
	}
	return e.report(ctx, reportRequest{level: level})
}

// Covered is exporter.Site.
func (e exports) Covered() uint64 {
	if r := e.store.Status().Receipt; r != nil {
		return r.Size
	}
	return 0
}

// LedgerID is exporter.Site.
func (e exports) LedgerID() string { return export.LedgerID(e.keys.origin()) }

// Document is exporter.Site.
func (e exports) Document(name string) ([]byte, error) {
	b, err := e.store.Document(docExport, name)
	if errors.Is(err, projections.ErrNotFound) {
		return nil, nil
	}
	return b, err
}

// KeepDocument is exporter.Site.
func (e exports) KeepDocument(name string, content []byte) error {
	return e.store.KeepDocument(docExport, name, content)
}

// Take is exporter.Site. A document that a newer one makes needless is done with.
func (e exports) Take(ctx context.Context, path string) exporter.Taken {
	f := readImport(path, false)
	var out console.Imported
	var err error
	if f.Err == nil {
		out, err = e.importDocument(ctx, f.doc, false)
	}
	if err != nil {
		f.fail(err)
	}
	switch {
	case f.Err != nil && importLater(f.Err):
		return exporter.Taken{Later: true, Code: f.Err.Code, Message: f.Err.Message, Hint: f.Err.Hint}
	case f.Err != nil:
		return exporter.Taken{Refused: f.Err.Code != license.CodeSuperseded, Code: f.Err.Code, Message: f.Err.Message, Hint: f.Err.Hint}
	case out.Reject != nil:
		return exporter.Taken{Refused: true, Code: out.Reject.Code, Message: "the vendor did not accept the report: " + out.Reject.Message, Hint: out.Reject.How}
	}
	e.log.Info("reply imported", "result", out.Result, "path", f.Name)
	f.Imported = &out
	var said strings.Builder
	f.print(&said)
	return exporter.Taken{Message: strings.Join(strings.Fields(said.String()), " ")}
}

// importLater tells whether a failure says nothing about the document itself.
func importLater(f *cli.Failure) bool {
	switch f.Code {
	case "", events.CodeBusy, "internal_error", "config_invalid":
		return true
	}
	return f.Exit == cli.ExitStore
}
