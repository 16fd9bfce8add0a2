package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/machine"
)

// app is one run of the program: what its commands write to.
type app struct {
	in       io.Reader
	out, err io.Writer
	name     string // how the user calls the program
	quiet    bool
	color    string
	clock    machine.Clock
}

// run is the whole program; tests call it in process.
func run(ctx context.Context, clock machine.Clock, args []string, in io.Reader, out, errw io.Writer) int {
	a := &app{in: in, out: out, err: errw, name: programName(), clock: clock}
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errw)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	f := describeError(err)
	if jsonWanted(args) && f.Message != "" {
		f.printJSON(errw)
	} else {
		f.print(a)
	}
	return f.Exit
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

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "meterseal",
		Short: "Meter software that runs where there is no internet",
		Long: `Meterseal counts what software does at a site without internet, seals it in a
Merkle ledger, and writes a signed usage report that anybody can verify.

  meterseal demo                     see the whole job done on real traffic
  meterseal serve                    run a site (data in ./meterseal-data)
  meterseal send METER QUANTITY      send one event
  meterseal usage                    what was counted
  meterseal report export            write the signed usage report
  meterseal report verify FILE       verify one, with the site's public key
  meterseal import FILE              take the vendor's reply into use`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetUsageTemplate(usageTemplate)
	root.SetFlagErrorFunc(flagFailure)
	root.PersistentFlags().BoolVar(&a.quiet, "quiet", false, "no progress and no hints")
	root.PersistentFlags().StringVar(&a.color, "color", "auto", "auto, always or never")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if a.color != "auto" && a.color != "always" && a.color != "never" {
			return fail(exitUsage, "config_invalid", "use auto, always or never", "--color %s is no choice", a.color)
		}
		return nil
	}
	root.AddCommand(a.serveCommand(), a.demoCommand(), a.sendCommand(), a.replayCommand(), a.eventCommand(), a.usageCommand(), a.reportCommand(),
		a.ledgerCommand(), a.statusCommand(), a.licenseCommand(), a.importCommand(), a.deactivateCommand(), a.keysCommand(), a.configCommand(), a.backupCommand(), a.restoreCommand(), a.pruneCommand(), a.versionCommand())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	refine(root)
	return root
}
