package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/meterseal/meterseal/internal/postgrestest"
)

// Ten processes on one PostgreSQL take the reports of one ledger at once, each all
// of them, in an order of its own: every record is booked once, the site is
// activated once, and each process ends in good order when it is asked to (O-19).
func TestTenProcesses(t *testing.T) {
	processes, reports := 10, 20
	if testing.Short() {
		processes, reports = 3, 6
	}
	dir := t.TempDir()
	data, dsn := filepath.Join(dir, "V"), postgrestest.Database(t)
	vendor := func(args ...string) []byte {
		t.Helper()
		var out, errs bytes.Buffer
		// --data, --dsn last: they belong to the command.
		if code := run(t.Context(), systemTime(), append(args, "--data", data, "--dsn", dsn), strings.NewReader(""), &out, &errs); code != 0 {
			t.Fatalf("%v = %d: %s", args, code, errs.String())
		}
		return out.Bytes()
	}
	vendor("init", "--domain", "vendor.example")
	key := filepath.Join(dir, "key")
	vendor("license", "issue", "--id", "L-1", "--customer", "acme", "--solution", "renderd", "--product", "renderd", "--meter", "render.pages:sum:0:page",
		"--policy", "annual-metered", "--key-out", key)
	vendor("user", "add", "bot@vendor.example", "--role", "staff")
	var token struct {
		Secret string `json:"secret"`
	}
	if err := json.Unmarshal(vendor("token", "add", "bot@vendor.example", "--name", "uploads", "--json"), &token); err != nil || token.Secret == "" {
		t.Fatalf("token add: %v", err)
	}
	files, want := make([][]byte, reports), int64(0)
	steps := []string{}
	for i := range files {
		n := int64(3 + 7*i)
		want += n
		steps = append(steps, "use="+strconv.FormatInt(n, 10))
		path := filepath.Join(dir, fmt.Sprintf("%d.usage", i))
		if err := site(append([]string{key, "a", path}, steps...)); err != nil {
			t.Fatal(err)
		}
		var err error
		if files[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	var group sync.WaitGroup
	for range processes {
		p := startProcess(t, "serve", "--data", data, "--dsn", dsn, "--listen", "127.0.0.1:0")
		order := rand.Perm(reports)
		group.Go(func() {
			var each sync.WaitGroup
			for _, i := range order {
				each.Go(func() { p.upload(token.Secret, files[i]) })
			}
			each.Wait()
		})
		defer p.end()
	}
	group.Wait()
	var statement struct {
		Rows []struct {
			Quantity int64  `json:"quantity"`
			Events   uint64 `json:"events"`
		} `json:"rows"`
	}
	out := vendor("statement", "--from", "2020-01-01", "--to", "2040-01-01", "--period", "none", "--json")
	if err := json.Unmarshal(out, &statement); err != nil {
		t.Fatal(err)
	}
	if len(statement.Rows) != 1 || statement.Rows[0].Quantity != want || statement.Rows[0].Events != uint64(reports) {
		t.Errorf("statement = %s, want %d pages in %d events", out, want, reports)
	}
	if list := string(vendor("site", "list", "--json")); strings.Count(list, `"ledger_id"`) != 1 {
		t.Errorf("sites = %s, want one ledger", list)
	}
}

// aProcess is a program of its own.
type aProcess struct {
	t    *testing.T
	cmd  *exec.Cmd
	base string
	errs *syncBuffer
}

// startProcess starts the program of this test as one of its own, and waits until
// it says where it listens.
func startProcess(t *testing.T, args ...string) *aProcess {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &aProcess{t: t, errs: &syncBuffer{}}
	p.cmd = exec.Command(self)
	p.cmd.Args = append([]string{"meterseal-vendor"}, args...)
	p.cmd.Stderr = p.errs
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("%v ended: %v %s", args, p.cmd.Wait(), p.errs)
	}
	go io.Copy(io.Discard, r)
	p.base = strings.TrimSuffix(strings.TrimSpace(strings.TrimPrefix(line, "portal")), "/")
	return p
}

// upload sends a report, which has to be accepted or known.
func (p *aProcess) upload(token string, file []byte) {
	r, err := http.NewRequest("POST", p.base+"/api/v1/reports", bytes.NewReader(file))
	if err != nil {
		p.t.Error(err)
		return
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/octet-stream")
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Error(err)
		return
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode != http.StatusOK {
		p.t.Errorf("upload = %d, %v: %s", a.StatusCode, err, body)
	}
}

// end asks the process to end, which it has to do in good order.
func (p *aProcess) end() {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Error(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("serve ended with %v: %s", err, p.errs)
	}
}
