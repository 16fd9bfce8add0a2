package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/portal"
)

// version is that of the program.
var version = cli.Version

// programName stands before every message.
const programName = "meterseal-vendor"

// app is one run of the program.
type app struct {
	cli.Program
	now func() time.Time
	// onIntake is portal.Options.OnIntake; nil unless serve runs.
	onIntake func(*portal.Answer, time.Duration)
}

// run is the whole program; tests call it in process. now is the time that
// documents carry.
func run(ctx context.Context, now func() time.Time, args []string, in io.Reader, out, errw io.Writer) int {
	a := &app{Program: cli.Program{Name: programName, In: in, Out: out, Err: errw}, now: now}
	return a.Run(ctx, a.rootCommand(), args, describeError)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   programName,
		Short: "Make licenses, take usage reports in, answer them",
		Long: `The vendor's side of Meterseal: it makes licenses, takes the usage reports of
sites without internet in, and answers each with one file.

  meterseal-vendor init --domain DOMAIN    make keys and database
  meterseal-vendor license issue           make a license and its one-line key
  meterseal-vendor accept FILE...          reports in, replies out
  meterseal-vendor site list               every site, and both its dates
  meterseal-vendor statement               what was used, by license and meter`,
	}
	root.AddCommand(a.initCommand(), a.serveCommand(), a.keysCommand(), a.productCommand(), a.policyCommand(), a.customerCommand(), a.licenseCommand(),
		a.acceptCommand(), a.reportCommand(), a.siteCommand(), a.statementCommand(), a.alertCommand(), a.auditCommand(), a.findingCommand(), a.webhookCommand(), a.settingsCommand(), a.userCommand(), a.tokenCommand(), a.rebuildCommand(), a.backupCommand(), a.versionCommand())
	return root
}

// group makes a command that only has commands below it.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.AddCommand(commands...)
	return c
}
