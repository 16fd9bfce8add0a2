package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

func (a *app) ledgerProveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "prove",
		Short: "Prove one event of one record under its receipt",
		Long: `Write the proof of one event, as "report open" does: named by node and id, which
the daemon looks for, or by record and position. With --http the running daemon
is asked; else the daemon must be stopped, or a copy of its data be used.
With --check verify such a proof instead: that needs no daemon and no data.`,
		Example: "  meterseal ledger prove --http 127.0.0.1:8633 --node n1 --id i-7 > e.opening\n" +
			"  meterseal ledger prove --record 12 --event 0 > event.opening\n" +
			"  meterseal ledger prove --check event.opening --site-key @site.pub",
		Args: cobra.NoArgs,
	}
	openingFlags(cmd)
	f := cmd.Flags()
	f.String("check", "", "verify the opening in this FILE instead; needs --site-key")
	f.String("site-key", "", "the site's public key, or @FILE with it, for --check")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if file, _ := f.GetString("check"); file != "" {
			key, _ := f.GetString("site-key")
			return a.checkOpening(file, key)
		}
		return a.open(cmd, func(b []byte) error {
			_, err := a.Out.Write(b)
			return err
		})
	}
	return cmd
}

// openingFlags are those that name an event, and who discloses it.
func openingFlags(cmd *cobra.Command) {
	httpFlags(cmd)
	f := cmd.Flags()
	f.String("data", "./meterseal-data", "data directory whose daemon is stopped")
	f.Uint64("record", 0, "index of the record")
	f.Uint64("event", 0, "position of the event in it, from 0")
	f.String("node", "", "who sent the event, instead of --record; needs --http")
	f.String("id", "", "its id")
	f.Bool("private", false, "also show the private line (user, host, address, id)")
}

// open has the daemon disclose an event, or the data directory, and hands its
// opening to write.
func (a *app) open(cmd *cobra.Command, write func([]byte) error) error {
	f := cmd.Flags()
	private, _ := f.GetBool("private")
	if !f.Changed("http") {
		if f.Changed("node") || f.Changed("id") {
			return cli.Fail(cli.ExitUsage, "config_invalid", "give --http URL, or --record and --event", "only the running daemon finds an event by its id")
		}
		dir, _ := f.GetString("data")
		record, _ := f.GetUint64("record")
		event, _ := f.GetUint64("event")
		return a.withStore(cmd.Context(), dir, func(o *openedStore) error {
			b, err := o.opening(cmd.Context(), record, event, private)
			if err != nil {
				return err
			}
			return write(b)
		})
	}
	c, err := clientOf(cmd)
	if err != nil {
		return err
	}
	q := url.Values{}
	for _, name := range []string{"record", "event"} {
		q.Set(name, f.Lookup(name).Value.String())
	}
	if f.Changed("node") || f.Changed("id") {
		if q, err = a.placeOf(cmd, c); err != nil {
			return err
		}
	}
	if private {
		q.Set("private", "true")
	}
	resp, err := c.do(cmd.Context(), http.MethodGet, "/v1/events/proof", q, "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return write(b)
}

// placeOf finds record and position of the event that --node and --id name.
func (a *app) placeOf(cmd *cobra.Command, c *httpClient) (url.Values, error) {
	node, _ := cmd.Flags().GetString("node")
	id, _ := cmd.Flags().GetString("id")
	t, err := findAll(cmd.Context(), c, url.Values{"node": {node}, "id": {id}})
	if err != nil {
		return nil, err
	}
	for _, e := range t.Events {
		if e.Record != nil && !e.Gone {
			return url.Values{"record": {strconv.FormatUint(*e.Record, 10)}, "event": {strconv.FormatUint(e.Position, 10)}}, nil
		}
	}
	if t.Code == "counted" && t.Events[len(t.Events)-1].Record == nil {
		return nil, cli.Fail(cli.ExitError, "not_closed", "ask again after the end of its window", "%s", t.Words)
	}
	return nil, cli.Fail(cli.ExitError, "not_found", "compare node and id with what was sent", "%s", t.Words)
}

// opening returns the document that discloses one event.
func (o *openedStore) opening(ctx context.Context, record, event uint64, private bool) ([]byte, error) {
	if o.stream == nil {
		return nil, cli.Fail(cli.ExitStore, "store_missing", "the raw events are in the NATS server of --nats-url; ask the running daemon with --http", "%s holds no stream", o.dir)
	}
	return opening(ctx, o.store, o.groups(), record, event, private)
}

func opening(ctx context.Context, store *projections.Store, groups projections.Groups, record, event uint64, private bool) ([]byte, error) {
	line, list, err := store.Opening(ctx, groups, record, event)
	if err != nil {
		return nil, err
	}
	// Under the first receipt that covers it, which the vendor knows; what was not
	// receipted yet under the newest close, or else the newest checkpoint.
	size, note, err := store.ReceiptOver(record)
	if errors.Is(err, projections.ErrNotFound) {
		size = store.LastClose()
		if note, err = store.Checkpoint(size); err != nil || record >= size {
			size, note, err = newestCheckpoint(ctx, store)
		}
	}
	if err != nil || record >= size {
		return nil, cli.Fail(cli.ExitError, "not_closed", `run "meterseal report export" at the daemon first: it closes the ledger`, "record %d is under no signed checkpoint yet", record)
	}
	proof, err := ledger.NewTree(store, store.Status().Records).InclusionProof(record, size)
	if err != nil {
		return nil, err
	}
	leaves := make([]ledger.Hash, len(list))
	for i := range list {
		leaves[i] = list[i].Leaf()
	}
	e := list[event]
	op := ledger.Opening{Pos: event, Record: line, Event: ledger.SaltedLine{Salt: e.Salt, Line: e.Line}, Index: record, Proof: proof, Checkpoint: note}
	if private && e.Private != "" {
		op.Private = &ledger.SaltedLine{Salt: e.PrivateSalt, Line: e.Private}
	}
	return ledger.WriteOpening(op, leaves)
}

func newestCheckpoint(ctx context.Context, store *projections.Store) (size uint64, note []byte, err error) {
	synced, err := store.Sync(ctx)
	if err != nil {
		return 0, nil, err
	}
	cp, err := ledger.ParseCheckpoint(synced.Checkpoint)
	if err != nil {
		return 0, nil, err
	}
	return cp.Size, synced.Checkpoint, nil
}

func (a *app) checkOpening(file, key string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	_, v, err := siteKey(key)
	if err != nil {
		return err
	}
	op, err := ledger.VerifyOpening(b, v)
	if err != nil {
		return cli.Fail(cli.ExitDocument, "proof/root_mismatch", "ask for the opening again", "%s: %v", file, err)
	}
	fmt.Fprintf(a.Out, "ok      event %d of record %d\nrecord  %s\nevent   %s\n", op.Pos, op.Index, op.Record, op.Event.Line)
	if op.Private != nil {
		fmt.Fprintf(a.Out, "private %s\n", op.Private.Line)
	}
	return nil
}

// prover is console.Proofs.
type prover struct{ *site }

// Find is console.Proofs.
func (p prover) Find(ctx context.Context, q projections.EventSearch) (projections.EventsFound, error) {
	p.reading.RLock() // a group that leaves meanwhile would be a hole
	defer p.reading.RUnlock()
	return p.store.FindEvent(ctx, p.groups, q)
}

// Prove is console.Proofs.
func (p prover) Prove(ctx context.Context, record, position uint64, private bool) ([]byte, error) {
	p.reading.RLock()
	defer p.reading.RUnlock()
	b, err := opening(ctx, p.store, p.groups, record, position, private)
	if f := (*cli.Failure)(nil); errors.As(err, &f) {
		return nil, &console.Problem{Status: http.StatusConflict, Code: f.Code, Message: f.Message, Hint: f.Hint}
	}
	return b, err
}

func (a *app) eventFindCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "find NODE ID",
		Short: "What became of one event, and which record counts it",
		Long: `Look for an event by its node and the id that its sender gave; EPOCH:NUMBER if a
library numbered it. The daemon searches its stream from the newest event back,
so --from and --to make it short. "meterseal ledger prove" writes its proof.`,
		Example: "  meterseal event find n1 invoice-7",
		Args:    cobra.ExactArgs(2),
	}
	httpFlags(cmd)
	cli.FormFlags(cmd)
	f := cmd.Flags()
	f.String("from", "", "it came at this instant or later (RFC 3339, or a day)")
	f.String("to", "", "it came before this instant")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		q := url.Values{"node": {args[0]}, "id": {args[1]}}
		for _, name := range []string{"from", "to"} {
			if v, _ := f.GetString(name); v != "" {
				q.Set(name, v)
			}
		}
		all, err := findAll(cmd.Context(), c, q)
		if err != nil {
			return err
		}
		if form == "json" {
			return cli.PrintJSON(a.Out, all)
		}
		return a.sayFound(all)
	}
	return cmd
}

// findAll asks until the event was found or nothing older is kept.
func findAll(ctx context.Context, c *httpClient, q url.Values) (*console.EventTrace, error) {
	var all console.EventTrace
	for {
		var t console.EventTrace
		if err := c.getJSON(ctx, "/v1/events/find", q, &t); err != nil {
			return nil, err
		}
		t.Events, t.Rejected, t.Looked = append(all.Events, t.Events...), append(all.Rejected, t.Rejected...), all.Looked+t.Looked
		if t.Code == "none" && all.Code != "" && all.Code != "none" {
			t.Code, t.Words = all.Code, all.Words // of what was found before
		}
		if all = t; t.Next == 0 || t.Code == "counted" {
			return &all, nil
		}
		q.Set("before", strconv.FormatUint(t.Next, 10))
	}
}

func (a *app) sayFound(t *console.EventTrace) error {
	fmt.Fprintf(a.Out, "%s. %s events were looked at.\n", t.Words, cli.Grouped(t.Looked))
	for i := range t.Events {
		e := &t.Events[i]
		record := ""
		if e.Record != nil && !e.Gone {
			record = fmt.Sprintf("  record %d, event %d of %d", *e.Record, e.Position, e.Count)
		}
		fmt.Fprintf(a.Out, "%s  group %d  %s  %s%s\n", e.Came.Format(time.RFC3339), e.Group, e.Code, e.Meter, record)
	}
	for i := range t.Rejected {
		e := &t.Rejected[i]
		fmt.Fprintf(a.Out, "%s  refused as number %d  %s\n", e.Time.Format(time.RFC3339), e.Number, e.Code)
	}
	if t.Code == "none" {
		return cli.Fail(cli.ExitError, "not_found", "compare node and id with what was sent; older events may have left after a receipt", "no event %q of node %q", t.ID, t.Node)
	}
	return nil
}
