package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/meterseal/meterseal/internal/cli"
)

// seededMetrics starts a daemon, has it go through what each metric tells of, and
// returns its /metrics as its own listener serves them.
func seededMetrics(t *testing.T) string {
	t.Helper()
	l := newLicensedSite(t, "--meter", pages+":sum", "--limit", pages+":100:10:monthly", "--seats", "editor 1 0 8h 0s 0s none")
	outbox := filepath.Join(l.folder, "outbox")
	if err := os.Mkdir(outbox, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.file("meterseal.yaml"), fmt.Appendf(nil, "exports:\n  - {name: monthly, schedule: monthly, folder: %s}\n", outbox), 0o600); err != nil {
		t.Fatal(err)
	}
	l.args = append(l.args, "--metrics-listen", "127.0.0.1:0", "--config", l.file("meterseal.yaml"))
	l.start()
	l.send("first")
	l.report("first", "--meter", pages+":sum", "--limit", pages+":100:10:monthly", "--seats", "editor 1 0 8h 0s 0s none",
		"--end", "2099-10-31T23:59:59Z", "--report-by", "2099-01-31T23:59:59Z", "--grace", "336h")
	l.imports("first")
	mustProgram(t, "backup", "--http", l.http, "--out", l.file("site.backup"))
	resp, err := http.Post(l.http+"/v1/exports/monthly/run", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode >= 300 {
		t.Fatalf("run of the export = %d", resp.StatusCode)
	}
	l.takes(http.StatusCreated, "ann", "")
	a := l.asker(t)
	if _, err := a.request("n1", `{"meter":"render.pages"}`); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := program(t, "send", "--server", l.nats, "no.such.meter", "1", "--node", "n1"); code == cli.ExitOK {
		t.Error("an unknown meter was taken")
	}
	asked, err := http.NewRequest(http.MethodGet, l.http+"/v1/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	asked.Header.Set("Authorization", "Bearer nonsense")
	resp, err = http.DefaultClient.Do(asked)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	own := regexp.MustCompile(`"metrics":"([^"]+)"`).FindStringSubmatch(l.proc.Output())
	if own == nil {
		t.Fatalf("the line of the start names no listener for metrics:\n%s", l.proc.Output())
	}
	out := getText(t, own[1])
	l.stop()
	return out
}

func getText(t testing.TB, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s = %d, %v: %s", url, resp.StatusCode, err, b)
	}
	return string(b)
}

// metricNames are the names of a text in the Prometheus format that are ours.
func metricNames(text string) (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (meterseal_\S+)`).FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// O-20, O-30: a daemon has every metric of the reference and no other, and each is
// what the reference says; promtool finds no fault with names and units.
func TestMetricsOfADaemon(t *testing.T) {
	text := seededMetrics(t)
	var want []string
	for _, m := range allMetrics {
		want = append(want, namespace+m.name)
	}
	got := metricNames(text)
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("/metrics of the daemon has no %s", name)
		}
	}
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("%s is in /metrics and not declared", name)
		}
	}
	for _, line := range []string{
		`meterseal_events_total{code="unknown_meter",result="refused"} 1`, `meterseal_events_total{code="",result="stored"} 1`,
		`meterseal_license_state{state="active"} 1`, `meterseal_ledger_ok 1`, `meterseal_seats_in_use{pool="editor"} 1`,
		`meterseal_limit_units{meter="render.pages"} 100`, `meterseal_store_errors_total{op="append"} 0`,
		`meterseal_next_action_timestamp_seconds{action="report"} 4.073587199e+09`, `meterseal_report_due_timestamp_seconds 4.073587199e+09`,
		`meterseal_nodes_known 1`, `meterseal_ledger_gap_events_total 0`, `meterseal_event_counted_seconds_count`,
	} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("/metrics has no line %s", line)
		}
	}
	for _, name := range []string{"backup_last_timestamp_seconds", "report_last_export_timestamp_seconds", "receipt_last_timestamp_seconds", "ledger_opened_timestamp_seconds",
		"ledger_checkpoint_timestamp_seconds", "stream_size_bytes", "stream_size_max_bytes", "store_free_bytes", "event_group_events_sum"} {
		if m := regexp.MustCompile(`(?m)^meterseal_` + name + ` (\S+)$`).FindStringSubmatch(text); m == nil || m[1] == "0" {
			t.Errorf("meterseal_%s is %q, want a value", name, m)
		}
	}
	promtool(t, text, "check", "metrics")
}

// promtool runs Prometheus's own tool, and skips where it is not installed.
func promtool(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed: go tool task deps")
	}
	cmd := exec.Command(path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

const metricsPage = "../../docs/reference/metrics.md"

// The reference of the metrics is made of their declarations; UPDATE=1 writes it.
func TestMetricsReference(t *testing.T) {
	page, err := os.ReadFile(metricsPage)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	want := metricsReference()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(metricsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(page) != want {
		t.Errorf("%s is not as the declarations say; UPDATE=1 go test -run TestMetricsReference ./cmd/meterseal writes it", metricsPage)
	}
}

func metricsReference() string {
	var b strings.Builder
	b.WriteString(`# Metrics of the site

` + "`GET /metrics`" + ` of the daemon answers in the Prometheus text format, to programs of its machine and to tokens with the right ` + "`read`" + `; ` + "`metrics.listen`" + `
adds a loopback address that asks for no token. How to watch a site with them: [monitor](../how-to/monitor.md). Those of the vendor's portal: [vendor-metrics](vendor-metrics.md).

Instants are seconds since 1970 and end in ` + "`_timestamp_seconds`" + `; alerts subtract ` + "`time()`" + `. What does not exist, such as the end of a license without one, is
absent, and so is what cannot be asked for at a scrape. Counters begin at 0 with each start. Those of the Go runtime and the process (` + "`go_…`, `process_…`" + `) stand beside them.
This page is made of the declarations in cmd/meterseal/metrics.go.
`)
	group := ""
	for _, m := range allMetrics {
		if m.group != group {
			group = m.group
			fmt.Fprintf(&b, "\n## %s\n\n| metric | type | what |\n|---|---|---|\n", group)
		}
		kind := map[prometheus.ValueType]string{prometheus.CounterValue: "counter", prometheus.GaugeValue: "gauge", 0: "histogram"}[m.kind]
		labels := ""
		if len(m.labels) > 0 {
			labels = "{" + strings.Join(m.labels, ",") + "}"
		}
		fmt.Fprintf(&b, "| `%s%s%s` | %s | %s |\n", namespace, m.name, labels, kind, m.help)
	}
	return b.String()
}
