package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/portal"
)

func (a *app) webhookCommand() *cobra.Command {
	add := &cobra.Command{
		Use:   "add URL",
		Short: "Make a receiver of events, and print its secret once",
		Long: `Make a receiver of events. "meterseal-vendor serve" sends them, signed as
Standard Webhooks says; the secret is printed this one time.

Events: ` + strings.Join(portal.EventTypes[:3], ", ") + `,
` + strings.Join(portal.EventTypes[3:6], ", ") + `,
` + strings.Join(portal.EventTypes[6:9], ", ") + `,
` + strings.Join(portal.EventTypes[9:], ", ") + `.`,
		Example: "  meterseal-vendor webhook add https://example.com/hook\n  meterseal-vendor webhook add https://example.com/hook \\\n      --types report.accepted,report.overdue",
		Args:    cobra.ExactArgs(1),
	}
	update := &cobra.Command{Use: "update WEBHOOK", Short: "Change address, events or state of a receiver",
		Example: "  meterseal-vendor webhook update wh-01h2x --state off", Args: cobra.ExactArgs(1), RunE: a.with(a.updateWebhook)}
	update.Flags().String("url", "", "address")
	update.Flags().String("state", "", "active or off")
	for _, c := range []*cobra.Command{add, update} {
		c.Flags().String("types", "", "events, separated by commas; all: every one")
	}
	add.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		types, _ := cmd.Flags().GetString("types")
		h, err := p.AddWebhook(cmd.Context(), portal.Webhook{URL: args[0], Types: typesOf(types)}, who())
		if err != nil {
			return err
		}
		return a.pairs(cmd, h, "webhook", h.ID, "url", h.URL, "events", shownTypes(h.Types), "secret", h.Secret)
	})
	secret := &cobra.Command{Use: "secret WEBHOOK", Short: "Give a receiver another secret, and print it once", Args: cobra.ExactArgs(1)}
	secret.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		h, err := p.RenewWebhookSecret(cmd.Context(), args[0], who())
		if err != nil {
			return err
		}
		return a.pairs(cmd, h, "webhook", h.ID, "url", h.URL, "secret", h.Secret)
	})
	remove := &cobra.Command{Use: "remove WEBHOOK", Short: "Take a receiver away, with its deliveries", Args: cobra.ExactArgs(1)}
	remove.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		if err := p.RemoveWebhook(cmd.Context(), args[0], who()); err != nil {
			return err
		}
		return a.pairs(cmd, map[string]string{"removed": args[0]}, "removed", args[0])
	})
	redeliver := &cobra.Command{Use: "redeliver DELIVERY", Short: "Send an event again, with the same id", Args: cobra.ExactArgs(1)}
	redeliver.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		if err := p.Redeliver(cmd.Context(), args[0], who()); err != nil {
			return err
		}
		return a.pairs(cmd, map[string]string{"pending": args[0]}, "pending", args[0])
	})
	deliveries := &cobra.Command{Use: "deliveries [WEBHOOK]", Short: "What was sent, and what became of it", Args: cobra.MaximumNArgs(1), RunE: a.with(a.listDeliveries)}
	deliveries.Flags().String("state", "", "pending, delivered or failed (default all)")
	dataFlags(deliveries)
	cli.OutputFlags(deliveries)
	list := &cobra.Command{Use: "list", Short: "All receivers", Args: cobra.NoArgs, RunE: a.with(a.listWebhooks)}
	c := catalog("webhook", "Receivers of events over HTTP", list, add, update, secret, remove, redeliver)
	c.AddCommand(deliveries)
	return c
}

// typesOf splits a list of events; all is the empty list.
func typesOf(s string) []string {
	if s == "" || s == "all" {
		return []string{}
	}
	return strings.Split(s, ",")
}

func shownTypes(types []string) string {
	if len(types) == 0 {
		return "all"
	}
	return strings.Join(types, ",")
}

func (a *app) updateWebhook(cmd *cobra.Command, p *portal.Portal, args []string) error {
	h, err := p.Webhook(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	f := cmd.Flags()
	for name, to := range map[string]*string{"url": &h.URL, "state": &h.State} {
		if f.Changed(name) {
			*to, _ = f.GetString(name)
		}
	}
	if f.Changed("types") {
		types, _ := f.GetString("types")
		h.Types = typesOf(types)
	}
	if h, err = p.UpdateWebhook(cmd.Context(), h, who()); err != nil {
		return err
	}
	return a.pairs(cmd, h, "webhook", h.ID, "url", h.URL, "events", shownTypes(h.Types), "state", h.State)
}

func (a *app) listWebhooks(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	all, err := p.Webhooks(cmd.Context())
	if err != nil {
		return err
	}
	t := cli.NewTable("webhook", "state", "url")
	for _, h := range all {
		t.Add(h.ID, h.State, h.URL)
		t.Note("events: " + shownTypes(h.Types))
		if h.Note != "" {
			t.Note(h.Note)
		}
	}
	return a.list(cmd, map[string]any{"webhooks": all}, t)
}

func (a *app) listDeliveries(cmd *cobra.Command, p *portal.Portal, args []string) error {
	webhook := ""
	if len(args) > 0 {
		webhook = args[0]
	}
	state, _ := cmd.Flags().GetString("state")
	page, err := p.Deliveries(cmd.Context(), webhook, portal.ListOptions{State: state, Limit: 500})
	if err != nil {
		return err
	}
	t := cli.NewTable("delivery", "event", "state", "attempts", "status")
	for _, d := range page.Items {
		t.Add(d.ID, d.Event.Type, d.State, strconv.FormatInt(d.Attempts, 10), strconv.FormatInt(d.Status, 10))
		if d.Status/100 != 2 && d.Answer != "" {
			t.Note(d.Answer)
		}
	}
	return a.list(cmd, map[string]any{"deliveries": page.Items, "total": page.Total}, t)
}
