package api

import (
	"net/http"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// webhookBody is what a webhook is made or changed with.
type webhookBody struct {
	URL   string   `json:"url" doc:"where events go: https://…"`
	Types []string `json:"types,omitempty" doc:"the events that it gets; none: all"`
	State string   `json:"state,omitempty" doc:"of a change: active or off"`
}

func (s *Server) webhookRoutes() []Route {
	hook := id("the webhook")
	states := []string{portal.DeliveryPending, portal.DeliveryDelivered, portal.DeliveryFailed}
	return []Route{{
		Method: http.MethodGet, Path: "/api/v1/webhooks", ID: "listWebhooks", Right: gate.Administer,
		Summary: "Receivers of events, without their secrets",
		Answers: ok("All of them", []portal.Webhook{}),
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			all, err := s.Portal.Webhooks(r.Context())
			if err != nil {
				return err
			}
			return s.answer(w, r, all)
		},
	}, {
		Method: http.MethodPost, Path: "/api/v1/webhooks", ID: "makeWebhook", Right: gate.Administer,
		Summary: "Make a receiver of events; its secret is told once",
		Doc:     "Events are sent as Standard Webhooks says: webhook-id, webhook-timestamp, webhook-signature. What fails is sent again for three days, with the same id.",
		Body:    takes(webhookBody{}), Answers: made("The webhook with its secret", portal.Webhook{}),
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			keepSecret(w)
			var body webhookBody
			if err := readJSON(w, r, &body); err != nil {
				return err
			}
			h, err := s.Portal.AddWebhook(r.Context(), portal.Webhook{URL: body.URL, Types: body.Types}, actor(r))
			if err != nil {
				return err
			}
			w.Header().Set("Location", "/api/v1/webhooks/"+h.ID)
			return s.answerTagged(w, r, http.StatusCreated, "", h)
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/webhooks/{id}", ID: "getWebhook", Right: gate.Administer,
		Summary: "A webhook",
		Params:  []param{hook}, Answers: ok("The webhook", portal.Webhook{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			h, err := s.Portal.Webhook(r.Context(), r.PathValue("id"))
			if err != nil {
				return err
			}
			return s.answer(w, r, h)
		},
	}, {
		Method: http.MethodPut, Path: "/api/v1/webhooks/{id}", ID: "changeWebhook", Right: gate.Administer,
		Summary: "Change where a webhook goes, what it gets, and whether it is active",
		Params:  []param{hook}, Body: takes(webhookBody{}), Answers: done("The webhook as it is now", portal.Webhook{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			var body webhookBody
			if err := readJSON(w, r, &body); err != nil {
				return err
			}
			if body.State == "" {
				body.State = portal.WebhookActive
			}
			h, err := s.Portal.UpdateWebhook(r.Context(), portal.Webhook{ID: r.PathValue("id"), URL: body.URL, Types: body.Types, State: body.State}, actor(r))
			if err != nil {
				return err
			}
			return s.answerTagged(w, r, http.StatusOK, "", h)
		},
	}, {
		Method: http.MethodDelete, Path: "/api/v1/webhooks/{id}", ID: "removeWebhook", Right: gate.Administer,
		Summary: "Take a webhook away, with its deliveries",
		Params:  []param{hook}, Answers: []content{{Status: http.StatusNoContent, Doc: "It is gone"}}, Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			if err := s.Portal.RemoveWebhook(r.Context(), r.PathValue("id"), actor(r)); err != nil {
				return err
			}
			w.WriteHeader(http.StatusNoContent)
			return nil
		},
	}, {
		Method: http.MethodPost, Path: "/api/v1/webhooks/{id}/secret", ID: "renewWebhookSecret", Right: gate.Administer,
		Summary: "Give a webhook another secret, which is told once; the old one ends at once",
		Params:  []param{hook}, Answers: done("The webhook with its secret", portal.Webhook{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			keepSecret(w)
			h, err := s.Portal.RenewWebhookSecret(r.Context(), r.PathValue("id"), actor(r))
			if err != nil {
				return err
			}
			return s.answerTagged(w, r, http.StatusOK, "", h)
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/webhooks/{id}/deliveries", ID: "listDeliveries", Right: gate.Administer,
		Summary: "What was sent to a webhook, newest first, and what became of it",
		Params:  append(lists(param{Name: "state", Enum: states, Doc: "only those"}), hook),
		Answers: ok("A page of them", portal.Page[portal.Delivery]{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			h, err := s.Portal.Webhook(r.Context(), r.PathValue("id"))
			if err != nil {
				return err
			}
			page, err := s.Portal.Deliveries(r.Context(), h.ID, options(r, q))
			if err != nil {
				return err
			}
			return s.answer(w, r, page)
		},
	}, {
		Method: http.MethodPost, Path: "/api/v1/deliveries/{id}/again", ID: "redeliver", Right: gate.Administer,
		Summary: "Send an event again, with the same id",
		Params:  []param{id("the delivery")}, Answers: []content{{Status: http.StatusNoContent, Doc: "It waits to be sent"}}, Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			if err := s.Portal.Redeliver(r.Context(), r.PathValue("id"), actor(r)); err != nil {
				return err
			}
			w.WriteHeader(http.StatusNoContent)
			return nil
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/events", ID: "listEvents", Right: gate.Administer,
		Summary: "What happened, newest first: the events that webhooks get, also without one",
		Params:  lists(param{Name: "state", Enum: portal.EventTypes, Doc: "only this type"}),
		Answers: ok("A page of them", portal.Page[portal.Event]{}),
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			page, err := s.Portal.FindEvents(r.Context(), options(r, q))
			if err != nil {
				return err
			}
			return s.answer(w, r, page)
		},
	}}
}

func (s *Server) settingsRoutes() []Route {
	return []Route{{
		Method: http.MethodGet, Path: "/api/v1/settings", ID: "getSettings", Right: gate.Administer,
		Summary: "The vendor's name, colours, logo and reminders",
		Answers: ok("The settings", portal.Settings{}),
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			x, err := s.Portal.Settings(r.Context())
			if err != nil {
				return err
			}
			return s.answer(w, r, x)
		},
	}, {
		Method: http.MethodPut, Path: "/api/v1/settings", ID: "changeSettings", Right: gate.Administer,
		Summary: "Replace the settings: what is left out is empty",
		Body:    takes(portal.Settings{}), Answers: done("The settings as they are now", portal.Settings{}),
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			var body portal.Settings
			if err := readJSON(w, r, &body); err != nil {
				return err
			}
			if err := s.Portal.SetSettings(r.Context(), body, actor(r)); err != nil {
				return err
			}
			x, err := s.Portal.Settings(r.Context())
			if err != nil {
				return err
			}
			return s.answerTagged(w, r, http.StatusOK, "", x)
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/mails", ID: "listMails", Right: gate.Administer,
		Summary: "Reminders that were written, newest first, and what became of them",
		Params:  lists(param{Name: "state", Enum: []string{portal.MailPending, portal.MailSent, portal.MailFailed}, Doc: "only those"}),
		Answers: ok("A page of them", portal.Page[portal.Mail]{}),
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			page, err := s.Portal.Mails(r.Context(), options(r, q))
			if err != nil {
				return err
			}
			return s.answer(w, r, page)
		},
	}}
}
