package export_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/export"
)

// addVectors seeds a fuzz target with the files of docs/formats/vectors.
func addVectors(f *testing.F, pattern string) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join(vectors, pattern))
	if err != nil || len(files) == 0 {
		f.Fatalf("no vectors like %s: %v", pattern, err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

// Whatever comes as a report is refused with an error of ours that says nothing
// of any number, or verified; and verified again it is the same.
func FuzzVerifyReport(f *testing.F) {
	for _, pattern := range []string{"*.usage", "*.usage.gz", "*.usage.zst", "*.usage.zst.age"} {
		addVectors(f, pattern)
	}
	known, trusting := vendor(f, 5), export.VerifyOptions{TrustFile: true, SizeMax: 1 << 20}
	known.SizeMax = 1 << 20
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, o := range []export.VerifyOptions{known, trusting} {
			r, err := export.VerifyReport(bytes.NewReader(data), o)
			if err != nil {
				var refused *export.Error
				if !errors.As(err, &refused) || refused.Code == "" {
					t.Errorf("VerifyReport = %v, want an error with a code", err)
				}
				if r != nil && (len(r.Totals) > 0 || len(r.Findings) > 0) {
					t.Errorf("a refused report has totals or findings: %+v", r)
				}
				continue
			}
			again, err := export.VerifyReport(bytes.NewReader(data), o)
			if err != nil || again.Verdict != r.Verdict || again.Size != r.Size || len(again.Totals) != len(r.Totals) {
				t.Errorf("verified again: %v, %v, want %s of size %d", again, err, r.Verdict, r.Size)
			}
			var text strings.Builder
			if err := export.WriteText(&text, r); err != nil {
				t.Errorf("WriteText: %v", err)
			}
		}
	})
}
