package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// Bounds of a form with pictures.
const (
	scanBytesMax    = 64 << 20
	scanMemoryMax   = 1 << 20 // the rest goes to temporary files
	scanPicturesMax = 20
	scanLinesMax    = 2000
)

// A scan is what was read from QR codes so far: the page carries it along, the
// portal keeps nothing of it.
type scan struct {
	Lines   []string `json:"lines"`   // parts of a document
	Total   int      `json:"total"`   // parts that there are; 0: none was read
	Missing []int    `json:"missing"` // their numbers
	Code    []string `json:"code"`    // rows of an activation code
	Ready   bool     `json:"ready"`   // the document is complete
	Notes   []string `json:"notes"`   // what could not be used, in sentences
	// Licenses are those that may be activated by a code; read with Code.
	Licenses []activatable `json:"-"`
	doc      []byte
}

// add takes the text of a code.
func (s *scan) add(j *export.Joiner, text string) {
	text = strings.TrimSpace(text)
	switch {
	case text == "" || slices.Contains(s.Lines, text):
	case export.IsParts([]byte(text)):
		if err := j.Add(text); err != nil {
			s.Notes = append(s.Notes, sentence(err.Error())+" "+sentence(hintOf(err)))
			return
		}
		s.Lines = append(s.Lines, text)
	default:
		if _, err := export.ParseActivationCode(text); err != nil {
			s.Notes = append(s.Notes, fmt.Sprintf("A code says “%.40s”: it is no part of a report, and no activation code.", text))
			return
		}
		s.Code = rowsOfCode(text)
	}
}

// finish says what is missing yet.
func (s *scan) finish(j *export.Joiner) {
	s.Total, s.Missing = j.Total(), j.Missing()
	if s.Total == 0 || len(s.Missing) > 0 {
		return
	}
	doc, err := j.Document()
	if err != nil {
		s.Notes = append(s.Notes, sentence(err.Error()))
		return
	}
	s.doc, s.Ready = doc, true
}

func hintOf(err error) string {
	if e := codeError(err); e != nil {
		return e.Hint
	}
	return ""
}

func (s *Server) scanRoutes() []Route {
	return []Route{my("GET", "/my/scan", s.scanPage), my("POST", "/my/scan", s.scan)}
}

func (s *Server) scanPage(w http.ResponseWriter, r *http.Request) error {
	return s.showScan(w, r, &scan{}, nil)
}

func (s *Server) showScan(w http.ResponseWriter, r *http.Request, x *scan, err error) error {
	if x.Code != nil {
		all, err := s.activatables(r)
		if err != nil {
			return err
		}
		x.Licenses = slices.DeleteFunc(all, func(a activatable) bool { return !a.Codes })
	}
	p := page{Title: "Read QR codes", Nav: "activate", Crumbs: []crumb{{"Activate", "/my/activate"}}, Data: x, API: "POST /api/v1/reports"}
	if err != nil {
		return s.again(w, r, "myscan", p, url.Values{}, err)
	}
	return s.show(w, r, "myscan", p)
}

// scan reads the pictures of the form, adds them to what was read before, and sends
// the report in once it is complete and that is asked for. A script gets JSON.
func (s *Server) scan(w http.ResponseWriter, r *http.Request) error {
	x, send, err := s.readScan(w, r)
	if err != nil {
		x = &scan{}
	}
	if r.Header.Get("Accept") == "application/json" {
		return answerJSON(w, x, err)
	}
	if err != nil || !send || !x.Ready {
		return s.showScan(w, r, x, err)
	}
	c := gate.CallerOf(r.Context())
	f, err := s.acceptFrom(r.Context(), bytes.NewReader(x.doc), "QR codes", portal.AcceptOptions{Customer: c.Customer, User: c.Email, Actor: c.Actor()})
	if err != nil {
		return err
	}
	return s.showResults(w, r, []uploaded{f})
}

// answerJSON answers a page's own script.
func answerJSON(w http.ResponseWriter, v any, err error) error {
	status := http.StatusOK
	if err != nil {
		p := problemOf(err)
		status, v = p.Status, map[string]string{"code": p.Code, "message": p.Message, "hint": p.Hint}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(b) //nolint:errcheck // the reader has gone
	return nil
}

// readScan reads the form. send tells whether a complete report is to be sent in.
func (s *Server) readScan(w http.ResponseWriter, r *http.Request) (x *scan, send bool, err error) {
	r.Body = http.MaxBytesReader(w, r.Body, scanBytesMax)
	if err := r.ParseMultipartForm(scanMemoryMax); err != nil {
		return nil, false, badPicture("the pictures cannot be read: %v", err)
	}
	defer func() { _ = r.MultipartForm.RemoveAll() }()
	pictures := r.MultipartForm.File["picture"]
	lines := strings.Split(strings.Join(r.MultipartForm.Value["lines"], "\n"), "\n")
	switch {
	case len(pictures) > scanPicturesMax:
		return nil, false, badPicture("%d pictures at once", len(pictures))
	case len(lines) > scanLinesMax:
		return nil, false, badPicture("more than %d parts: carry the report as a file", scanLinesMax)
	}
	x = &scan{Lines: []string{}, Missing: []int{}, Notes: []string{}}
	var j export.Joiner
	for _, line := range lines {
		x.add(&j, line)
	}
	for _, p := range pictures {
		if p.Size == 0 {
			continue // none was chosen
		}
		texts, err := s.readPicture(r, p)
		if err != nil {
			return nil, false, err
		}
		if len(texts) == 0 {
			x.Notes = append(x.Notes, fmt.Sprintf("No code was found in %q. Take the picture from the front, with the whole code sharp in it.", p.Filename))
		}
		for _, text := range texts {
			x.add(&j, text)
		}
	}
	x.finish(&j)
	return x, r.MultipartForm.Value["send"] != nil, nil
}

// readPicture reads one picture. One at a time is unpacked, whoever sent it: it can
// take much memory.
func (s *Server) readPicture(r *http.Request, p *multipart.FileHeader) ([]string, error) {
	f, err := p.Open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	select {
	case s.scanning <- struct{}{}:
		defer func() { <-s.scanning }()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return readQR(f, pictureTime)
}
