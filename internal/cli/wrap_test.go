package cli_test

import (
	"testing"

	"github.com/meterseal/meterseal/internal/cli"
)

// Wrap keeps what must stay whole.
func TestWrap(t *testing.T) {
	for _, tc := range []struct {
		text  string
		width int
		want  string
	}{
		{"one two three", 80, "one two three"},
		{"one two three", 7, "one two\n  three"},
		{"a /long/path/that/does/not/fit b", 10, "a\n  /long/path/that/does/not/fit\n  b"},
		{`run "meterseal report --help" now`, 20, "run\n  \"meterseal report --help\"\n  now"},
		{`one " two`, 6, "one \"\n  two"},
		{"", 10, ""},
	} {
		if got := cli.Wrap(tc.text, tc.width, "  "); got != tc.want {
			t.Errorf("Wrap(%q, %d) = %q, want %q", tc.text, tc.width, got, tc.want)
		}
	}
}
