package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// Exit codes of requirements 4.3.
const (
	exitOK       = 0
	exitError    = 1
	exitUsage    = 2
	exitDocument = 3
	exitLicense  = 4
	exitStore    = 6
	exitHistory  = 7
	exitVersion  = 8
)

// app is one run of the program: what its commands write to.
type app struct {
	in       io.Reader
	out, err io.Writer
	quiet    bool
	color    string
}

// run is the whole program; tests call it in process.
func run(ctx context.Context, args []string, in io.Reader, out, errw io.Writer) int {
	a := &app{in: in, out: out, err: errw}
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
	if jsonWanted(args) {
		_ = json.NewEncoder(errw).Encode(f)
		return f.Exit
	}
	if f.Message != "" {
		fmt.Fprintf(errw, "meterseal: error: %s\n", f.Message)
		if f.Hint != "" {
			fmt.Fprintf(errw, "meterseal: hint: %s", f.Hint)
			if f.Code != "" {
				fmt.Fprintf(errw, " [%s]", f.Code)
			}
			fmt.Fprintln(errw)
		}
	}
	return f.Exit
}

func jsonWanted(args []string) bool {
	for i, a := range args {
		if a == "--json" || a == "-o=json" || a == "-ojson" || (a == "-o" && i+1 < len(args) && args[i+1] == "json") {
			return true
		}
	}
	return false
}

// failure is an error as the command line shows it: what happened, the way out,
// the stable code and the exit code.
type failure struct {
	Code    string `json:"code,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Exit    int    `json:"exit"`
}

func (f *failure) Error() string { return f.Message }

// fail makes a failure of its parts.
func fail(exit int, code, hint, format string, args ...any) error {
	return &failure{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint, Exit: exit}
}

// describeError finds code, hint and exit code of any error.
func describeError(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	for _, k := range knownErrors {
		if errors.Is(err, k.is) {
			msg := strings.TrimPrefix(err.Error(), k.code+": ")
			return &failure{Code: k.code, Message: msg, Hint: k.hint, Exit: k.exit}
		}
	}
	var ev *events.Error
	if errors.As(err, &ev) {
		return &failure{Code: ev.Code, Message: ev.Message, Hint: ev.Hint, Exit: exitError}
	}
	var doc *export.Error
	if errors.As(err, &doc) {
		return &failure{Code: doc.Code, Message: doc.Error(), Hint: doc.Hint, Exit: exitDocument}
	}
	var conflict *projections.MeterConflictError
	if errors.As(err, &conflict) {
		return &failure{Code: "meter_conflict", Message: strings.TrimPrefix(err.Error(), "meter_conflict: "), Hint: "give the new meaning another id; what a meter counts never changes", Exit: exitUsage}
	}
	if strings.HasPrefix(err.Error(), "unknown ") || strings.Contains(err.Error(), "flag") || strings.Contains(err.Error(), "arg(s)") {
		return &failure{Message: err.Error(), Hint: `run "meterseal --help"`, Exit: exitUsage}
	}
	return &failure{Message: err.Error(), Exit: exitError}
}

// knownErrors maps the errors of the packages to codes and ways out; the first
// that matches wins.
var knownErrors = []struct {
	is   error
	code string
	exit int
	hint string
}{
	{projections.ErrStreamBehind, "stream_behind_cursor", exitHistory, `acknowledged events are gone from the stream; run "meterseal restore --help"`},
	{projections.ErrHole, "stream_hole", exitHistory, `run "meterseal ledger check", then "meterseal restore --help"`},
	{stream.ErrHole, "stream_hole", exitHistory, `run "meterseal ledger check", then "meterseal restore --help"`},
	{stream.ErrDamaged, "stream_damaged", exitHistory, `run "meterseal ledger check", then "meterseal restore --help"`},
	{stream.ErrNewer, "upgrade_needed", exitVersion, "install the newer version that wrote it; nothing is damaged"},
	{projections.ErrStreamChanged, "stream_damaged", exitHistory, `run "meterseal ledger check", then "meterseal restore --help"`},
	{projections.ErrNoHistory, "no_history", exitHistory, `put the data directory back, or run "meterseal restore --help"`},
	{stream.ErrInUse, "store_in_use", exitStore, "stop the other daemon, or choose another --data"},
	{projections.ErrInUse, "store_in_use", exitStore, "stop the other daemon, or choose another --data"},
	{projections.ErrDamaged, "ledger_damaged", exitHistory, `run "meterseal ledger check", then "meterseal restore --help"`},
	{projections.ErrSettings, "config_invalid", exitUsage, "correct the setting"},
	{stream.ErrAddressInUse, "listen_address_in_use", exitUsage, "stop what listens there, or choose another address"},
	{stream.ErrUnreachable, "store_unreachable", exitStore, "start the NATS server, or correct --nats-url"},
	{stream.ErrNoPermission, "store_no_permission", exitStore, "grant the named right"},
	{stream.ErrSettingsUnsafe, "store_settings_unsafe", exitStore, "run the printed command on that server"},
	{stream.ErrFull, "store_full", exitStore, "raise store.max_size, or free space; nothing was dropped"},
	{ledger.ErrKeyExposed, "key_file_exposed", exitUsage, "chmod 0600 on the key file, 0700 on its folder"},
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
  meterseal report verify FILE       verify one, with the site's public key`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.PersistentFlags().BoolVar(&a.quiet, "quiet", false, "no progress and no hints")
	root.PersistentFlags().StringVar(&a.color, "color", "auto", "auto, always or never")
	root.AddCommand(a.serveCommand(), a.demoCommand(), a.sendCommand(), a.replayCommand(), a.eventCommand(), a.usageCommand(), a.reportCommand(),
		a.ledgerCommand(), a.statusCommand(), a.keysCommand(), a.configCommand(), a.backupCommand(), a.restoreCommand(), a.versionCommand())
	return root
}
