package clients_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/crashtest"
)

// A client is one of the examples. Each takes JOB and TIME, records three
// documents of 12, 8 and 10 pages, and ends with 0 when they are stored.
type client struct {
	name    string
	program string // with which the example runs
	file    string
	tool    func(t *testing.T) (path string) // a folder for PATH, of what is built; nil: none
	modules bool                             // wants the packages of package.json
	nats    bool                             // else HTTP
}

var clients = []client{
	{name: "nats", program: "sh", file: "nats.sh", tool: natsCLI, nats: true},
	{name: "node", program: "node", file: "nats.mjs", modules: true, nats: true},
	{name: "cloudevents", program: "node", file: "cloudevents.mjs", modules: true},
	{name: "openmeter", program: "node", file: "openmeter.mjs", modules: true},
	{name: "curl", program: "sh", file: "curl.sh"},
	{name: "python", program: "python3", file: "record.py"},
}

// Every client counts its job once, however often it is run, also after the
// daemon was killed: what it was told is stored was on the disk. (Y-01, YD-4)
func TestClients(t *testing.T) {
	s := startSite(t, "meterseal.yaml")
	t.Run("once", func(t *testing.T) {
		each(t, func(t *testing.T, c *client) {
			for range 2 {
				if out, err := c.run(t, s.nats, s.http, "job-17"); err != nil {
					t.Fatalf("%s: %v\n%s", c.file, err, out)
				}
				s.holds(t, c.name, 3, 30)
			}
		})
	})
	s.proc.Kill()
	s.start(t)
	t.Run("after a crash", func(t *testing.T) {
		each(t, func(t *testing.T, c *client) {
			s.holds(t, c.name, 3, 30)
			if out, err := c.run(t, s.nats, s.http, "job-17"); err != nil {
				t.Fatalf("%s: %v\n%s", c.file, err, out)
			}
			s.holds(t, c.name, 3, 30)
			if out, err := c.run(t, s.nats, s.http, "job-18"); err != nil {
				t.Fatalf("%s: %v\n%s", c.file, err, out)
			}
			s.holds(t, c.name, 6, 60)
		})
	})
}

// A lost answer, a cut connection and a daemon that has no time cost nothing:
// each client sends again, and what was stored already counts once.
func TestLostAnswers(t *testing.T) {
	s := startSite(t, "meterseal.yaml")
	each(t, func(t *testing.T, c *client) {
		nats, http := cutNATS(t, s.nats), cutHTTP(t, s.http)
		if out, err := c.run(t, nats.url, http.url, "job-17"); err != nil {
			t.Fatalf("%s: %v\n%s", c.file, err, out)
		}
		s.holds(t, c.name, 3, 30)
		lost := &http.lost
		if c.nats {
			lost = &nats.lost
		}
		if !lost.Load() {
			t.Errorf("%s: no answer was lost on the way, so this proves nothing", c.file)
		}
		if got := s.accepted(t, c.name); got <= 3 {
			t.Errorf("%s: %d events arrived, want more than the 3 that count", c.file, got)
		}
	})
}

// No client takes a refusal for success, or sends it for ever. (Y-05)
func TestRefused(t *testing.T) {
	config := filepath.Join(t.TempDir(), "other.yaml")
	if err := os.WriteFile(config, []byte("meters:\n  - id: documents.scanned\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startSite(t, config)
	each(t, func(t *testing.T, c *client) {
		out, err := c.run(t, s.nats, s.http, "job-17")
		var ended *exec.ExitError
		if !errors.As(err, &ended) || !strings.Contains(out, "unknown_meter") {
			t.Errorf("%s: %v, want an exit code and unknown_meter; it printed:\n%s", c.file, err, out)
		}
	})
}

// each runs f for every client side by side, and waits for all of them.
func each(t *testing.T, f func(t *testing.T, c *client)) {
	t.Run("clients", func(t *testing.T) {
		for i := range clients {
			t.Run(clients[i].name, func(t *testing.T) {
				t.Parallel()
				f(t, &clients[i])
			})
		}
	})
}

// run runs the example to its end, in the name of a node that is called as it.
// env are further variables.
func (c *client) run(t *testing.T, nats, http, job string, env ...string) (output string, err error) {
	t.Helper()
	program, err := exec.LookPath(c.program)
	if err != nil {
		t.Skipf("SKIPPED: there is no %s here, so %s is not tested; go tool task deps installs it", c.program, c.file)
	}
	file, path := c.file, os.Getenv("PATH")
	if c.modules {
		file = filepath.Join(modules(t), c.file)
	}
	if c.tool != nil {
		path = c.tool(t) + string(filepath.ListSeparator) + path
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, file, job, printed)
	cmd.Env = append(os.Environ(), "PATH="+path, "HOME="+t.TempDir(),
		"NATS_URL="+nats, "METERSEAL_URL="+http, "METERSEAL_NODE="+c.name)
	cmd.Env = append(cmd.Env, env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

// printed is when the jobs were printed: once, so that a job sent again is the same.
var printed = time.Now().UTC().Add(-time.Minute).Format(time.RFC3339)

// site is the released program at work.
type site struct {
	dir        string // of its data
	args       []string
	proc       *crashtest.Proc
	nats, http string
	token      string // for the questions of the test; empty: none is wanted
}

// startSite starts a daemon with its data in a folder of the test's.
func startSite(t *testing.T, config string, args ...string) *site {
	t.Helper()
	s := newSite(t, config, args...)
	s.start(t)
	return s
}

// newSite is startSite without the start.
func newSite(t *testing.T, config string, args ...string) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("clients and programs are as released here, which the run without -short tests")
	}
	s := &site{dir: t.TempDir()}
	s.args = append([]string{"serve", "--config", config, "--data", s.dir, "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0", "--log-format", "json"}, args...)
	return s
}

func (s *site) start(t *testing.T) {
	t.Helper()
	path, err := program("meterseal")
	if err != nil {
		t.Fatal(err)
	}
	s.proc = crashtest.Start(t, crashtest.Command{Path: path, Args: s.args})
	ready := s.proc.JSON("http", "nats")
	s.http, s.nats = ready["http"].(string), ready["nats"].(string)
}

// get asks the daemon.
func (s *site) get(t *testing.T, path string, answer any) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, s.http+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.token != "" {
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v", path, resp.Status, err)
	}
}

// holds expects what was counted of a node.
func (s *site) holds(t *testing.T, node string, count, pages uint64) {
	t.Helper()
	var u struct {
		Rows []struct {
			Quantity, Count uint64
			Dimensions      map[string]string
		}
	}
	s.get(t, "/v1/usage?window=total&meter=render.pages&by=format&node="+node, &u)
	if len(u.Rows) != 1 || u.Rows[0].Count != count || u.Rows[0].Quantity != pages || u.Rows[0].Dimensions["format"] != "pdf" {
		t.Errorf("usage of %s = %+v, want %d pages of %d documents, all pdf", node, u.Rows, pages, count)
	}
}

// accepted returns how many events of a node arrived, those that came again
// included.
func (s *site) accepted(t *testing.T, node string) int {
	t.Helper()
	var st struct {
		Nodes []struct {
			Name     string
			Accepted int
		}
	}
	s.get(t, "/v1/status", &st)
	for _, n := range st.Nodes {
		if n.Name == node {
			return n.Accepted
		}
	}
	return 0
}
