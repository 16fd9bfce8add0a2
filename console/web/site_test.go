package web_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/crashtest"
)

// A site is a running daemon with what a vendor sent, asked as its users do: its
// command line, its HTTP API, a browser.
type site struct {
	t         *testing.T
	dir       string
	url, nats string
	link      string // where the first operator signs in
	proc      *crashtest.Proc
}

// programs is the folder with both programs, built once for all tests.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "meterseal-programs")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", dir, "github.com/meterseal/meterseal/cmd/meterseal", "github.com/meterseal/meterseal/cmd/meterseal-vendor").CombinedOutput()
	if err != nil {
		return dir, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

// TestMain removes what programs made.
func TestMain(m *testing.M) {
	code := m.Run()
	if built {
		dir, _ := programs()
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// built tells whether programs were asked for.
var built bool

// program is the path of one of them.
func program(t *testing.T, name string) string {
	t.Helper()
	built = true
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// siteConfig has something of everything that a site can be told.
const siteConfig = `site: {name: plant north}
license: {key_file: acme.key, solution_name: renderd}
windows: {length: 1m, lateness: 0s}
meters:
  - {id: documents.processed, unit: document, aggregation: count, description: Documents worked on}
  - id: render.pages
    unit: page
    scale: 2
    aggregation: sum
    corrections: true
    event_type: page.rendered
    value: $.pages
    dimensions: {format: $.format}
seats:
  - {id: cad, count: 3, lease: 10m, borrow: 30d}
variables: {disks: "12"}
`

// start runs meterseal serve with a configuration in a folder of its own, with the
// license key of a vendor if it names one.
func start(t *testing.T, config string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	if strings.Contains(config, "acme.key") {
		s.license(time.Now().UTC().AddDate(1, 0, 0), 3)
	}
	s.serve(config, program(t, "meterseal"))
	return s
}

// license has a new vendor issue a license key that ends on a day and has so many
// seats.
func (s *site) license(ends time.Time, seats int) {
	s.t.Helper()
	s.vendor("init", "--domain", "vendor.example")
	s.vendor("license", "issue", "--customer", "Acme GmbH", "--solution", "renderd", "--id", "L-417", "--type", "time-limited", "--expires", ends.Format(time.DateOnly),
		"--report-every", "monthly", "--enforcement", "soft", "--meter", "documents.processed:count:0:document", "--meter", "render.pages:sum:2:page:yes",
		"--limit", "render.pages=100000:20000:monthly", "--seats", fmt.Sprintf("cad:%d,lease=10m,borrow=30d", seats), "--key-out", s.path("acme.key"))
}

// serve runs a program with a configuration. Where the site ran before, it has the
// same addresses again, so that what was open in a browser goes on.
func (s *site) serve(config, path string, env ...string) {
	s.t.Helper()
	s.write("meterseal.yaml", config)
	http, nats := "127.0.0.1:0", "127.0.0.1:0"
	if s.proc != nil {
		if code := s.proc.Stop(); code != 0 {
			s.t.Fatalf("serve ended with %d, want 0\n%s", code, s.proc.Output())
		}
		http, nats = strings.TrimPrefix(s.url, "http://"), strings.TrimPrefix(s.nats, "nats://")
	}
	s.proc = crashtest.Start(s.t, crashtest.Command{Path: path, Dir: s.dir, Env: env,
		Args: []string{"serve", "--config", "meterseal.yaml", "--data", "data", "--http", http, "--nats", nats}})
	s.url = strings.Fields(s.proc.LineWith("http    "))[1]
	if link := strings.TrimPrefix(strings.Fields(s.proc.LineWith("console "))[1], s.url); link != "/" {
		s.link = link
	}
	s.proc.LineWith("ready   ")
	s.nats = strings.Fields(s.proc.LineWith("nats    "))[1]
}

// path is that of a file in the folder of the site.
func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// says runs a command of meterseal in the folder of the site and returns what it
// prints.
func (s *site) says(args ...string) string {
	s.t.Helper()
	if args[0] != "report" || args[1] != "verify" {
		args = append(args, "--http", s.url)
	}
	return s.run("meterseal", args...)
}

// vendor runs a command of meterseal-vendor.
func (s *site) vendor(args ...string) string {
	s.t.Helper()
	return s.run("meterseal-vendor", append(args, "--data", s.path("vendor"))...)
}

func (s *site) run(name string, args ...string) string {
	s.t.Helper()
	cmd := exec.Command(program(s.t, name), args...)
	cmd.Dir = s.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// ask sends a request as a program of this machine and returns the answer, which has
// to be a success; into is filled with it if it is not nil.
func (s *site) ask(method, path string, body, into any) string {
	s.t.Helper()
	var sent io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		sent = strings.NewReader(b)
	default:
		j, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		sent = bytes.NewReader(j)
	}
	r, err := http.NewRequest(method, s.url+path, sent)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		s.t.Fatalf("%s %s = %d %s, %v; want a success", method, path, resp.StatusCode, out, err)
	}
	if into != nil {
		if err := json.Unmarshal(out, into); err != nil {
			s.t.Fatalf("%s %s = %s: %v", method, path, out, err)
		}
	}
	return string(out)
}

// uses sends an event of render.pages from a node.
func (s *site) uses(node, id, pages string) {
	s.t.Helper()
	s.ask("POST", "/v1/events", fmt.Sprintf(`{"id":%q,"node":%q,"meter":"render.pages","quantity":%s,"user":"kim","dimensions":{"format":"pdf"}}`, id, node, pages), nil)
}

// reported exports a report, has the vendor accept it, and imports the reply.
func (s *site) reported() {
	s.t.Helper()
	s.says("report", "export", "--close-now", "--out", "first.usage", "--force")
	s.vendor("accept", "--out", s.path("replies"), s.path("first.usage"))
	s.says("import", filepath.Join("replies", "first.reply"))
}

// page returns the HTML of a page.
func (s *site) page(path string) string {
	s.t.Helper()
	r, err := http.NewRequest("GET", s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s = %d %s, %v; want 200", path, resp.StatusCode, out, err)
	}
	return string(out)
}
