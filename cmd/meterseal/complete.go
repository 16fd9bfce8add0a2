package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/console"
)

// completeTime is how long a shell waits for what the daemon knows, at most. Then
// the word is completed with nothing: typing goes on.
const completeTime = 300 * time.Millisecond

// A completer finds the words that may stand in one place; before are the arguments
// that stand there already.
type completer func(ctx context.Context, c *httpClient, before []string) []string

// completed are the arguments that are names which the daemon knows, by command.
var completed = map[string][]completer{
	"meterseal seat list":    {poolNames},
	"meterseal seat release": {poolNames, holderNames},
	"meterseal node rotate":  {nodeNames},
	"meterseal node revoke":  {nodeNames},
	"meterseal export run":   {exportNames},
	"meterseal send":         {meterNames},
}

// complete lets a shell complete names of meters, nodes, pools and holders, and sizes
// of reports, at cmd and below.
func complete(cmd *cobra.Command) {
	if words := completed[cmd.CommandPath()]; words != nil {
		cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) >= len(words) {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return known(cmd, words[len(args)], args), cobra.ShellCompDirectiveNoFileComp
		}
	}
	flags := map[string]completer{"meter": meterNames, "node": nodeNames}
	if cmd.CommandPath() == "meterseal report export" {
		flags["from"], flags["until"] = reportSizes, reportSizes
	}
	for name, words := range flags {
		if f := cmd.Flags().Lookup(name); f == nil || f.Value.Type() == "stringArray" { // --meter of serve declares one
			continue
		}
		// It fails only for flags that are not there or are completed already.
		_ = cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return known(cmd, words, args), cobra.ShellCompDirectiveNoFileComp
		})
	}
	for _, c := range cmd.Commands() {
		complete(c)
	}
}

// known asks the daemon; nothing if it does not answer in time.
func known(cmd *cobra.Command, words completer, args []string) []string {
	if cmd.Flags().Lookup("http") == nil { // it sends over NATS, and the daemon is the usual one
		cmd = &cobra.Command{}
		httpFlags(cmd)
	}
	c, err := clientOf(cmd)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), completeTime)
	defer cancel()
	return words(ctx, c, args)
}

// status is what the daemon says of itself; empty if it says nothing.
func (c *httpClient) status(ctx context.Context) (st console.Status) {
	_ = c.getJSON(ctx, "/v1/status", nil, &st)
	return st
}

func meterNames(ctx context.Context, c *httpClient, _ []string) (names []string) {
	for _, m := range c.status(ctx).Meters {
		names = append(names, m.ID+"\t"+m.Unit)
	}
	return names
}

func nodeNames(ctx context.Context, c *httpClient, _ []string) (names []string) {
	for _, n := range c.status(ctx).Nodes {
		names = append(names, n.Name)
	}
	return names
}

func poolNames(ctx context.Context, c *httpClient, _ []string) (names []string) {
	for _, p := range c.status(ctx).Pools {
		names = append(names, fmt.Sprintf("%s\t%d of %d taken", p.Pool, p.Taken, p.Limit))
	}
	return names
}

// holderNames are those who hold a seat of the pool that stands before.
func holderNames(ctx context.Context, c *httpClient, before []string) (names []string) {
	var p console.PoolStatus
	_ = c.getJSON(ctx, "/v1/seats/"+url.PathEscape(before[0]), nil, &p)
	for _, s := range p.Seats {
		names = append(names, s.Holder)
	}
	return names
}

func exportNames(ctx context.Context, c *httpClient, _ []string) (names []string) {
	for _, e := range c.status(ctx).Exports {
		names = append(names, e.Name)
	}
	return names
}

// reportSizes are the sizes at which reports that were written end, the newest first:
// the next may begin at one, and the same may be written again.
func reportSizes(ctx context.Context, c *httpClient, _ []string) (sizes []string) {
	var list struct {
		Reports []console.ExportedReport `json:"reports"`
	}
	_ = c.getJSON(ctx, "/v1/reports", nil, &list)
	for _, r := range list.Reports {
		sizes = append(sizes, fmt.Sprintf("%d\texported %s", r.Until, r.Time.UTC().Format(time.DateOnly)))
	}
	return slices.Compact(sizes)
}
