// Command meter converts documents, or pretends to, and counts the pages. Run it
// beside a daemon that knows the meter:
//
//	meterseal serve --data ./data --meter pages:sum
//	go run ./examples/meter -n 100
//
// Stop the daemon, run it again, and start the daemon: nothing is lost.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/meterseal/meterseal/meter"
)

func main() {
	url := flag.String("server", meter.DefaultURL, "NATS listener of the site")
	dir := flag.String("spool", "meterseal-spool", "folder that keeps what is not counted yet")
	node := flag.String("node", "converter-1", "name of this process")
	documents := flag.Int("n", 10, "documents to convert")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, meter.Options{URL: *url, Dir: *dir, Node: *node, Logger: slog.Default()}, *documents); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o meter.Options, documents int) error {
	m, err := meter.Open(ctx, o)
	if err != nil {
		return err
	}
	for i := range documents {
		pages := int64(i%7 + 1)
		if err := m.Record("pages", pages, meter.User("ana"), meter.Dim("format", "pdf")); err != nil {
			return err
		}
	}
	within, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := m.Counted(within); err != nil {
		fmt.Println("the daemon has not counted all of it yet; it waits in", o.Dir)
	}
	st := m.Stats()
	fmt.Printf("recorded %d, counted %d of %d\n", st.Recorded, st.Counted, st.Next)
	return m.Close(within)
}
