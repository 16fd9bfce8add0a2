package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/projections"
)

func (a *app) ledgerCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "ledger", Short: "Check the ledger, show its checkpoint, prove an event"}
	check := &cobra.Command{
		Use:   "check",
		Short: "Recompute everything from records and raw events",
		Long: `Recompute every leaf, tile, checkpoint, total and account from the records, and
the root of every record from the raw events that are still kept. With --http
the running daemon does it, from a copy; else the daemon must be stopped.
Exit code 7 names the first record that does not hold.`,
		Example: "  meterseal ledger check --data ./meterseal-data\n  meterseal ledger check --http http://127.0.0.1:8633",
		Args:    cobra.NoArgs,
	}
	check.Flags().String("data", "./meterseal-data", "data directory whose daemon is stopped")
	httpFlags(check)
	cli.FormFlags(check)
	check.RunE = func(cmd *cobra.Command, _ []string) error {
		dir, _ := cmd.Flags().GetString("data")
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		if cmd.Flags().Changed("http") {
			c, err := clientOf(cmd)
			if err != nil {
				return err
			}
			return a.askCheck(cmd.Context(), c, form)
		}
		err = a.withStore(cmd.Context(), dir, func(o *openedStore) error { return a.checkLedger(cmd.Context(), o, form) })
		if err == nil {
			return nil
		}
		if f := describeError(err); f.Code == "store_in_use" {
			f.Hint = "ask the daemon: " + a.Called + " ledger check --http URL; or stop it"
			return f
		}
		return err
	}
	checkpoint := &cobra.Command{
		Use:     "checkpoint",
		Short:   "Print the newest signed checkpoint",
		Example: "  meterseal ledger checkpoint > old.checkpoint",
		Args:    cobra.NoArgs,
	}
	httpFlags(checkpoint)
	checkpoint.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		resp, err := c.do(cmd.Context(), "GET", "/v1/checkpoint", nil, "", nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(a.Out, resp.Body)
		return err
	}
	cmd.AddCommand(check, checkpoint, a.ledgerProveCommand())
	return cmd
}

// openedStore is a data directory at rest: projections, and the stream without
// listeners for others.
type openedStore struct {
	dir    string
	keys   *siteKeys
	store  *projections.Store
	stream *stream.Stream
}

// withStore opens a data directory whose daemon is stopped.
func (a *app) withStore(ctx context.Context, dir string, f func(*openedStore) error) (err error) {
	if !hasHistory(dir) {
		return cli.Fail(cli.ExitHistory, "no_history", "give the right --data", "%s holds no ledger", dir)
	}
	if err := prepareDir(dir, slog.New(slog.NewTextHandler(a.Err, nil))); err != nil {
		return err
	}
	o := &openedStore{dir: dir}
	if o.keys, err = readKeys(dir); err != nil {
		return err
	}
	return o.with(ctx, f)
}

// with opens what is in o.dir for f.
func (o *openedStore) with(ctx context.Context, f func(*openedStore) error) (err error) {
	s := &site{keys: o.keys, cfg: &Config{DataDir: o.dir}}
	if o.store, err = s.openStore(true); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.store.Close()) }()
	if err := o.keys.ofThisSite(o.store); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(o.dir, streamDir)); err == nil {
		if o.stream, err = openStreamAtRest(ctx, o.dir); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, o.stream.Close()) }()
	}
	return f(o)
}

// openStreamAtRest opens the stream of a data directory without listening.
func openStreamAtRest(ctx context.Context, dir string) (*stream.Stream, error) {
	return stream.Open(ctx, stream.Options{Dir: filepath.Join(dir, streamDir), InProcess: true})
}

func (o *openedStore) groups() projections.Groups {
	if o.stream == nil {
		return nil
	}
	s := &site{stream: o.stream}
	return s.groups
}

func (a *app) checkLedger(ctx context.Context, o *openedStore, form string) error {
	bar := a.progress("check", "records", int64(o.store.Status().Records))
	if form == "json" {
		bar.w, bar.bar = io.Discard, nil
	}
	r, err := o.store.Check(ctx, o.groups(), func(done, _ uint64) { bar.set(int64(done)) })
	bar.finish()
	if err != nil {
		return checkFailure(err)
	}
	return a.sayChecked(checkAnswer(r), form)
}

// checkFailure says why a ledger does not hold, or could not be checked.
func checkFailure(err error) *cli.Failure {
	var bad *projections.RecordError
	if !errors.As(err, &bad) {
		return describeError(err)
	}
	index := int64(bad.Index)
	return &cli.Failure{Exit: cli.ExitHistory, Code: "ledger_damaged", Hint: `run "meterseal restore --help"`,
		Message: fmt.Sprintf("record %d: %s", bad.Index, bad.Reason), Record: &index}
}

func (a *app) sayChecked(r console.CheckedParts, form string) error {
	if form == "json" {
		return cli.PrintJSON(a.Out, r)
	}
	fmt.Fprintf(a.Out, "records     ok  %s, root %s\n", cli.Grouped(r.Records), r.Root)
	fmt.Fprintf(a.Out, "tree        ok  %s tiles, %s signed checkpoints\n", cli.Grouped(r.Tiles), cli.Grouped(r.Checkpoints))
	fmt.Fprintf(a.Out, "totals      ok  verdict %s\n", r.Verdict)
	fmt.Fprintf(a.Out, "raw events  ok  %s in %s records", cli.Grouped(r.Events), cli.Grouped(r.Opened))
	if r.RawGone > 0 {
		fmt.Fprintf(a.Out, "; of %s older records they are no longer kept", cli.Grouped(r.RawGone))
	}
	_, err := fmt.Fprintf(a.Out, "\nopen        %s events in windows that are not closed\n", cli.Grouped(r.OpenEvents))
	return err
}

// checkAnswer is what a check has looked at, as the API and "ledger check --json"
// say it.
func checkAnswer(r *projections.CheckReport) console.CheckedParts {
	findings := []console.CheckFinding{}
	for _, f := range r.Findings {
		findings = append(findings, console.CheckFinding{Code: f.Code, Record: f.Index, Detail: f.Detail})
	}
	return console.CheckedParts{
		Records: r.Records, Root: r.Root.String(), Tiles: r.Tiles, Checkpoints: r.Checkpoints, Verdict: r.Verdict.String(), Findings: findings,
		Events: r.Events, Opened: r.Opened, RawGone: r.RawGone, OpenEvents: r.OpenEvents,
	}
}

// askEvery is how often a command asks the daemon how far it is.
const askEvery = 200 * time.Millisecond

// askCheck has the running daemon check its ledger. Whoever stops waiting for it
// does not stop it.
func (a *app) askCheck(ctx context.Context, c *httpClient, form string) error {
	var k console.LedgerCheck
	resp, err := c.do(ctx, "POST", "/v1/ledger/check", nil, "", nil)
	if err != nil {
		return err
	}
	err = json.NewDecoder(resp.Body).Decode(&k)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	bar := a.progress("check", "records", int64(k.Total))
	if form == "json" {
		bar.w, bar.bar = io.Discard, nil
	}
	for k.State == console.CheckRunning {
		select {
		case <-ctx.Done():
			bar.finish()
			return ctx.Err()
		case <-time.After(askEvery):
		}
		if err := c.getJSON(ctx, "/v1/ledger/check", nil, &k); err != nil {
			return err
		}
		bar.set(int64(k.Done))
	}
	bar.finish()
	if k.State != console.CheckOK {
		f := &cli.Failure{Exit: cmp.Or(codes[k.Code].exit, cli.ExitError), Code: k.Code, Hint: k.Hint, Message: k.Message}
		if k.Record != nil {
			index := int64(*k.Record)
			f.Record = &index
		}
		return f
	}
	return a.sayChecked(*k.Result, form)
}
