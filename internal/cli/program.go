// Package cli is what the two programs have in common at the command line: errors
// of two lines with a stable code, exit codes, tables and their other forms,
// files that appear whole, help within 80 columns.
//
// It knows nothing of what the programs do.
package cli

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// A Program is one run of a program: how it is called, what its commands write
// to.
type Program struct {
	Name     string // before each message: meterseal, meterseal-vendor
	In       io.Reader
	Out, Err io.Writer
	Quiet    bool // no progress, no hints
	Color    string
	Called   string // as the user did, for the commands that it suggests; Run finds it
}

// Run runs root with args and returns the exit code. describe finds code, hint
// and exit code of an error that is no Failure.
func (p *Program) Run(ctx context.Context, root *cobra.Command, args []string, describe func(error) *Failure) int {
	p.Prepare(root)
	root.SetArgs(args)
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	f := describe(err)
	if jsonWanted(args) && f.Message != "" {
		f.printJSON(p.Err)
	} else {
		f.Print(p)
	}
	return f.Exit
}

// Prepare gives root and the commands below it what all of ours have.
func (p *Program) Prepare(root *cobra.Command) {
	p.Called = calledAs(p.Name)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetUsageTemplate(usageTemplate)
	root.SetFlagErrorFunc(flagFailure)
	root.PersistentFlags().BoolVar(&p.Quiet, "quiet", false, "no progress and no hints")
	root.PersistentFlags().StringVar(&p.Color, "color", "auto", "auto, always or never")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if p.Color != "auto" && p.Color != "always" && p.Color != "never" {
			return Fail(ExitUsage, "config_invalid", "use auto, always or never", "--color %s is no choice", p.Color)
		}
		return nil
	}
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	refine(root)
}

// jsonWanted looks for --json itself: the command line may be what is wrong.
func jsonWanted(args []string) bool {
	for i, a := range args {
		if a == "--json" || a == "-o=json" || a == "-ojson" || (a == "-o" && i+1 < len(args) && args[i+1] == "json") {
			return true
		}
	}
	return false
}

// bold makes a word stand out where that is wanted; it says nothing by itself.
func (p *Program) bold(s string) string {
	on := p.Color == "always"
	if f, ok := p.Err.(*os.File); ok && p.Color == "auto" {
		on = term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	if !on {
		return s
	}
	return boldOn + s + boldOff
}
