//go:build !gendocs

// Command meterseal-vendor is the vendor's side of Meterseal at the command
// line: it makes licenses, takes usage reports in and answers them. It only wires
// packages together; nothing here is worth importing.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/meterseal/meterseal/internal/cli"
)

func main() { os.Exit(process(systemTime())) }

// process is the program with its process: the rights of files that it makes, and
// signals.
func process(now func() time.Time) int {
	cli.KeepPrivate()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends at once
	return run(ctx, now, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}
