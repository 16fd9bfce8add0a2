package web

import (
	"context"
	"encoding/csv"
	"errors"
	"iter"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/portal"
)

func rows(list ...[]string) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		for _, r := range list {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// O-32: commas, quotes, line breaks and a leading = survive.
func TestWriteCSV(t *testing.T) {
	w := httptest.NewRecorder()
	if err := writeCSV(w, "x", []string{"a", "b"}, rows([]string{`Acme, "north"`, "=1+1"}, []string{"two\nlines", "-5"}, []string{"+49 30", "@SUM"}, []string{"", "-12.5"})); err != nil {
		t.Fatal(err)
	}
	got, err := csv.NewReader(w.Body).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"a", "b"}, {`Acme, "north"`, "'=1+1"}, {"two\nlines", "-5"}, {"'+49 30", "'@SUM"}, {"", "-12.5"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("writeCSV (-want +got):\n%s", d)
	}
	if got := w.Header().Get("Content-Disposition"); got != `attachment; filename="x.csv"` {
		t.Errorf("Content-Disposition = %s", got)
	}
}

// An empty list has its head; an error is an error, not a short list.
func TestWriteCSVBorders(t *testing.T) {
	w := httptest.NewRecorder()
	if err := writeCSV(w, "x", []string{"a"}, rows()); err != nil || w.Body.String() != "a\n" {
		t.Errorf("writeCSV(nothing) = %v, %q, want the head", err, w.Body)
	}
	broken := errors.New("gone")
	fail := func(after int) iter.Seq2[[]string, error] {
		return func(yield func([]string, error) bool) {
			for range after {
				yield([]string{"x"}, nil)
			}
			yield(nil, broken)
		}
	}
	if err := writeCSV(httptest.NewRecorder(), "x", []string{"a"}, fail(0)); err != broken {
		t.Errorf("writeCSV(broken at once) = %v, want %v", err, broken)
	}
	defer func() {
		if recover() == nil {
			t.Error("writeCSV(broken later) returned, want it cut off")
		}
	}()
	writeCSV(httptest.NewRecorder(), "x", []string{"a"}, fail(3))
}

func TestListAll(t *testing.T) {
	find := func(_ context.Context, o portal.ListOptions) (portal.Page[string], error) {
		return map[string]portal.Page[string]{"": {Items: []string{"a", "b"}, Next: "2"}, "2": {Items: []string{"c"}}}[o.Cursor], nil
	}
	var got []string
	for x, err := range portal.All(t.Context(), portal.ListOptions{Cursor: "2"}, find) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, x)
	}
	if d := cmp.Diff([]string{"a", "b", "c"}, got); d != "" {
		t.Errorf("listAll (-want +got):\n%s", d)
	}
}
