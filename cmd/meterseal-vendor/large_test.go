package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/internal/postgrestest"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// A report of a million records, and what its intake may take.
const (
	largeRecords  = 1_000_000
	largeTimeMax  = 10 * time.Second // where METERSEAL_SPEED names the file of results
	largeBytesMax = 256 << 20        // resident, at most at any time
)

// A report of a million records goes through the server as it runs for people: it
// is accepted whole, and the process stays small. // O-02
func TestLargeUpload(t *testing.T) {
	if runtime.GOOS != "linux" || testing.Short() {
		t.Skip("needs /proc, and some seconds")
	}
	for _, store := range []string{"sqlite", "postgres"} {
		t.Run(store, func(t *testing.T) {
			dir := t.TempDir()
			at := []string{"--data", filepath.Join(dir, "V")}
			if store == "postgres" {
				at = append(at, "--dsn", postgrestest.Database(t))
			}
			vendor := func(args ...string) []byte {
				t.Helper()
				var out, errs bytes.Buffer
				if code := run(t.Context(), systemTime(), append(args, at...), strings.NewReader(""), &out, &errs); code != 0 {
					t.Fatalf("%v = %d: %s", args, code, errs.String())
				}
				return out.Bytes()
			}
			vendor("init", "--domain", "vendor.example")
			key := filepath.Join(dir, "key")
			args := []string{"license", "issue", "--id", "L-1", "--customer", "acme", "--solution", "renderd", "--product", "renderd", "--policy", "annual-metered", "--key-out", key}
			for i := range 4 {
				args = append(args, "--meter", fmt.Sprintf("render.pages-%d:sum:0:page", i))
			}
			vendor(args...)
			vendor("user", "add", "bot@vendor.example", "--role", "staff")
			var token struct {
				Secret string `json:"secret"`
			}
			if err := json.Unmarshal(vendor("token", "add", "bot@vendor.example", "--name", "uploads", "--json"), &token); err != nil {
				t.Fatal(err)
			}
			path, size := largeReportOf(t, dir, key)
			p := startProcess(t, append([]string{"serve", "--listen", "127.0.0.1:0"}, at...)...)
			defer p.end()
			took := p.sendFile(token.Secret, path, size)
			most := p.residentMost()
			t.Logf("%s: %d records in %v, resident %d MiB at most", store, size, took.Round(10*time.Millisecond), most>>20)
			if most > largeBytesMax {
				t.Errorf("the server had %d MiB resident, want at most %d", most>>20, largeBytesMax>>20)
			}
			if file := os.Getenv("METERSEAL_SPEED"); file != "" {
				if took > largeTimeMax {
					t.Errorf("the upload took %v, want at most %v", took, largeTimeMax)
				}
				f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				fmt.Fprintf(f, "%s: a report of %d records is accepted in %.1f s, %d MiB resident at most\n", store, size, took.Seconds(), most>>20)
			}
		})
	}
}

// largeReportOf writes the report of a site that was opened with a license key,
// its windows in the past.
func largeReportOf(t *testing.T, dir, keyFile string) (path string, size uint64) {
	t.Helper()
	text, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	note, err := license.ParseKey(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	n, err := ledger.ParseNote(note, ledger.NoteBytesMax)
	if err != nil {
		t.Fatal(err)
	}
	path, size, _, err = exporttest.LargeReportOf(dir, largeRecords, exporttest.Opening{Domain: "vendor.example", License: "L-1", Word: "large", Note: note, KeyID: n.Sigs[0].KeyID,
		Time: time.Now().AddDate(0, 0, -80).Unix() / 86_400 * 86_400})
	if err != nil {
		t.Fatal(err)
	}
	return path, size
}

// sendFile uploads a report from disk, which has to be accepted, and says how long
// the answer took.
func (p *aProcess) sendFile(token, path string, size uint64) time.Duration {
	p.t.Helper()
	f, err := os.Open(path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	r, err := http.NewRequest("POST", p.base+"/api/v1/reports", f)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/octet-stream")
	began := time.Now()
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	took := time.Since(began)
	var answer struct {
		Size uint64 `json:"size"`
	}
	if err != nil || a.StatusCode != http.StatusOK || json.Unmarshal(body, &answer) != nil || answer.Size != size {
		p.t.Fatalf("upload = %d, %v: %.2000s, want %d records accepted", a.StatusCode, err, body, size)
	}
	return took
}

// residentMost is the most memory that the process had resident, bytes.
func (p *aProcess) residentMost() int64 {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(after)
	if len(fields) == 0 {
		p.t.Fatalf("no VmHWM in %s", status)
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return kb << 10
}
