package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/cli"
)

func serverFlag(cmd *cobra.Command) {
	cmd.Flags().String("server", "nats://127.0.0.1:4222", "NATS server of the site")
}

// nodeFlags are those with which a node shows who it is.
func nodeFlags(cmd *cobra.Command) {
	cmd.Flags().String("creds", "", `credentials file of the node, from "meterseal node add"`)
	cmd.Flags().String("ca-file", os.Getenv("METERSEAL_CA_FILE"), "who issued its certificate, if not public (PEM)")
}

// nodeOptions are those with which a node shows who it is, as its flags say.
func nodeOptions(cmd *cobra.Command, node string) (list []nats.Option) {
	if creds, _ := cmd.Flags().GetString("creds"); creds != "" {
		list = append(list, nats.UserCredentials(creds), nats.CustomInboxPrefix(access.InboxPrefix(node)))
	}
	if ca, _ := cmd.Flags().GetString("ca-file"); ca != "" {
		list = append(list, nats.RootCAs(ca))
	}
	return list
}

// connect connects like any application does. Errors of the connection come back
// from what is published; nats.go would print them as well.
func connect(url, name string, more ...nats.Option) (*nats.Conn, error) {
	nc, err := nats.Connect(url, append(more, nats.Name(name), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), nats.Timeout(5*time.Second), nats.ReconnectWait(250*time.Millisecond))...)
	if err != nil {
		if errors.Is(err, nats.ErrAuthorization) {
			return nil, cli.Fail(cli.ExitError, "not_authenticated", `give --creds FILE of "meterseal node add"; the log of the daemon says why`, "the NATS server at %s does not let this node in", url)
		}
		if file := (*os.PathError)(nil); errors.As(err, &file) {
			return nil, cli.Fail(cli.ExitUsage, events.CodeConfigInvalid, "give the right --creds or --ca-file", "%v", file)
		}
		return nil, cli.Fail(cli.ExitError, "daemon_unreachable", `start it with "meterseal serve", or give its address with --server`, "no NATS server at %s: %v", url, err)
	}
	return nc, nil
}

// sentEvent is the JSON of one event (docs/formats/events.md).
type sentEvent struct {
	ID         string            `json:"id,omitempty"`
	Time       string            `json:"time,omitempty"`
	Quantity   json.RawMessage   `json:"quantity,omitempty"`
	User       string            `json:"user,omitempty"`
	Host       string            `json:"host,omitempty"`
	IP         string            `json:"ip,omitempty"`
	Dimensions map[string]string `json:"dimensions,omitempty"`
	Kind       string            `json:"kind,omitempty"`
	Ref        string            `json:"ref,omitempty"`
	Reason     string            `json:"reason,omitempty"`
	Actor      string            `json:"actor,omitempty"`
	Session    string            `json:"session,omitempty"`
}

func (a *app) sendCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "send METER [QUANTITY]",
		Short: "Send one event and wait until it is on disk",
		Example: `  meterseal send documents.processed
  meterseal send render.pages 12 --node n1 --id job-4711 --user ana
  meterseal send render.pages --void job-4711 --reason "wrong" --actor kim
  meterseal send render.pages 9 --amend job-4711 --reason "3 failed" --actor kim`,
		Args: cobra.RangeArgs(1, 2),
	}
	serverFlag(cmd)
	nodeFlags(cmd)
	cli.FormFlags(cmd)
	f := cmd.Flags()
	var e sentEvent
	host, _ := os.Hostname()
	node := f.String("node", nodeName(host), "node that sends")
	f.StringVar(&e.ID, "id", "", "id of the event: sending it again counts nothing")
	f.StringVar(&e.Time, "time", "", "time of use (RFC 3339); empty: now")
	f.StringVar(&e.User, "user", "", "who used it")
	f.StringVar(&e.Host, "host", "", "machine it was used on")
	f.StringVar(&e.IP, "ip", "", "its address")
	f.StringToStringVar(&e.Dimensions, "dimension", nil, "NAME=VALUE; may repeat")
	f.StringVar(&e.Session, "session", "", "backfill session that the event is part of; needs --id")
	void := f.String("void", "", "take back the event with this id")
	amend := f.String("amend", "", "give the event with this id another quantity")
	f.StringVar(&e.Reason, "reason", "", "why it is corrected")
	f.StringVar(&e.Actor, "actor", "", "who corrects it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			e.Quantity = json.RawMessage(args[1])
			if !json.Valid(e.Quantity) {
				return cli.Fail(cli.ExitUsage, "bad_quantity", "give a number like 12 or 1.5", "quantity %q is no number", args[1])
			}
		}
		switch {
		case *void != "" && *amend != "":
			return cli.Fail(cli.ExitUsage, "config_invalid", "give one of the two", "--void and --amend exclude each other")
		case *void != "":
			e.Kind, e.Ref = "void", *void
		case *amend != "":
			e.Kind, e.Ref = "amend", *amend
		}
		if !events.ValidNode(*node) {
			return cli.Fail(cli.ExitUsage, "config_invalid", "use letters, digits, - and _; no dots or spaces", "--node %q is no name of a node", *node)
		}
		if !events.ValidMeter(args[0]) {
			return cli.Fail(cli.ExitUsage, "config_invalid", "a meter is named as in documents.processed", "%q is no name of a meter", args[0])
		}
		url, _ := f.GetString("server")
		return a.send(cmd, url, *node, args[0], &e)
	}
	return cmd
}

func (a *app) send(cmd *cobra.Command, url, node, meter string, e *sentEvent) error {
	subject := "usage." + node + "." + meter
	form, err := cli.OutputForm(cmd)
	if err != nil {
		return err
	}
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	nc, err := connect(url, "meterseal send", nodeOptions(cmd, node)...)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 30*time.Second)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { // or it would wait for an answer that never comes
		if errors.Is(err, nats.ErrPermissionViolation) {
			end(notItsNode(cmd, node))
		}
	})
	ack, err := js.Publish(ctx, subject, data)
	var refused *cli.Failure
	switch {
	case err == nil:
	case errors.As(context.Cause(ctx), &refused):
		return refused
	case errors.Is(err, context.DeadlineExceeded):
		return cli.Fail(cli.ExitError, events.CodeStoreUnavailable, "it is stored or it is not: with --id send the same again", "the daemon did not answer in time")
	default:
		return refusal(err)
	}
	code := "stored"
	if ack.Duplicate {
		code = "duplicate"
	}
	if form == "json" {
		return cli.PrintJSON(a.Out, map[string]any{"code": code, "seq": ack.Sequence, "id": e.ID})
	}
	_, err = fmt.Fprintf(a.Out, "%s  %s  group %d\n", code, strings.TrimPrefix(subject, "usage."), ack.Sequence)
	return err
}

// notItsNode is the answer to --node with credentials of another one.
func notItsNode(cmd *cobra.Command, node string) error {
	whose := "these credentials are not those of node " + node
	creds, _ := cmd.Flags().GetString("creds")
	if data, err := os.ReadFile(creds); err == nil {
		if owner := access.NodeOf(data); owner != "" {
			whose = creds + " is of node " + owner + ", not " + node
		}
	}
	return cli.Fail(cli.ExitError, events.CodeWrongNode, "give in --node the node of the credentials", "%s", whose)
}

// refusal turns the error of a PubAck into its code, message and exit code.
func refusal(err error) error {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) {
			return cli.Fail(cli.ExitStore, "store_unavailable", "nothing is lost: send it again when the daemon is back", "no gateway takes events at this server")
		}
		return err
	}
	code, msg, ok := strings.Cut(api.Description, ": ")
	if !ok {
		code, msg = "", api.Description
	}
	hints := map[string]string{
		"unknown_meter":          "declare it with --meter ID:AGGREGATION or in the configuration",
		"id_conflict":            "use another id for another use",
		"correction_not_allowed": "set corrections: true for the meter in the configuration",
		"session_reverted":       "load the events again in a new session, with new ids",
		"nodes_full":             "use the names of nodes again",
		"session_full":           "go on in a new session",
		"time_in_future":         "correct the clock of this machine",
		"bad_quantity":           "a quantity is 0 to 2^63-1 in the smallest unit; the scale of the meter gives the decimals",
		"wrong_node":             "use the node that this connection may speak for",
		"busy":                   "send it again",
		"store_full":             "free space on the disk of the daemon, or raise store.max_size; keep the event and send it again",
		"store_unavailable":      "keep the event and send it again",
		"ledger_retired":         "begin a new ledger in another folder, with a new activation",
	}
	return cli.Fail(cli.ExitError, code, hints[code], "%s", msg)
}

// nodeName makes a valid node name of a host name: a node has no dots.
func nodeName(host string) string {
	host, _, _ = strings.Cut(host, ".")
	if host == "" {
		return "local"
	}
	return host
}
