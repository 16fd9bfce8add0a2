package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/cli"
)

func (a *app) rejectedCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rejected",
		Short: "Events that were refused: list them, send them again",
	}
	cmd.AddCommand(a.rejectedListCommand(), a.rejectedReplayCommand())
	return cmd
}

func (a *app) rejectedListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "Refused events, newest first",
		Example: "  meterseal rejected list --code unknown_meter",
		Args:    cobra.NoArgs,
	}
	httpFlags(cmd)
	cli.OutputFlags(cmd)
	f := cmd.Flags()
	code := f.String("code", "", "refused with this code only")
	limit := f.Int("limit", 100, "at most so many")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		q := url.Values{"limit": {strconv.Itoa(*limit)}}
		if *code != "" {
			q.Set("code", *code)
		}
		var answer console.RejectedAnswer
		if err := c.getJSON(cmd.Context(), "/v1/rejected", q, &answer); err != nil {
			return err
		}
		if form == "json" {
			return cli.PrintJSON(a.Out, answer)
		}
		t := &cli.Table{Columns: []string{"number", "time", "node", "meter", "code", "replayed", "message"}, Right: []bool{true, false, false, false, false, false, false}}
		for _, r := range answer.Rejected {
			t.Add(strconv.FormatUint(r.Number, 10), r.Time.UTC().Format(time.RFC3339), r.Node, r.Meter, r.Code, r.ReplayedCode, r.Message)
		}
		headers, _ := f.GetBool("no-headers")
		return t.Print(a.Out, form, !headers)
	}
	return cmd
}

func (a *app) rejectedReplayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay [NUMBER...]",
		Short: "Send refused events again, after what was wrong is put right",
		Long: `Send refused events again as they came. Each keeps its id, or gets one of its
number, so it counts once, however often it is replayed. Of an event that is not
kept whole the answer is sample_cut: send it again from where it came from.`,
		Example: `  meterseal rejected replay 17 18
  meterseal rejected replay --code unknown_meter`,
	}
	httpFlags(cmd)
	cli.FormFlags(cmd)
	code := cmd.Flags().String("code", "", "all that are kept of this code and were not replayed yet")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		q := console.ReplayRequest{Code: *code}
		for _, arg := range args {
			n, err := strconv.ParseUint(arg, 10, 64)
			if err != nil {
				return cli.Fail(cli.ExitUsage, "config_invalid", `"meterseal rejected list" shows the numbers`, "%q is no number of an event", arg)
			}
			q.Numbers = append(q.Numbers, n)
		}
		body, err := json.Marshal(q)
		if err != nil {
			return err
		}
		resp, err := c.do(cmd.Context(), "POST", "/v1/rejected/replay", nil, "application/json", bytes.NewReader(body))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var answer console.ReplayAnswer
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			return err
		}
		if form == "json" {
			return cli.PrintJSON(a.Out, answer)
		}
		for _, r := range answer.Results {
			fmt.Fprintf(a.Out, "%-8d %-12s %s\n", r.Number, r.Code, r.Message)
		}
		if answer.More {
			fmt.Fprintln(a.Out, "there are more of this code: run it again")
		}
		return nil
	}
	return cmd
}
