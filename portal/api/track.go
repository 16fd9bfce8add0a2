package api

import (
	"context"
	"net/http"
	"regexp"
	"time"

	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// uploadID is what a client may call an upload.
var uploadID = regexp.MustCompile(`^[A-Za-z0-9_-]{8,64}$`)

// trackEvery is how often a tracker says how far an upload is.
const trackEvery = time.Second

// A tracker notes how far an upload is, for whoever asks any process of the
// portal. nil: its sender gave it no name.
type tracker struct {
	s      *Server
	ctx    context.Context
	holder string
	now    portal.UploadProgress
	noted  time.Time
}

// track begins to note how far the upload of r is.
func (s *Server) track(r *http.Request, file *stream, o *portal.AcceptOptions) (*tracker, error) {
	name := r.Header.Get(uploadHeader)
	if name == "" {
		return nil, nil
	}
	if !uploadID.MatchString(name) {
		return nil, httpapi.BadRequest("header."+uploadHeader, httpapi.Shown(name)+" is no name of an upload", "use 8 to 64 letters, digits, - and _")
	}
	t := &tracker{s: s, ctx: context.WithoutCancel(r.Context()), holder: gate.CallerOf(r.Context()).User,
		now: portal.UploadProgress{ID: name, State: portal.UploadReceiving}}
	t.note(true)
	file.read = func(n int) {
		t.now.Received += int64(n)
		t.note(false)
	}
	o.Progress = func(records uint64) {
		t.now.State, t.now.Records = portal.UploadVerifying, records
		t.note(records == 0)
	}
	return t, nil
}

// note writes it down, at most once in a while unless it must.
func (t *tracker) note(must bool) {
	if !must && time.Since(t.noted) < trackEvery {
		return
	}
	t.noted = time.Now()
	if err := t.s.Portal.SetUploadProgress(t.ctx, t.holder, t.now); err != nil {
		t.s.Log.Warn("progress not noted", "upload", t.now.ID, "err", err)
	}
}

// end notes what the upload came to.
func (t *tracker) end(a *portal.Answer, err error) {
	if t == nil {
		return
	}
	t.now.State = portal.UploadFailed
	if err == nil {
		t.now.State, t.now.ReportID, t.now.Code = portal.UploadDone, a.ReportID, a.Code
	}
	t.note(true)
}
