package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/machine"
)

// app is one run of the program.
type app struct {
	cli.Program
	clock machine.Clock
}

// run is the whole program; tests call it in process.
func run(ctx context.Context, clock machine.Clock, args []string, in io.Reader, out, errw io.Writer) int {
	a := &app{Program: cli.Program{Name: "meterseal", In: in, Out: out, Err: errw}, clock: clock}
	return a.Run(ctx, a.rootCommand(), args, describeError)
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
	}
	root.AddCommand(a.serveCommand(), a.demoCommand(), a.sendCommand(), a.replayCommand(), a.eventCommand(), a.rejectedCommand(), a.usageCommand(), a.meterCommand(), a.seatCommand(), a.reportCommand(), a.exportCommand(),
		a.ledgerCommand(), a.statusCommand(), a.licenseCommand(), a.importCommand(), a.deactivateCommand(), a.keysCommand(), a.nodeCommand(), a.tokenCommand(), a.operatorCommand(), a.configCommand(), a.backupCommand(), a.supportCommand(), a.restoreCommand(), a.pruneCommand(), a.versionCommand())
	complete(root)
	return root
}
