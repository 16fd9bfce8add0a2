package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// memoryMax is what a serving process may have held at once, whatever was sent to it:
// two passwords being hashed are 128 MiB of it.
const memoryMax = 384 << 20

// A target is "serve" in a process of its own, with a customer's token.
type target struct {
	t       *testing.T
	address string // host and port
	pid     int
	token   string
	good    http.Client // of somebody who is not attacked from: 127.0.0.2
}

func startTarget(t *testing.T) *target {
	t.Helper()
	data := filepath.Join(t.TempDir(), "V")
	clock := filepath.Join(t.TempDir(), "clock")
	if err := setClock(clock, "2026-11-02T08:00:00Z"); err != nil {
		t.Fatal(err)
	}
	must := func(args ...string) string {
		code, out, errs := runIn(append(args, "--data", data)...)
		if code != 0 {
			t.Fatalf("%v: %s", args, errs)
		}
		return out
	}
	must("init", "--domain", "vendor.example")
	must("customer", "create", "Acme", "--id", "acme")
	must("user", "add", "kim@acme.example", "--role", "customer", "--customer", "acme")
	var made struct{ Secret string }
	if err := json.Unmarshal([]byte(must("token", "add", "kim@acme.example", "--name", "attack", "--json")), &made); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "meterseal-vendor", "serve", "--data", data, "--listen", "127.0.0.1:0")
	c.Env = append(os.Environ(), "METERSEAL_TEST_CLOCK="+clock)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	u, parsed := url.Parse(strings.TrimSpace(strings.TrimPrefix(line, "portal")))
	if err := errors.Join(err, parsed); err != nil {
		t.Fatal(err)
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	return &target{t: t, address: u.Host, pid: c.Process.Pid, token: made.Secret, good: http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}, Timeout: time.Minute}}
}

// post uploads a body; size -1 does not say how long it is.
func (x *target) post(body io.Reader, size int64, header ...string) (int, error) {
	r, err := http.NewRequest("POST", "http://"+x.address+"/api/v1/reports", body)
	if err != nil {
		return 0, err
	}
	r.ContentLength = size
	r.Header.Set("Authorization", "Bearer "+x.token)
	r.Header.Set("Content-Type", "application/octet-stream")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	io.Copy(io.Discard, a.Body)
	return a.StatusCode, nil
}

// serves checks that somebody else is answered.
func (x *target) serves(when string) {
	x.t.Helper()
	for _, path := range []string{"/sign-in", "/api/v1/reports"} {
		r, err := http.NewRequest("GET", "http://"+x.address+path, nil)
		if err != nil {
			x.t.Fatal(err)
		}
		if strings.HasPrefix(path, "/api/") {
			r.Header.Set("Authorization", "Bearer "+x.token)
		}
		a, err := x.good.Do(r)
		if err != nil {
			x.t.Errorf("GET %s %s: %v", path, when, err)
			continue
		}
		io.Copy(io.Discard, a.Body)
		a.Body.Close()
		if a.StatusCode != http.StatusOK {
			x.t.Errorf("GET %s %s = %d, want 200", path, when, a.StatusCode)
		}
	}
}

// held is what the process held at most.
func (x *target) held() int64 {
	x.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", x.pid))
	if err != nil {
		x.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "VmHWM:")
	kb, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	if err != nil {
		x.t.Fatal(err)
	}
	return kb << 10
}

// Outcome: a bomb, an upload without end, connections that say nothing, and a thousand
// bad uploads at once leave the portal serving, within its memory.
func TestAttacks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc and more than one loopback address")
	}
	t.Parallel()
	x := startTarget(t)
	x.serves("at first")

	t.Run("bomb", func(t *testing.T) {
		size := int64(1 << 30)
		if testing.Short() {
			size = 64 << 20
		}
		for _, head := range []string{"", "meterseal-report/v1\n"} {
			for _, header := range [][]string{nil, {"Content-Encoding", "zstd"}} {
				b := bomb(t, head, size)
				status, err := x.post(bytes.NewReader(b), int64(len(b)), header...)
				if err != nil || status < 400 || status >= 500 {
					t.Errorf("a bomb of %d bytes that gives %d, head %q, %v = %d, %v, want a refusal", len(b), size, head, header, status, err)
				}
			}
		}
		x.serves("after bombs")
	})
	t.Run("endless", func(t *testing.T) {
		for _, size := range []int64{10_000_000_000, -1} {
			body := &endless{left: 10_000_000_000}
			status, err := x.post(body, size)
			// The server may close while we still write: that is a refusal too.
			if err == nil && (status < 400 || status >= 500) {
				t.Errorf("an upload of 10 GB, length %d = %d, want a refusal", size, status)
			}
			if read := body.read.Load(); read > 2<<30 {
				t.Errorf("an upload of 10 GB, length %d: %d bytes were taken, want about 1 GiB at most", size, read)
			}
		}
		x.serves("after uploads without end")
	})
	t.Run("slow", func(t *testing.T) { x.slow(t) })
	t.Run("crowd", func(t *testing.T) { x.crowd(t) })
	t.Run("passwords", func(t *testing.T) { x.guess(t) })
	x.serves("at last")
	// The race detector multiplies it.
	if held := x.held(); held > memoryMax && !raceEnabled {
		t.Errorf("the process held %d MiB at most, want %d", held>>20, memoryMax>>20)
	} else {
		t.Logf("the process held %d MiB at most", held>>20)
	}
}

// bomb is a small file that gives size bytes.
func bomb(t *testing.T, head string, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, head)
	zeros := make([]byte, 1<<20)
	for range size >> 20 {
		w.Write(zeros)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// endless is a body of lines that counts what is read of it, which may go on after
// the answer has come.
type endless struct {
	left int64
	read atomic.Int64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := copy(p, bytes.Repeat([]byte("meterseal-report/v1\n"), len(p)/20+1))
	e.left -= int64(n)
	e.read.Add(int64(n))
	return n, nil
}

// slow opens connections that say little or nothing, and looks how others fare.
func (x *target) slow(t *testing.T) {
	n := 500
	if testing.Short() {
		n = 50
	}
	var open []net.Conn
	for i := range n {
		c, err := net.Dial("tcp", x.address)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer c.Close()
		open = append(open, c)
		switch i % 3 {
		case 0: // half a head
			fmt.Fprintf(c, "POST /api/v1/reports HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
		case 1: // a head and a bit of the body
			fmt.Fprintf(c, "POST /api/v1/reports HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: 100000\r\n\r\nmeter", x.token)
		}
	}
	x.serves("beside slow connections")
	if testing.Short() {
		return
	}
	// The server ends those of the first two kinds by itself.
	for _, i := range []int{0, 1} {
		open[i].SetReadDeadline(time.Now().Add(2 * time.Minute))
		if _, err := io.Copy(io.Discard, open[i]); err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection of kind %d is open after 2 minutes", i)
		}
	}
}

// crowd sends a thousand bad uploads at once.
func (x *target) crowd(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 100
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	counts := map[int]int{}
	for i := range n {
		all.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			body := make([]byte, 1+r.IntN(64<<10))
			for j := range body {
				body[j] = byte(r.Uint32())
			}
			switch i % 4 {
			case 0:
				body = append([]byte("meterseal-report/v1\n"), body...)
			case 1:
				body = append([]byte{0x28, 0xb5, 0x2f, 0xfd}, body...)
			case 2:
				body = bytes.Repeat([]byte("entry 1\n"), 1000)
			}
			status, err := x.post(bytes.NewReader(body), int64(len(body)))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				status = 0 // closed while we wrote
			}
			counts[status]++
		})
	}
	x.serves("beside a crowd")
	all.Wait()
	for status, n := range counts {
		if status != 0 && (status < 400 || status >= 500 && status != http.StatusServiceUnavailable) {
			t.Errorf("%d bad uploads = %d, want refusals", n, status)
		}
	}
	t.Logf("answers by status: %v", counts)
	x.serves("after a crowd")
}

// guess tries passwords at once.
func (x *target) guess(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n := 50
	if testing.Short() {
		n = 10
	}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			form := url.Values{"email": {fmt.Sprintf("u%d@acme.example", i)}, "password": {"guessed and guessed"}}
			r, err := http.NewRequestWithContext(ctx, "POST", "http://"+x.address+"/sign-in", strings.NewReader(form.Encode()))
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Origin", "http://"+x.address)
			a, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			a.Body.Close()
			if a.StatusCode != 401 && a.StatusCode != 429 && a.StatusCode != 503 {
				t.Errorf("a guessed password = %d, want 401, 429 or 503", a.StatusCode)
			}
		})
	}
	all.Wait()
	x.serves("after guesses")
}
