package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/cli"
)

func (a *app) meterCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "meter", Short: "Meters: what is declared, and what an event would count"}
	cmd.AddCommand(a.meterListCommand(), a.meterTestCommand())
	return cmd
}

func (a *app) meterListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List meters: declaration, what was counted, limit",
		Long:    "List meters. USED is what closed windows have, LIMIT that of the license for a\nperiod, PERIOD what was used of it, open windows too; in the smallest unit of\nthe meter, so 1250 of a meter with 2 decimals is 12.50.",
		Example: "  meterseal meter list",
		Args:    cobra.NoArgs,
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
		var list console.MeterList
		if err := c.getJSON(cmd.Context(), "/v1/meters", nil, &list); err != nil {
			return err
		}
		if form == "json" {
			return cli.PrintJSON(a.Out, list)
		}
		t := cli.NewTable("meter", "aggregation", "unit", "#events", "#used", "#period", "#limit")
		for i := range list.Meters {
			m := &list.Meters[i]
			amount := func(n *int64) string {
				if n == nil {
					return "-"
				}
				return strconv.FormatInt(*n, 10)
			}
			t.Add(m.ID, m.Aggregation, m.Unit, strconv.FormatUint(m.Events, 10), amount(&m.UsedTotal), amount(m.Period), amount(m.Limit))
		}
		bare, _ := cmd.Flags().GetBool("no-headers")
		return t.Print(a.Out, form, !bare)
	}
	return cmd
}

func (a *app) meterTestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test FILE",
		Short: "Say which meters events would hit, and by how much",
		Long: `Read events as POST /v1/events does, and say which meters each would hit and
by how much in the smallest unit of the meter, or why it would be refused.
Nothing is stored. The file has one event, a list, or one a line; CloudEvents
too; "-" is stdin. Exit code 1: some would be refused.`,
		Example: `  echo '{"node":"n1","meter":"render.pages","quantity":3}' > event.json
  meterseal meter test event.json`,
		Args: cobra.ExactArgs(1),
	}
	httpFlags(cmd)
	cli.OutputFlags(cmd)
	node := cmd.Flags().String("node", "", "of events that do not name one")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		data, err := readEvents(cmd, args[0])
		if err != nil {
			return err
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		q := url.Values{}
		if *node != "" {
			q.Set("node", *node)
		}
		resp, err := c.do(cmd.Context(), "POST", "/v1/meters/test", q, eventsType(data), bytes.NewReader(data))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var out console.MeterTest
		if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
			return err
		}
		bare, _ := cmd.Flags().GetBool("no-headers")
		return a.printMeterTest(out, form, !bare)
	}
	return cmd
}

func readEvents(cmd *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(cmd.InOrStdin(), console.MaxBodyBytes+1))
	}
	return os.ReadFile(name)
}

// eventsType is the content type of what a file holds, as its text shows it.
func eventsType(data []byte) string {
	data = bytes.TrimSpace(data)
	if !json.Valid(data) {
		return "application/x-ndjson"
	}
	type event struct {
		SpecVersion string `json:"specversion"`
	}
	var one event
	var several []event
	switch {
	case json.Unmarshal(data, &one) == nil && one.SpecVersion != "":
		return "application/cloudevents+json"
	case json.Unmarshal(data, &several) == nil && len(several) > 0 && several[0].SpecVersion != "":
		return "application/cloudevents-batch+json"
	}
	return "application/json"
}

func (a *app) printMeterTest(out console.MeterTest, form string, headers bool) error {
	refused := 0
	t := cli.NewTable("#event", "result", "node", "meter", "#quantity", "unit", "dimensions")
	var why strings.Builder
	for i, e := range out.Events {
		number := strconv.Itoa(i + 1)
		for _, h := range e.Hits {
			t.Add(number, "ok", e.Node, h.Meter, strconv.FormatInt(h.Quantity, 10), h.Unit, dimensionsText(h.Dimensions))
		}
		if e.Code != "ok" {
			refused++
			t.Add(number, e.Code, e.Node, "", "", "", "")
			fmt.Fprintf(&why, "%s\n", cli.Wrap("event "+number+"  "+e.Message+"; "+e.Hint, cli.Columns, "         "))
		}
	}
	var err error
	if form == "json" {
		err = cli.PrintJSON(a.Out, out)
	} else if err = t.Print(a.Out, form, headers); err == nil {
		_, err = io.WriteString(a.Err, why.String())
	}
	if err == nil && refused > 0 {
		return cli.Fail(cli.ExitError, "events_refused", "the codes are explained in the reference of errors", "%d of %d events would be refused", refused, len(out.Events))
	}
	return err
}

// dimensionsText writes dimensions by name, as in format=pdf size=a4.
func dimensionsText(m map[string]string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, name+"="+m[name])
	}
	return strings.Join(out, " ")
}
