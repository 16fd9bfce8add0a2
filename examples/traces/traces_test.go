// Package traces_test checks that the traces are the ones whose totals are
// published, by the script that outsiders are told to use.
package traces_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// dayTotals runs day-totals.sh and returns what it printed, by name or date.
func dayTotals(t *testing.T, args ...string) (rows map[string]string, stderr string, err error) {
	t.Helper()
	for _, tool := range []string{"sh", "awk", "gzip", "tr"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("day-totals.sh needs %s, which is not here", tool)
		}
	}
	var out, errs bytes.Buffer
	cmd := exec.Command("sh", append([]string{"./day-totals.sh"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	rows = map[string]string{}
	for line := range strings.Lines(out.String()) {
		name, count, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			t.Errorf("day-totals.sh printed %q, want NAME<TAB>COUNT", line)
		}
		if _, again := rows[name]; again {
			t.Errorf("day-totals.sh printed %q twice", name)
		}
		rows[name] = count
	}
	return rows, errs.String(), err
}

func TestTotalsAreTheGroundTruth(t *testing.T) {
	rows, stderr, err := dayTotals(t)
	if err != nil {
		t.Fatalf("day-totals.sh: %v\n%s", err, stderr)
	}
	if got, want := len(rows), 59+3; got != want {
		t.Errorf("day-totals.sh printed %d rows, want %d days and 3 totals", got, want)
	}
	for name, want := range map[string]string{
		"total":           "3461610",
		"ContextTokens":   "18059974",
		"GeneratedTokens": "245896",
		"1995-07-01":      "52123", // begins at 04:00:01
		"1995-07-13":      "137071",
		"1995-07-30":      "97", // the server was shut down
		"1995-08-28":      "75980",
	} {
		if rows[name] != want {
			t.Errorf("total of %s = %s, want %s", name, rows[name], want)
		}
	}
}

func TestDayBoundaries(t *testing.T) {
	for _, test := range []struct {
		name, data, start string
		want              map[string]string
	}{
		{"one second before midnight", "1 2 4", "2024-02-28T23:59:58Z", map[string]string{"2024-02-28": "3", "2024-02-29": "4"}},
		{"last second only", "5", "1999-12-31T23:59:59Z", map[string]string{"1999-12-31": "5"}},
		{"first second only", "6\n", "2000-01-01T00:00:00Z", map[string]string{"2000-01-01": "6"}},
		{"a day of zeros", strings.Repeat("0 ", 86_400) + "7", "2100-02-28T00:00:00Z", map[string]string{"2100-02-28": "0", "2100-03-01": "7"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "counts.txt")
			if err := os.WriteFile(file, []byte(test.data), 0o644); err != nil {
				t.Fatal(err)
			}
			rows, stderr, err := dayTotals(t, "counts", file, test.start)
			if err != nil {
				t.Fatalf("day-totals.sh: %v\n%s", err, stderr)
			}
			if len(rows) != len(test.want) {
				t.Errorf("rows = %v, want %v", rows, test.want)
			}
			for day, want := range test.want {
				if rows[day] != want {
					t.Errorf("count of %s = %q, want %s", day, rows[day], want)
				}
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	write := func(name, data string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	whole, err := os.ReadFile("azure-llm-code-2023.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"counts", write("word.txt", "1 2 x3")}, "value 3 is not a whole number: x3"},
		{[]string{"counts", write("empty.txt", "")}, "no value found"},
		{[]string{"counts", write("one.txt", "1"), "yesterday"}, "START is not like"},
		{[]string{"counts", filepath.Join(dir, "absent.txt")}, "cannot read"},
		{[]string{"csv", write("short.csv", "T,A,B\r\nx,1\r\n")}, "line 2 has 2 columns, the header has 3"},
		{[]string{"csv", write("float.csv", "T,A\nx,1.5\n")}, "line 2, column A: not a whole number: 1.5"},
		{[]string{"csv", write("cut.csv.gz", string(whole[:len(whole)/2]))}, "is damaged"},
		{[]string{"sum"}, "unknown command sum"},
	} {
		_, stderr, err := dayTotals(t, test.args...)
		if err == nil || !strings.Contains(stderr, test.want) {
			t.Errorf("day-totals.sh %v: error %v, %q; want one with %q", test.args, err, stderr, test.want)
		}
	}
}
