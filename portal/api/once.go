package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// onceHeader names a request, so that it has an effect once.
const onceHeader = "Idempotency-Key"

// onceKeyMax is the longest key.
const onceKeyMax = 255

// repeatable are the routes that need no key: they change nothing, or a report
// that is sent again is known by its content.
var repeatable = []string{"sendReport", "checkReport", "draftLicense"}

// once lets a request that is sent again with its key be answered as before. The
// answer is remembered for a day; a refusal is not, since it changed nothing and
// may be another one by then.
func (s *Server) once(rt *Route) {
	serve := rt.Serve
	rt.Params = append(slices.Clip(rt.Params), param{Name: onceHeader, In: "header",
		Doc: "a name of your choice: sent again within a day, the request is answered as before and nothing is done twice"})
	rt.Serve = func(w http.ResponseWriter, r *http.Request, q values) error {
		body, err := readBody(w, r)
		if err != nil {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.Header.Del("Content-Encoding")
		// A change that has begun ends, also if nobody waits for the answer.
		ctx := context.WithoutCancel(r.Context())
		r = r.WithContext(ctx)
		key := r.Header.Get(onceHeader)
		if key == "" {
			return serve(w, r, q)
		}
		if len(key) > onceKeyMax {
			return httpapi.BadRequest("header."+onceHeader, fmt.Sprintf("has %d bytes", len(key)), fmt.Sprintf("a key has at most %d", onceKeyMax))
		}
		sum := sha256.New()
		fmt.Fprintf(sum, "%s %s\n", r.Method, r.URL.RequestURI())
		sum.Write(body)
		ask := portal.OnceRequest{Holder: gate.CallerOf(ctx).User, Key: key, Digest: hex.EncodeToString(sum.Sum(nil))}
		before, err := s.Portal.BeginOnce(ctx, ask)
		if err != nil {
			return err
		}
		if before != nil {
			replay(w, before)
			return nil
		}
		return s.first(w, r, q, ask, serve)
	}
}

// first serves a request with a key for the first time.
func (s *Server) first(w http.ResponseWriter, r *http.Request, q values, ask portal.OnceRequest, serve func(http.ResponseWriter, *http.Request, values) error) error {
	rec, ended := &recorder{header: w.Header(), status: http.StatusOK}, false
	defer func() {
		if !ended { // it panicked
			s.noted(s.Portal.LoseOnce(r.Context(), ask))
		}
	}()
	err := serve(rec, r, q)
	ended = true
	switch {
	case err != nil && problemOf(err).Status < 500:
		s.noted(s.Portal.ForgetOnce(r.Context(), ask))
		return err
	case err != nil:
		s.noted(s.Portal.LoseOnce(r.Context(), ask))
		return err
	}
	a := portal.OnceAnswer{Status: rec.status, Header: map[string]string{}, Body: rec.body.String()}
	for _, name := range []string{"Content-Type", "ETag", "Location"} {
		if v := rec.header.Get(name); v != "" {
			a.Header[name] = v
		}
	}
	s.noted(s.Portal.EndOnce(r.Context(), ask, a, rec.secret))
	write(w, &a)
	return nil
}

// noted logs that an answer could not be remembered: the change is made all the
// same, and its key says answer_lost.
func (s *Server) noted(err error) {
	if err != nil {
		s.Log.Error("answer not remembered", "err", err)
	}
}

func replay(w http.ResponseWriter, a *portal.OnceAnswer) {
	w.Header().Set("Idempotency-Replayed", "true")
	write(w, a)
}

func write(w http.ResponseWriter, a *portal.OnceAnswer) {
	for name, v := range a.Header {
		w.Header().Set(name, v)
	}
	w.WriteHeader(a.Status)
	_, _ = io.WriteString(w, a.Body) // who is gone asks again
}

// A recorder keeps an answer until it is remembered.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
	secret bool
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// keepSecret says that the answer has a secret, which must not be remembered.
func keepSecret(w http.ResponseWriter) {
	if rec, ok := w.(*recorder); ok {
		rec.secret = true
	}
}
