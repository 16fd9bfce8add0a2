package web

import (
	"net/http"
	"strings"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) webhookRoutes() []Route {
	return []Route{
		{"GET", "/webhooks", gate.Administer, s.webhooks},
		{"POST", "/webhooks", gate.Administer, s.webhooks},
		{"GET", "/webhooks/{id}", gate.Administer, s.webhook},
		{"POST", "/webhooks/{id}", gate.Administer, s.webhook},
		{"POST", "/webhooks/{id}/secret", gate.Administer, s.webhookSecret},
		{"POST", "/webhooks/{id}/remove", gate.Administer, s.webhookRemove},
		{"POST", "/webhooks/{id}/redeliver", gate.Administer, s.webhookRedeliver},
	}
}

var (
	doneWebhook        = notice("webhook-saved", "The webhook was saved.")
	doneWebhookRemoved = notice("webhook-removed", "The webhook was removed, with its deliveries.")
	doneRedeliver      = notice("redelivered", "It will be sent again within seconds, with the same id.")
)

// webhooksPage is the list with the form of a new one.
type webhooksPage struct {
	Webhooks []portal.Webhook
	Types    []string
	Chosen   map[string]bool
}

// webhooks lists the receivers, and makes one.
func (s *Server) webhooks(w http.ResponseWriter, r *http.Request) error {
	all, err := s.Portal.Webhooks(r.Context())
	if err != nil {
		return err
	}
	d := webhooksPage{Webhooks: all, Types: portal.EventTypes, Chosen: map[string]bool{}}
	p := page{Title: "Webhooks", Nav: "webhooks", Data: d, Command: "webhook add https://example.com/hook --types report.accepted,license.created", API: "POST /api/v1/webhooks"}
	if r.Method != http.MethodPost {
		return s.show(w, r, "webhooks", p)
	}
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	for _, t := range form["types"] {
		d.Chosen[t] = true
	}
	h, err := s.Portal.AddWebhook(r.Context(), portal.Webhook{URL: strings.TrimSpace(form.Get("url")), Types: form["types"]}, gate.CallerOf(r.Context()).Actor())
	if err != nil {
		return s.again(w, r, "webhooks", p, form, err)
	}
	return s.showSecret(w, r, h)
}

// showSecret shows a secret the one time that it is told. The page is the answer
// to the form itself, so that the secret stands in no address and no history.
func (s *Server) showSecret(w http.ResponseWriter, r *http.Request, h portal.Webhook) error {
	return s.show(w, r, "webhook_secret", page{Title: "Secret of the webhook", Nav: "webhooks", Crumbs: []crumb{{"Webhooks", "/webhooks"}}, Data: h})
}

// webhookPage is one receiver with its deliveries.
type webhookPage struct {
	portal.Webhook
	All        []string // types
	Chosen     map[string]bool
	Deliveries portal.Page[portal.Delivery]
}

// webhook shows a receiver, and changes it.
func (s *Server) webhook(w http.ResponseWriter, r *http.Request) error {
	h, err := s.Portal.Webhook(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	d := webhookPage{Webhook: h, All: portal.EventTypes, Chosen: map[string]bool{}}
	for _, t := range h.Types {
		d.Chosen[t] = true
	}
	if d.Deliveries, err = s.Portal.Deliveries(r.Context(), h.ID, listOptions(r)); err != nil {
		return err
	}
	p := page{Title: "Webhook", Nav: "webhooks", Crumbs: []crumb{{"Webhooks", "/webhooks"}}, Data: d, Command: "webhook deliveries " + h.ID, API: "GET /api/v1/webhooks/" + h.ID + "/deliveries"}
	if r.Method != http.MethodPost {
		return s.show(w, r, "webhook", p)
	}
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	h.URL, h.Types, h.State = strings.TrimSpace(form.Get("url")), form["types"], form.Get("state")
	if _, err = s.Portal.UpdateWebhook(r.Context(), h, gate.CallerOf(r.Context()).Actor()); err != nil {
		return s.again(w, r, "webhook", p, form, err)
	}
	return done(w, r, "/webhooks/"+escape(h.ID), doneWebhook)
}

func (s *Server) webhookSecret(w http.ResponseWriter, r *http.Request) error {
	h, err := s.Portal.RenewWebhookSecret(r.Context(), r.PathValue("id"), gate.CallerOf(r.Context()).Actor())
	if err != nil {
		return err
	}
	return s.showSecret(w, r, h)
}

func (s *Server) webhookRemove(w http.ResponseWriter, r *http.Request) error {
	if err := s.Portal.RemoveWebhook(r.Context(), r.PathValue("id"), gate.CallerOf(r.Context()).Actor()); err != nil {
		return err
	}
	return done(w, r, "/webhooks", doneWebhookRemoved)
}

func (s *Server) webhookRedeliver(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	if err := s.Portal.Redeliver(r.Context(), form.Get("delivery"), gate.CallerOf(r.Context()).Actor()); err != nil {
		return err
	}
	return done(w, r, "/webhooks/"+escape(r.PathValue("id")), doneRedeliver)
}
