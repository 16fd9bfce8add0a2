package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/cli"
)

func (a *app) eventCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "event",
		Short: "Events as they come; backfill sessions",
		Long: `A backfill loads usage by hand, such as the log of a month without a daemon.
What it sends under a session name ("meterseal replay --session NAME", "send
--session NAME", or the field session of an event) can be taken back as a whole.
A single event is corrected with "meterseal send METER --void ID" or --amend ID.`,
	}
	cmd.AddCommand(a.eventTailCommand(), a.eventFindCommand(), a.eventSessionsCommand(), a.eventRevertCommand())
	return cmd
}

// sessionRow is a session of GET /v1/sessions.
type sessionRow struct {
	Name       string            `json:"name"`
	State      string            `json:"state"`
	Events     uint64            `json:"events"`
	First      time.Time         `json:"first"`
	Last       time.Time         `json:"last"`
	RevertedAt *time.Time        `json:"reverted_at,omitempty"`
	Reason     string            `json:"reason,omitempty"`
	Actor      string            `json:"actor,omitempty"`
	Meters     []sessionMeterRow `json:"meters"`
}

type sessionMeterRow struct {
	Meter    string `json:"meter"`
	Events   uint64 `json:"events"`
	Quantity int64  `json:"quantity"`
	Adjusted int64  `json:"adjusted"`
	Net      int64  `json:"net"`
}

type sessionsAnswer struct {
	Sessions []sessionRow `json:"sessions"`
}

func (a *app) eventSessionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "Backfill sessions, oldest first, with what of each still counts",
		Args:  cobra.NoArgs,
	}
	httpFlags(cmd)
	cli.OutputFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		var answer sessionsAnswer
		if err := c.getJSON(cmd.Context(), "/v1/sessions", nil, &answer); err != nil {
			return err
		}
		if form == "json" {
			return cli.PrintJSON(a.Out, answer)
		}
		headers, _ := cmd.Flags().GetBool("no-headers")
		return answer.table(form == "csv").Print(a.Out, form, !headers)
	}
	return cmd
}

func (s *sessionsAnswer) table(plain bool) *cli.Table {
	t := &cli.Table{Columns: []string{"session", "state", "first", "meter", "events", "quantity", "adjusted", "net"},
		Right: []bool{false, false, false, false, true, true, true, true}}
	number, layout := cli.Grouped[int64], "2006-01-02 15:04"
	if plain {
		number, layout = func(n int64) string { return strconv.FormatInt(n, 10) }, time.RFC3339
	}
	for _, v := range s.Sessions {
		for _, m := range v.Meters {
			t.Add(v.Name, v.State, v.First.UTC().Format(layout), m.Meter, number(int64(m.Events)), number(m.Quantity), number(m.Adjusted), number(m.Net))
		}
	}
	return t
}

func (a *app) eventRevertCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revert SESSION",
		Short: "Take a backfill session back: void what of it still counts",
		Long: `Take a backfill session back. Nothing is deleted: each event that still counts
gets a void, and the next report shows original, correction and net. Later
events of the session are refused; doing it again changes nothing.`,
		Example: `  meterseal event revert july-logs --reason "wrong host" --actor kim`,
		Args:    cobra.ExactArgs(1),
	}
	httpFlags(cmd)
	cli.OutputFlags(cmd)
	reason := cmd.Flags().String("reason", "", "why; it stands in the ledger")
	actor := cmd.Flags().String("actor", "", "who takes it back; it stands in the ledger")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		if *reason == "" || *actor == "" {
			return cli.Fail(cli.ExitUsage, "config_invalid", "say why and who: both stand in the ledger", "--reason and --actor are needed")
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		body, err := json.Marshal(map[string]string{"reason": *reason, "actor": *actor})
		if err != nil {
			return err
		}
		path := "/v1/sessions/" + url.PathEscape(args[0]) + "/revert"
		resp, err := c.do(cmd.Context(), http.MethodPost, path, nil, "application/json", bytes.NewReader(body))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var answer struct {
			Already bool       `json:"already"`
			Session sessionRow `json:"session"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			return fmt.Errorf("read answer of %s: %w", c.base+path, err)
		}
		switch {
		case form == "json":
			return cli.PrintJSON(a.Out, answer)
		case answer.Already && answer.Session.RevertedAt != nil:
			fmt.Fprintf(a.Out, "%s was reverted before, at %s by %s: nothing changed\n", args[0], answer.Session.RevertedAt.Format(time.RFC3339), answer.Session.Actor)
		default:
			fmt.Fprintf(a.Out, "%s is reverted\n", args[0])
		}
		list := sessionsAnswer{Sessions: []sessionRow{answer.Session}}
		headers, _ := cmd.Flags().GetBool("no-headers")
		return list.table(form == "csv").Print(a.Out, form, !headers)
	}
	return cmd
}

func (a *app) eventTailCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Events as they come, and what became of each",
		Long: `Print events as they come: stored (on disk), counted (in the totals on disk),
duplicate, quarantined, or why they were refused. Under load lines are left out,
and it says how many.`,
		Example: "  meterseal event tail --lines 20 --follow=false",
		Args:    cobra.NoArgs,
	}
	httpFlags(cmd)
	cli.FormFlags(cmd)
	lines := cmd.Flags().Int("lines", 20, "begin with so many")
	follow := cmd.Flags().Bool("follow", true, "wait for more")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		q := url.Values{"limit": {strconv.Itoa(*lines)}}
		for {
			var answer console.TailAnswer
			if err := c.getJSON(cmd.Context(), "/v1/events/tail", q, &answer); err != nil {
				if cmd.Context().Err() != nil {
					return nil // who watched has seen enough
				}
				return err
			}
			if answer.Missed > 0 {
				fmt.Fprintf(a.Err, "%d lines were left out\n", answer.Missed)
			}
			for _, e := range answer.Events {
				if form == "json" {
					line, err := json.Marshal(e)
					if err != nil {
						return err
					}
					fmt.Fprintf(a.Out, "%s\n", line)
					continue
				}
				fmt.Fprintf(a.Out, "%s  %-10s %s  %s  %d  %s\n", e.Time.UTC().Format(time.RFC3339), e.Code, e.Node, e.Meter, e.Quantity, e.ID)
			}
			if !*follow {
				return nil
			}
			q = url.Values{"after": {strconv.FormatUint(answer.Next, 10)}, "wait": {"20"}, "limit": {"500"}}
		}
	}
	return cmd
}
