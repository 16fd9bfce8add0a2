package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/export/exporttest"
)

// child runs this program in a role and returns what it prints.
func (b *bench) child(ctx context.Context, role string, job any) (res jobResult, err error) {
	arg, err := json.Marshal(job)
	if err != nil {
		return res, err
	}
	cmd := exec.CommandContext(ctx, b.self, "child", role, string(arg))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return res, fmt.Errorf("%s: %w", role, err)
	}
	return res, json.Unmarshal(out, &res)
}

// reportFile is a large report on disk.
type reportFile struct {
	path    string
	vkey    string
	records uint64
}

const reportRecords = 1_000_000

// verifyReport times "meterseal report verify", start of the process included,
// and takes the most anonymous memory that it had.
func (b *bench) verifyReport(ctx context.Context, _ *row) (values, error) {
	if b.report == nil {
		path, size, vkey, err := exporttest.LargeReport(b.tmp, reportRecords)
		if err != nil {
			return nil, err
		}
		b.report = &reportFile{path: path, vkey: vkey, records: size}
	}
	cmd := exec.CommandContext(ctx, b.bin, "report", "verify", "--site-key", b.report.vkey, b.report.path)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	peak := 0.0
	for {
		select {
		case err := <-done:
			if err != nil {
				return nil, fmt.Errorf("report verify: %w\n%s", err, out.String())
			}
			return values{recordsSecond: float64(b.report.records) / time.Since(started).Seconds(), rssAnonPeak: peak}, nil
		case <-time.After(2 * time.Millisecond):
			peak = max(peak, rssAnonMiB(cmd.Process.Pid))
		}
	}
}

// rssAnonMiB returns the anonymous memory of a running process; 0: it has ended.
func rssAnonMiB(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024
		}
	}
	return 0
}

// nasaRequests is the length of the trace that the demo replays.
const nasaRequests = 3_461_610

// restart times a start over the NASA history, from exec to ready: after a
// clean stop, and after kill -9.
func (b *bench) restart(ctx context.Context, _ *row) (values, error) {
	if b.demo == "" {
		dir := filepath.Join(b.tmp, "demo")
		if out, err := exec.CommandContext(ctx, b.bin, "demo", "--dir", dir).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("demo: %w\n%s", err, out)
		}
		b.demo = filepath.Join(dir, "data")
	}
	v := values{}
	for _, m := range []metric{readySeconds, readyKilled} {
		started := time.Now()
		s, err := b.startSite(ctx, b.demo, "--clock", "trace", "--meter", "documents.processed:count:0:document")
		if err != nil {
			return nil, err
		}
		v[m] = time.Since(started).Seconds()
		if err := s.confirmNASA(ctx); err != nil {
			s.kill()
			return nil, err
		}
		if m == readySeconds {
			s.kill() // the next start comes after this
		} else if _, err := s.stop(); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (s *server) confirmNASA(ctx context.Context) error {
	var answer struct{ Rows []struct{ Count int64 } }
	if err := getJSON(ctx, s.http+"/v1/usage?window=total", &answer); err != nil {
		return err
	}
	if len(answer.Rows) != 1 || answer.Rows[0].Count != nasaRequests {
		return fmt.Errorf("after the start the site counts %+v, want %d", answer.Rows, nasaRequests)
	}
	return nil
}
