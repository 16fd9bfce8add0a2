//go:build !gendocs

// Command meterseal is the site's side of Meterseal: the daemon that counts,
// and the commands around it. It only wires packages together; nothing here is
// worth importing.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/meterseal/meterseal/internal/cli"
)

func main() {
	cli.KeepPrivate()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends at once
	os.Exit(run(ctx, systemClock(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
