package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const monitoring = "../../examples/monitoring"

// The rules are valid, and each fires when it should and not in a healthy site.
func TestAlertRules(t *testing.T) {
	promtool(t, "", "check", "config", filepath.Join(monitoring, "prometheus.yml"))
	promtool(t, "", "test", "rules", filepath.Join(monitoring, "meterseal-alerts-test.yaml"))
	rules, tests := readFile(t, "meterseal-alerts.yaml")+readFile(t, "meterseal-vendor-alerts.yaml"), readFile(t, "meterseal-alerts-test.yaml")
	names := regexp.MustCompile(`- alert: (\S+)`).FindAllStringSubmatch(rules, -1)
	if len(names) < 20 {
		t.Errorf("there are %d alerts", len(names))
	}
	for _, m := range names {
		if !strings.Contains(tests, `alertname="`+m[1]+`"`) {
			t.Errorf("no test has the alert %s fire", m[1])
		}
	}
}

// Each alert leads to a heading of a page, which says what to do.
func TestAlertRunbooks(t *testing.T) {
	for _, file := range []string{"meterseal-alerts.yaml", "meterseal-vendor-alerts.yaml"} {
		text := readFile(t, file)
		books := regexp.MustCompile(`runbook: (\S+)#(\S+)`).FindAllStringSubmatch(text, -1)
		if alerts := strings.Count(text, "- alert: "); len(books) != alerts {
			t.Errorf("%s has %d alerts and %d runbooks", file, alerts, len(books))
		}
		for _, m := range books {
			page, err := os.ReadFile(filepath.Join("../../docs", m[1]+".md"))
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, h := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(page), -1) {
				found = found || strings.ReplaceAll(strings.ToLower(h[1]), " ", "-") == m[2]
			}
			if !found {
				t.Errorf("%s: runbook %s has no heading %s", file, m[1], m[2])
			}
		}
	}
}

// Every name that the dashboard and the alerts use is a metric of a real daemon or
// of the portal, with the labels that they ask for; every expression parses.
func TestMonitoringNames(t *testing.T) {
	known := map[string]bool{}
	for _, m := range allMetrics { // TestMetricsOfADaemon compares them with a daemon
		known[namespace+m.name] = true
		if m.kind == 0 {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				known[namespace+m.name+part] = true
			}
		}
	}
	page, err := os.ReadFile("../../docs/reference/vendor-metrics.md") // cmd/meterseal-vendor compares it with a portal
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`meterseal_vendor_[a-z_]+`).FindAllString(string(page), -1) {
		known[m] = true
	}
	exprs := dashboardExpressions(t)
	used := append(slices.Clone(exprs), readFile(t, "meterseal-alerts.yaml"), readFile(t, "meterseal-vendor-alerts.yaml"), readFile(t, "meterseal-alerts-test.yaml"))
	for _, text := range used {
		for _, name := range regexp.MustCompile(`\bmeterseal_[a-z_]+`).FindAllString(text, -1) {
			if !known[name] {
				t.Errorf("%s is no metric: used in %.80s", name, text)
			}
		}
	}
	var rules strings.Builder
	rules.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	for i, e := range exprs {
		e = strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$instance", ".*").Replace(e)
		fmt.Fprintf(&rules, "      - {record: panel:%d, expr: %q}\n", i, e)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yaml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", file)
}

// dashboardExpressions are all expressions of the panels, each of which has a title
// and says what it shows.
func dashboardExpressions(t *testing.T) (exprs []string) {
	t.Helper()
	var d struct {
		Panels []struct {
			Type, Title, Description string
			Targets                  []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readFile(t, "meterseal-grafana.json")), &d); err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		if p.Type != "row" && (p.Title == "" || p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("panel %+v has no title, description or target", p)
		}
		for _, q := range p.Targets {
			exprs = append(exprs, q.Expr)
		}
	}
	if len(exprs) < 20 {
		t.Errorf("the dashboard has %d expressions", len(exprs))
	}
	return exprs
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(monitoring, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
