package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"

	"github.com/goccy/go-yaml"
)

// renderChart renders the chart as helm does, as far as its templates go, and returns
// the objects by their kind.
func renderChart(t *testing.T, set func(values map[string]any)) map[string]map[string]any {
	t.Helper()
	const chart = "tools/packaging/container/chart/"
	read := func(path string) (out map[string]any) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(b, &out); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return out
	}
	values, about := read(chart+"values.yaml"), read(chart+"Chart.yaml")
	set(values)
	functions := template.FuncMap{
		"quote": strconv.Quote,
		"toYaml": func(v any) (string, error) {
			b, err := yaml.Marshal(v)
			return strings.TrimSuffix(string(b), "\n"), err
		},
		"nindent": func(n int, s string) string {
			in := "\n" + strings.Repeat(" ", n)
			return in + strings.ReplaceAll(s, "\n", in)
		},
		"default": func(otherwise, v any) any {
			if v == nil || v == "" {
				return otherwise
			}
			return v
		},
	}
	files, err := filepath.Glob(chart + "templates/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("templates: %v %v", files, err)
	}
	objects := map[string]map[string]any{}
	for _, file := range files {
		tmpl, err := template.New(filepath.Base(file)).Funcs(functions).Option("missingkey=error").ParseFiles(file)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := tmpl.Execute(&b, map[string]any{"Values": values, "Chart": map[string]any{"AppVersion": about["appVersion"]}, "Release": map[string]any{"Name": "north"}}); err != nil {
			t.Fatal(err)
		}
		for doc := range strings.SplitSeq(b.String(), "\n---\n") {
			var o map[string]any
			if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
				t.Fatalf("%s: %v\n%s", file, err, doc)
			}
			objects[o["kind"].(string)] = o
		}
	}
	return objects
}

// at follows a path of keys and positions.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, k := range path {
		switch k := k.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok || m[k] == nil {
				t.Fatalf("no %v in %v", path, v)
			}
			v = m[k]
		case int:
			v = v.([]any)[k]
		}
	}
	return v
}

// Chart and image agree with the program: its configuration is accepted by it, ports
// are where it listens, the arguments are ones that it takes, paths are mounted.
func TestContainer(t *testing.T) {
	program := filepath.Join(t.TempDir(), "meterseal")
	if out, err := exec.Command("go", "build", "-o", program, "./cmd/meterseal").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v %s", err, out)
	}
	for _, licensed := range []bool{false, true} {
		objects := renderChart(t, func(values map[string]any) {
			if licensed {
				values["license"] = map[string]any{"secretName": "key", "solutionName": "renderd"}
			}
		})
		pod := at(t, objects["StatefulSet"], "spec", "template", "spec")
		one := at(t, pod, "containers", 0)
		var mounts []string
		for _, m := range at(t, one, "volumeMounts").([]any) {
			mounts = append(mounts, at(t, m, "mountPath").(string))
		}
		mounted := func(path string) bool {
			return slices.ContainsFunc(mounts, func(m string) bool { return path == m || strings.HasPrefix(path, m+"/") })
		}

		// The configuration, on the paths of this machine.
		config := at(t, objects["ConfigMap"], "data", "meterseal.yaml").(string)
		file := filepath.Join(t.TempDir(), "meterseal.yaml")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(program, "config", "check", "--config", file).CombinedOutput(); err != nil {
			t.Errorf("config check: %v %s\n%s", err, out, config)
		}
		for _, path := range regexp.MustCompile(`/(?:etc|var)/[a-z./]+`).FindAllString(config, -1) {
			if !mounted(path) {
				t.Errorf("%s is configured and not mounted: %v", path, mounts)
			}
		}
		if !strings.Contains(config, "on_refusal: hold") {
			t.Errorf("on_refusal is not hold:\n%s", config)
		}

		// The arguments, as the program's own command checks them.
		var args []string
		for _, a := range at(t, one, "args").([]any) {
			args = append(args, a.(string))
		}
		if want := []string{"serve", "--config", "/etc/meterseal/meterseal.yaml"}; !slices.Equal(args, want) || !mounted(want[2]) {
			t.Errorf("arguments = %v, want %v, and the file mounted: %v", args, want, mounts)
		}
		help, err := exec.Command(program, "serve", "--help").Output()
		if err != nil || !bytes.Contains(help, []byte("--config ")) {
			t.Errorf("serve --help does not name --config: %v", err)
		}

		// Ports.
		for i, name := range []string{"http", "nats"} {
			port := fmt.Sprint(at(t, one, "ports", i, "containerPort"))
			if service := fmt.Sprint(at(t, objects["Service"], "spec", "ports", i, "port")); service != port || at(t, one, "ports", i, "name") != name {
				t.Errorf("port %s of the pod is %s, of the service %s", name, port, service)
			}
			if !strings.Contains(config, "listen: 0.0.0.0:"+port) {
				t.Errorf("nothing listens on port %s:\n%s", port, config)
			}
		}
		if got := fmt.Sprint(at(t, one, "readinessProbe", "httpGet", "path")); got != "/readyz" {
			t.Errorf("readiness asks %s, want /readyz", got)
		}
		at(t, one, "livenessProbe", "tcpSocket", "port")
		if got := fmt.Sprint(at(t, pod, "terminationGracePeriodSeconds")); got != "120" {
			t.Errorf("grace of %s s, want 120", got)
		}
		if egress := objects["NetworkPolicy"]["spec"].(map[string]any)["egress"].([]any); len(egress) != 0 {
			t.Errorf("the policy lets out %v, want nothing", egress)
		}
	}
	checkImage(t, program)
}

// checkImage compares what the image names with the program.
func checkImage(t *testing.T, program string) {
	t.Helper()
	text, err := os.ReadFile("tools/packaging/container/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	shown, err := exec.Command(program, "config", "show").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		switch f[0] {
		case "ENV":
			name, value, _ := strings.Cut(f[1], "=")
			cmd := exec.Command(program, "config", "show")
			cmd.Env = []string{f[1]}
			if out, err := cmd.Output(); err != nil || !strings.Contains(string(out), value) || !strings.Contains(string(out), name) {
				t.Errorf("%s does not set %s: %v\n%s", name, value, err, out)
			}
		case "EXPOSE":
			for _, port := range f[1:] {
				if !strings.Contains(string(shown), "127.0.0.1:"+port) {
					t.Errorf("port %s is exposed and is none of the program's:\n%s", port, shown)
				}
			}
		case "USER":
			if f[1] != "65532:65532" {
				t.Errorf("the image runs as %s, want 65532:65532", f[1])
			}
		}
	}
}

// The schema that is shipped knows every key of the configurations that are shipped.
func TestSchema(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "-tags", "gendocs", "./cmd/meterseal", dir).CombinedOutput(); err != nil {
		t.Fatalf("go run: %v %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "schema", "meterseal.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := yaml.Unmarshal(text, &schema); err != nil { // JSON is YAML
		t.Fatal(err)
	}
	shipped, err := os.ReadFile("tools/packaging/config/meterseal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	chart := at(t, renderChart(t, func(map[string]any) {})["ConfigMap"], "data", "meterseal.yaml").(string)
	for _, config := range []string{string(shipped), chart} {
		var value any
		if err := yaml.Unmarshal([]byte(config), &value); err != nil {
			t.Fatal(err)
		}
		for _, k := range unknownKeys("", schema, value) {
			t.Errorf("the schema does not know %s", k)
		}
	}
	if got := unknownKeys("", schema, map[string]any{"store": map[string]any{"dri": "x"}}); !slices.Equal(got, []string{".store.dri"}) {
		t.Errorf("a wrong key: unknown are %q, want .store.dri", got)
	}
}

// unknownKeys lists the keys of value, and of what is below it, that schema has not.
func unknownKeys(key string, schema map[string]any, value any) (unknown []string) {
	switch v := value.(type) {
	case map[string]any:
		known, _ := schema["properties"].(map[string]any)
		for k, below := range v {
			one, ok := known[k].(map[string]any)
			if !ok {
				unknown = append(unknown, key+"."+k)
				continue
			}
			unknown = append(unknown, unknownKeys(key+"."+k, one, below)...)
		}
	case []any:
		items, _ := schema["items"].(map[string]any)
		for _, below := range v {
			unknown = append(unknown, unknownKeys(key, items, below)...)
		}
	}
	return unknown
}
