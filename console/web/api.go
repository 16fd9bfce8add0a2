package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/meterseal/meterseal/console"
)

// A Problem is a refusal of the API, or of a page itself.
type Problem struct {
	Status  int                  `json:"status"`
	Code    string               `json:"code"`
	Message string               `json:"message"`
	Hint    string               `json:"hint"`
	FixBy   string               `json:"fix_by"`
	Errors  []console.FieldError `json:"errors"`
}

// Error returns "code: message".
func (p *Problem) Error() string { return p.Code + ": " + p.Message }

// answerBytesMax bounds what a page reads of an answer.
const answerBytesMax = 64 << 20

// get asks the API as whoever sent r, and reads the JSON of the answer into v. A
// refusal is a [*Problem].
func (s *Server) get(r *http.Request, path string, v any) error {
	return s.call(r, http.MethodGet, path, nil, v)
}

// call sends a request with body as JSON (nil: none), and reads the JSON of the
// answer into v (nil: there is nothing to read).
func (s *Server) call(r *http.Request, method, path string, body, v any) error {
	var sent io.Reader
	kind := ""
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent, kind = bytes.NewReader(b), "application/json"
	}
	data, _, err := s.send(r, method, path, kind, sent)
	if err != nil || v == nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("web: %s %s: %w", method, path, err)
	}
	return nil
}

// send sends a body of any kind and returns the answer as it is.
func (s *Server) send(r *http.Request, method, path, kind string, body io.Reader) ([]byte, http.Header, error) {
	a := &answer{header: http.Header{}}
	if err := s.ask(a, r, method, path, kind, body); err != nil {
		return nil, nil, err
	}
	if err := a.refusal(); err != nil {
		return nil, nil, err
	}
	return a.body.Bytes(), a.header, nil
}

// pass lets the API answer the browser itself, for files of any size. Its refusals
// are returned.
func (s *Server) pass(w http.ResponseWriter, r *http.Request, method, path, kind string, body io.Reader) error {
	a := &answer{header: http.Header{}, through: w}
	if err := s.ask(a, r, method, path, kind, body); err != nil {
		return err
	}
	return a.refusal()
}

// ask sends a request to the API: a new one, with the caller of r.
func (s *Server) ask(a *answer, r *http.Request, method, path, kind string, body io.Reader) error {
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return fmt.Errorf("web: %w", err)
	}
	ctx := context.WithoutCancel(r.Context())
	if method == http.MethodGet {
		ctx = r.Context()
	}
	q, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return fmt.Errorf("web: %w", err)
	}
	q.Host, q.RemoteAddr = r.Host, r.RemoteAddr
	if q.Body == nil {
		q.Body = http.NoBody
	}
	if kind != "" {
		q.Header.Set("Content-Type", kind)
	}
	s.API.ServeHTTP(a, q)
	return nil
}

// An answer is what the API writes: kept, or let through to a browser unless it is a
// refusal.
type answer struct {
	through http.ResponseWriter
	header  http.Header
	status  int
	body    bytes.Buffer
}

// Header is http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader is http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status != 0 {
		return
	}
	a.status = status
	if a.refused() || a.through == nil {
		return
	}
	for k, v := range a.header {
		a.through.Header()[k] = v
	}
	a.through.WriteHeader(status)
}

// Write is http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.through != nil && !a.refused() {
		return a.through.Write(b)
	}
	if a.body.Len()+len(b) > answerBytesMax {
		return 0, fmt.Errorf("web: the answer is larger than %d bytes", answerBytesMax)
	}
	return a.body.Write(b)
}

// Unwrap lets the API reach the connection, to extend its deadline.
func (a *answer) Unwrap() http.ResponseWriter { return a.through }

func (a *answer) refused() bool {
	return a.status >= 400 && strings.HasPrefix(a.header.Get("Content-Type"), "application/problem+json")
}

// refusal returns the refusal that the API answered; nil: none.
func (a *answer) refusal() error {
	if !a.refused() {
		return nil
	}
	p := &Problem{}
	if err := json.Unmarshal(a.body.Bytes(), p); err != nil {
		return fmt.Errorf("web: %w", err)
	}
	return p
}
