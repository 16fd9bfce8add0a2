package tidy

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// checkRequirements wants a reason beside every direct requirement.
func checkRequirements(data string) (violations []string) {
	f, err := modfile.Parse("go.mod", []byte(data), nil)
	if err != nil {
		return []string{err.Error()}
	}
	for _, r := range f.Require {
		if r.Indirect {
			continue
		}
		reason := ""
		for _, c := range r.Syntax.Suffix {
			reason = strings.TrimSpace(strings.TrimPrefix(c.Token, "//"))
		}
		if len(strings.Fields(reason)) < 2 {
			violations = append(violations, fmt.Sprintf("go.mod:%d: %s has no reason: say beside it what the product needs it for", r.Syntax.Start.Line, r.Mod.Path))
		}
	}
	for _, x := range f.Replace {
		violations = append(violations, fmt.Sprintf("go.mod:%d: %s is replaced: nobody could install a release", x.Syntax.Start.Line, x.Old.Path))
	}
	for _, tool := range f.Tool {
		if !strings.HasPrefix(tool.Path, module+"/") {
			violations = append(violations, fmt.Sprintf("go.mod:%d: tool %s belongs into a go.mod below tools/, where its requirements change none of ours (docs/decisions/0001-tools.md)", tool.Syntax.Start.Line, tool.Path))
		}
	}
	return violations
}

func TestRequirementsHaveReasons(t *testing.T) {
	report(t, "every module that the product links is one that a customer's reviewer has to clear", checkRequirements(load(t).read(t, "go.mod")))
}

func TestRequirementRuleBites(t *testing.T) {
	bites(t, checkRequirements("module m\nrequire a.example/x v1.0.0\nrequire (\n\tb.example/y v1.0.0 // because\n\tc.example/z v1.0.0 // indirect\n)\nreplace b.example/y => ../y\ntool d.example/lint\n"),
		"a.example/x has no reason", "b.example/y has no reason", "b.example/y is replaced", "tool d.example/lint")
	passes(t, checkRequirements("module m\nrequire a.example/x v1.0.0 // the store under projections\nrequire c.example/z v1.0.0 // indirect\ntool "+module+"/internal/task\n"))
}
