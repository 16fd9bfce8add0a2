package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/datadir"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// describeError finds code, hint and exit code of any error.
func describeError(err error) *cli.Failure {
	var f *cli.Failure
	var ev *events.Error
	var doc *export.Error
	var lic *license.Error
	var who *access.Error
	var conflict *projections.MeterConflictError
	var newer *datadir.NewerError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &ev):
		return &cli.Failure{Code: ev.Code, Message: ev.Message, Hint: ev.Hint, Exit: cli.ExitError}
	case errors.As(err, &who):
		return &cli.Failure{Code: who.Code, Message: who.Message, Hint: who.Hint, Exit: cli.ExitError}
	case errors.As(err, &doc):
		return documentFailure("", doc)
	case errors.As(err, &lic):
		return &cli.Failure{Code: lic.Code, Message: strings.TrimPrefix(lic.Error(), lic.Code+": "), Hint: lic.Hint, Exit: codes[lic.Code].exit}
	case errors.As(err, &newer):
		return &cli.Failure{Code: "upgrade_needed", Message: newer.Error(), Hint: newer.Hint(), Exit: cli.ExitVersion}
	case errors.As(err, &conflict):
		return &cli.Failure{Code: "meter_conflict", Message: strings.TrimPrefix(conflict.Error(), "meter_conflict: "),
			Hint: "give the new meaning another id; what a meter counts never changes", Exit: cli.ExitUsage}
	}
	if errors.Is(err, context.Canceled) {
		return &cli.Failure{Message: "stopped before it was done", Hint: "run it again: what was stored before counts once", Exit: cli.ExitError}
	}
	if code := codeOf(err); code != "" {
		k := codes[code]
		return &cli.Failure{Code: code, Message: strings.TrimPrefix(err.Error(), code+": "), Hint: k.hint, Exit: k.exit}
	}
	return &cli.Failure{Message: err.Error(), Exit: cli.ExitError}
}

// documentFailure says what is wrong with the document name; "": it has none.
func documentFailure(name string, doc *export.Error) *cli.Failure {
	f := &cli.Failure{Code: doc.Code, Message: doc.Error(), Hint: doc.Hint, Exit: cli.ExitDocument}
	if name != "" {
		f.Message = filepath.Base(name) + ": " + f.Message
	}
	if f.Hint == "" {
		f.Hint = export.Hint(doc.Code)
	}
	if doc.Code == export.CodeTooNew {
		f.Exit = cli.ExitVersion
	}
	if doc.Record >= 0 {
		f.Record = &doc.Record
	}
	return f
}

// codeOf returns the stable code of an error of the packages below, or "".
func codeOf(err error) string {
	if code := stream.Code(err); code != "" {
		return code
	}
	for _, k := range []struct {
		is   error
		code string
	}{
		{projections.ErrStreamBehind, "stream_behind_cursor"},
		{projections.ErrHole, "stream_hole"},
		{projections.ErrStreamChanged, "stream_damaged"},
		{projections.ErrNoHistory, "no_history"},
		{projections.ErrInUse, "store_in_use"},
		{projections.ErrNoPermission, "store_no_permission"},
		{projections.ErrUnusable, "store_unreachable"},
		{projections.ErrNewer, "upgrade_needed"},
		{projections.ErrDamaged, "ledger_damaged"},
		{datadir.ErrMalformed, "ledger_damaged"},
		{projections.ErrSettings, "config_invalid"},
		{projections.ErrShredded, "key_destroyed"}, // is an ErrPruned too
		{projections.ErrPruned, "pruned"},
		{access.ErrInUse, "store_in_use"},
		{access.ErrNewer, "upgrade_needed"},
		{ledger.ErrKeyExposed, "key_file_exposed"},
	} {
		if errors.Is(err, k.is) {
			return k.code
		}
	}
	return ""
}

const hintRestore = `run "meterseal ledger check", then "meterseal restore --help"`

// codes are exit code and way out of what stops the daemon (docs/reference/errors.md).
var codes = map[string]struct {
	exit int
	hint string
}{
	"config_invalid":           {cli.ExitUsage, "correct the setting"},
	"listen_address_in_use":    {cli.ExitUsage, "stop what listens there, or choose another address"},
	"key_file_exposed":         {cli.ExitUsage, "set mode 0600 on the key file and 0700 on its folder, and think of who could read it"},
	"store_unreachable":        {cli.ExitStore, "start the NATS server, correct --nats-url, or put right what is named"},
	"store_no_permission":      {cli.ExitStore, "grant the right that is named"},
	"store_settings_unsafe":    {cli.ExitStore, "set it as said; once the server syncs always, start with --store-sync-always true"},
	"store_in_use":             {cli.ExitStore, "stop the other daemon, or choose another --data"},
	"store_full":               {cli.ExitStore, "free space, or set store.max_size to what there is; nothing was dropped"},
	"store_unavailable":        {cli.ExitStore, "nothing is lost: try again when the daemon is back"},
	"no_history":               {cli.ExitHistory, `put it back, or see "meterseal restore --help"`},
	"ledger_damaged":           {cli.ExitHistory, hintRestore},
	"ledger_retired":           {cli.ExitHistory, "begin a new ledger in another --data"},
	"ledger_behind_pin":        {cli.ExitHistory, hintRestore},
	"ledger_off_pin":           {cli.ExitHistory, "stop the second daemon that has this site key"},
	"meter_conflict":           {cli.ExitUsage, "give the new meaning another id; what a meter counts never changes"},
	"stream_behind_cursor":     {cli.ExitHistory, `acknowledged events are gone from it; see "meterseal restore --help"`},
	"stream_hole":              {cli.ExitHistory, hintRestore},
	"stream_damaged":           {cli.ExitHistory, hintRestore},
	license.CodeInvalid:        {cli.ExitLicense, "ask the vendor to send the license again"},
	license.CodeKeyCut:         {cli.ExitLicense, "copy the whole line again"},
	license.CodeNotALicense:    {cli.ExitLicense, "a license key begins with ms1."},
	license.CodeLicenseRevoked: {cli.ExitLicense, "import the newest reply"},
	license.CodeSolutionName:   {cli.ExitLicense, "correct license.solution_name, or ask the vendor"},
	license.CodeNewLicense:     {cli.ExitLicense, "ask the vendor for a license of this product line"},
	license.CodeWrongSiteKey:   {cli.ExitLicense, "import the reply that the vendor made for this site"},
	license.CodeSuperseded:     {cli.ExitLicense, "import the newest reply"},
	license.CodeConflict:       {cli.ExitLicense, "ask the vendor: two licenses have one serial"},
	license.CodeAlreadyBound:   {cli.ExitLicense, "import the newest reply"},
	"upgrade_needed":           {cli.ExitVersion, "install the newer version that wrote it; nothing is damaged"},
	"key_destroyed":            {cli.ExitError, "nobody can open it any more; what was reported of it stands"},
	"pruned":                   {cli.ExitError, "a backup from before has it, as long as the key of its month is kept"},
	"busy":                     {cli.ExitError, "try again"},
}
