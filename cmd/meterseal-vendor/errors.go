package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// describeError finds code, hint and exit code of any error.
func describeError(err error) *cli.Failure {
	var f *cli.Failure
	var refused *portal.Error
	var doc *export.Error
	var lic *license.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &refused):
		return refusalFailure(refused)
	case errors.As(err, &doc):
		f = &cli.Failure{Code: doc.Code, Message: doc.Error(), Hint: doc.Hint, Exit: cli.ExitDocument}
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
	case errors.As(err, &lic):
		return &cli.Failure{Code: lic.Code, Message: lic.Message, Hint: lic.Hint, Exit: cli.ExitDocument}
	case errors.Is(err, context.Canceled):
		return &cli.Failure{Message: "stopped before it was done", Hint: "run it again: what was booked before counts once", Exit: cli.ExitError}
	case errors.Is(err, portal.ErrNoKeys):
		return &cli.Failure{Code: "vendor_missing", Message: cause(err), Exit: cli.ExitStore,
			Hint: `give the right --data, or make it: "meterseal-vendor init --domain DOMAIN"`}
	case errors.Is(err, portal.ErrNewer):
		return newerFailure(err)
	case errors.Is(err, portal.ErrPassphrase):
		return &cli.Failure{Code: "passphrase_wrong", Message: cause(err), Exit: cli.ExitUsage, Hint: "give the file that has it with --passphrase-file"}
	}
	return &cli.Failure{Message: err.Error(), Exit: cli.ExitError}
}

// newerFailure is a vendor's folder of a newer program. Nothing was written to it.
func newerFailure(err error) *cli.Failure {
	return &cli.Failure{Code: "upgrade_needed", Exit: cli.ExitVersion, Message: fmt.Sprintf("%s; this is version %s", cause(err), version),
		Hint: fmt.Sprintf("install the newer version again; to go on with %s, use the backup from before the upgrade as --data", version)}
}

// refusalFailure is what the portal refused: an upload, or what staff asked for.
func refusalFailure(e *portal.Error) *cli.Failure {
	f := &cli.Failure{Code: e.Code, Message: e.Message, Hint: e.Hint, Exit: cli.ExitUsage}
	switch e.Code {
	case portal.CodeBadRequest:
		f.Hint = `each line of a license stands in docs/formats/license.md; "--help" has the flags`
	case portal.CodePerpetual:
		f.Hint = "confirm it with --perpetual: nothing ends such a license offline"
	}
	switch {
	case e.Code == export.CodeTooNew:
		f.Exit = cli.ExitVersion
	case strings.Contains(e.Code, "/"):
		f.Exit = cli.ExitDocument
	case e.Code == portal.CodeNotFound, e.Code == portal.CodeExists, e.Code == portal.CodeState, e.Code == portal.CodeKeyUnannounced:
		f.Exit = cli.ExitError
	}
	return f
}

// cause leaves out what the parts said that passed err on.
func cause(err error) string {
	s := err.Error()
	for _, prefix := range []string{"open portal: ", "accept report: "} {
		s = strings.TrimPrefix(s, prefix)
	}
	return s
}
