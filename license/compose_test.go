package license_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/license"
)

func TestLinesComposeTheSameLicense(t *testing.T) {
	for _, name := range []string{"unbound.license", "bound.license"} {
		l, err := license.Parse(vectors.Read(name))
		if err != nil {
			t.Fatal(err)
		}
		lines, err := l.Lines()
		if err != nil {
			t.Fatal(err)
		}
		lines["x-order"] = []string{"PO 77"}
		again, err := license.Compose(lines)
		if err != nil {
			t.Fatalf("%s: Compose(Lines()): %v", name, err)
		}
		want, _ := l.Text()
		got, _ := again.Text()
		if got := strings.Replace(got, "x-order PO 77\n", "", 1); got != want {
			t.Errorf("%s: Compose(Lines()) = %s, want %s", name, got, want)
		}
	}
}

func TestComposeNamesTheLine(t *testing.T) {
	l, err := license.Parse(vectors.Read("unbound.license"))
	if err != nil {
		t.Fatal(err)
	}
	for name, rest := range map[string]string{"colour": "blue", "grace": "14 days", "limit": "meter other 5 none none"} {
		lines, _ := l.Lines()
		lines[name] = []string{rest}
		_, err := license.Compose(lines)
		var e *license.Error
		if !errors.As(err, &e) || e.Field != name {
			t.Errorf("Compose(%s %s) = %v, want an error of the line %s", name, rest, err, name)
		}
	}
}
