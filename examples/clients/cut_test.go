package clients_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// cut stands between a client and the daemon, and loses answers on purpose.
type cut struct {
	url  string
	lost atomic.Bool // an answer that says stored did not get through
}

// cutHTTP answers the first request with 503, as a daemon that has no store now,
// stores what the second one brings but hangs up instead of answering, and lets
// the rest through.
func cutHTTP(t *testing.T, daemon string) *cut {
	t.Helper()
	target, err := url.Parse(daemon)
	if err != nil {
		t.Fatal(err)
	}
	through := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	c := &cut{}
	var requests atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch requests.Add(1) {
		case 1:
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"status":503,"code":"store_unavailable"}`)
		case 2:
			answer := httptest.NewRecorder()
			through.ServeHTTP(answer, r)
			c.lost.Store(answer.Code < 300)
			panic(http.ErrAbortHandler) // hangs up
		default:
			through.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	c.url = srv.URL
	return c
}

// cutNATS hangs up where the first acknowledgement would get through, and lets
// every later connection alone.
func cutNATS(t *testing.T, daemon string) *cut {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	c := &cut{url: "nats://" + listener.Addr().String()}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", strings.TrimPrefix(daemon, "nats://"))
			if err != nil {
				client.Close()
				continue
			}
			go func() {
				_, _ = io.Copy(server, client)
				server.Close()
			}()
			go c.answers(client, server)
		}
	}()
	return c
}

// answers passes on what the server says until that is the first acknowledgement.
func (c *cut) answers(client, server net.Conn) {
	defer client.Close()
	defer server.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if bytes.Contains(buf[:n], []byte(`"seq":`)) && c.lost.CompareAndSwap(false, true) {
			return
		}
		if _, werr := client.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}
