package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// server is a process that is measured: a site, or a raw JetStream.
type server struct {
	cmd  *exec.Cmd
	dir  string // its data
	addr string // NATS
	http string // of a site
	log  *tail
	done chan struct{} // closed when it has ended

	confirm func(ctx context.Context, events int) error
}

// siteFlags declare the one meter of the workload.
var siteFlags = []string{"--meter", meterID + ":sum"}

// startSite starts a site over dir, or over a fresh folder if dir is empty,
// and returns when it takes events.
func (b *bench) startSite(ctx context.Context, dir string, flags ...string) (*server, error) {
	var err error
	if dir == "" {
		if dir, err = b.folder(); err != nil {
			return nil, err
		}
	}
	args := append([]string{"serve", "--data", dir, "--nats", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-level", "warn"}, flags...)
	s, err := start(exec.Command(b.bin, args...), dir)
	if err != nil {
		return nil, err
	}
	for i := 0; s.http == "" || s.addr == ""; i++ {
		line, err := s.log.next(ctx)
		if err != nil {
			s.kill()
			return nil, fmt.Errorf("start site: %w\n%s", err, s.tail())
		}
		for _, word := range strings.Fields(line) {
			if a, ok := strings.CutPrefix(word, "nats://"); ok {
				s.addr = a
			}
			if strings.HasPrefix(word, "http://") {
				s.http = word
			}
		}
	}
	s.confirm = s.confirmSite
	if err := s.ready(ctx); err != nil {
		s.kill()
		return nil, fmt.Errorf("%w\n%s", err, s.tail())
	}
	return s, nil
}

// startRaw starts a raw JetStream in a process of its own.
func (b *bench) startRaw(ctx context.Context, always bool) (*server, error) {
	dir, err := b.folder()
	if err != nil {
		return nil, err
	}
	arg, err := json.Marshal(rawJob{Dir: dir, Always: always})
	if err != nil {
		return nil, err
	}
	s, err := start(exec.Command(b.self, "child", "jetstream", string(arg)), dir)
	if err != nil {
		return nil, err
	}
	if s.addr, err = s.log.next(ctx); err != nil {
		s.kill()
		return nil, fmt.Errorf("start JetStream: %w\n%s", err, s.tail())
	}
	s.confirm = s.confirmRaw
	return s, nil
}

func start(cmd *exec.Cmd, dir string) (*server, error) {
	s := &server{cmd: cmd, dir: dir, log: &tail{lines: make(chan string, 64)}, done: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w.Close()
	go s.log.read(r)
	go func() {
		_ = cmd.Wait()
		close(s.done)
	}()
	return s, nil
}

// tail keeps the newest lines that a process printed.
type tail struct {
	lines chan string // of these, what next wants

	mu   sync.Mutex
	last []string
}

const tailLines = 20

func (t *tail) read(r io.ReadCloser) {
	defer r.Close()
	defer close(t.lines)
	in := bufio.NewScanner(r)
	for in.Scan() {
		t.mu.Lock()
		if t.last = append(t.last, in.Text()); len(t.last) > tailLines {
			t.last = t.last[1:]
		}
		t.mu.Unlock()
		select {
		case t.lines <- in.Text():
		default: // nobody waits for it any more
		}
	}
}

func (t *tail) next(ctx context.Context) (string, error) {
	select {
	case line, ok := <-t.lines:
		if !ok {
			return "", errors.New("it has ended")
		}
		return line, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (s *server) tail() string {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return strings.Join(s.log.last, "\n")
}

// ready waits until a site takes events.
func (s *server) ready(ctx context.Context) error {
	for {
		resp, err := http.Get(s.http + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.done:
			return errors.New("the site has ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// confirmSite fails unless the site counts events 0 to n-1, each once.
func (s *server) confirmSite(ctx context.Context, n int) error {
	var answer struct {
		Rows []struct{ Quantity, Count int64 }
	}
	if err := getJSON(ctx, s.http+"/v1/usage?"+url.Values{"window": {"total"}, "meter": {meterID}}.Encode(), &answer); err != nil {
		return err
	}
	if len(answer.Rows) != 1 || answer.Rows[0].Count != int64(n) || answer.Rows[0].Quantity != quantityOf(n) {
		return fmt.Errorf("the site counts %+v, want %d events of %d in all", answer.Rows, n, quantityOf(n))
	}
	return nil
}

func getJSON(ctx context.Context, u string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", u, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

// groups returns how many groups a site has stored; 0: it is not a site.
func (s *server) groups(ctx context.Context) float64 {
	if s.http == "" {
		return 0
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.http+"/metrics", nil)
	if err != nil {
		return 0
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	in := bufio.NewScanner(resp.Body)
	for in.Scan() {
		if v, ok := strings.CutPrefix(in.Text(), "meterseal_event_group_events_count "); ok {
			n, _ := strconv.ParseFloat(v, 64)
			return n
		}
	}
	return 0
}

// cpu returns the seconds of processor time that s has used so far.
func (s *server) cpu() float64 {
	t, _ := processCPU(s.cmd.Process.Pid)
	return t
}

// stop ends s cleanly and returns the processor time of its whole life.
func (s *server) stop() (cpu float64, err error) {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	select {
	case <-s.done:
	case <-time.After(time.Minute):
		s.kill()
		return 0, errors.New("it does not stop")
	}
	if !s.cmd.ProcessState.Success() {
		return 0, fmt.Errorf("stop: %v", s.cmd.ProcessState)
	}
	return (s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime()).Seconds(), nil
}

// kill ends s at once, if it still runs.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// process is a publisher.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	err strings.Builder
}

func (b *bench) startPublisher(ctx context.Context, j job) (*process, error) {
	arg, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, b.self, "child", "publish", string(arg))}
	p.cmd.Stderr = &p.err
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	return p, p.cmd.Start()
}

// warm waits until the events before those that are measured are answered.
func (p *process) warm() error {
	if line, err := p.out.ReadString('\n'); err != nil || line != "warm\n" {
		return p.failed(err)
	}
	return nil
}

// finish publishes what is measured.
func (p *process) finish() (res jobResult, err error) {
	if _, err := io.WriteString(p.in, "go\n"); err != nil {
		return res, p.failed(err)
	}
	if err := json.NewDecoder(p.out).Decode(&res); err != nil {
		return res, p.failed(err)
	}
	return res, p.cmd.Wait()
}

func (p *process) failed(err error) error {
	p.kill()
	return fmt.Errorf("publisher: %w: %s", err, strings.TrimSpace(p.err.String()))
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// buildMeterseal builds the program as releases are built.
func buildMeterseal(ctx context.Context, dir string) (string, error) {
	bin := filepath.Join(dir, "meterseal")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", bin, "./cmd/meterseal")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build meterseal (run this from the root of the repository): %w\n%s", err, out)
	}
	return bin, nil
}

// folderBytes returns the size of all files below dir.
func folderBytes(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		i, err := d.Info()
		if err == nil {
			n += i.Size()
		}
		return err
	})
	return n, err
}

func joinRemove(err error, dir string) error { return errors.Join(err, os.RemoveAll(dir)) }

// processCPU returns the user and system seconds of a running process.
func processCPU(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, field 2, may hold spaces; 12 and 13 after it are the times.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	user, err1 := strconv.ParseFloat(f[11], 64)
	system, err2 := strconv.ParseFloat(f[12], 64)
	return (user + system) / clockTicks, errors.Join(err1, err2)
}

// clockTicks is USER_HZ, which is 100 on every Linux that Go supports.
const clockTicks = 100

// loadAverage returns how many processes ran or waited in the last minute.
func loadAverage() float64 {
	b, _ := os.ReadFile("/proc/loadavg")
	word, _, _ := strings.Cut(string(b), " ")
	v, _ := strconv.ParseFloat(word, 64)
	return v
}
