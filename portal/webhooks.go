package portal

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"time"
)

// States of a webhook.
const (
	WebhookActive = "active"
	WebhookOff    = "off" // by staff, or because its receiver was gone
)

// States of a delivery.
const (
	DeliveryPending   = "pending"
	DeliveryDelivered = "delivered"
	DeliveryFailed    = "failed" // every attempt did; it can be sent again
)

// webhooksMax bounds how many receivers there are: each costs a row per event.
const webhooksMax = 50

// retries are the waits between attempts, those that Standard Webhooks
// recommends: ten attempts in about three days.
var retries = []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}

// claimTime is how long a process keeps what it has taken on: longer than an
// attempt lasts.
const claimTime = time.Minute

// A Webhook is a receiver of events over HTTP.
type Webhook struct {
	ID  string `json:"id"`
	URL string `json:"url"`
	// Types are the events that it gets; none: all.
	Types   []string  `json:"types"`
	State   string    `json:"state"`
	Note    string    `json:"note,omitempty"` // why it is off
	Created time.Time `json:"created"`
	// Secret signs, in the form whsec_BASE64. It is told once, when the webhook is
	// made or its secret changed.
	Secret string `json:"secret,omitempty"`
}

func (h *Webhook) wants(kind string) bool { return len(h.Types) == 0 || slices.Contains(h.Types, kind) }

// A Delivery is one event on its way to one webhook.
type Delivery struct {
	ID       string    `json:"id"`
	Webhook  string    `json:"webhook"`
	Event    Event     `json:"event"`
	State    string    `json:"state"`
	Attempts int64     `json:"attempts"`
	Due      time.Time `json:"due,omitzero"` // of the next attempt
	// Status is that of the last answer, 0: none came. Answer is how it began, or
	// what went wrong.
	Status int64     `json:"status"`
	Answer string    `json:"answer,omitempty"`
	Ended  time.Time `json:"ended,omitzero"`

	URL    string `json:"-"` // of the webhook
	Secret string `json:"-"`
}

// AddWebhook makes a receiver and returns it with its secret.
func (p *Portal) AddWebhook(ctx context.Context, h Webhook, actor string) (Webhook, error) {
	if err := h.check(); err != nil {
		return h, err
	}
	h.ID, h.State, h.Created, h.Secret = newID("wh-"), WebhookActive, p.now(), newSecret()
	return h, p.store.tx(ctx, func(c conn) error {
		all, err := c.webhooks(ctx)
		if err != nil {
			return err
		}
		if len(all) >= webhooksMax {
			return refuse(CodeState, "there are %d webhooks: remove one first", len(all))
		}
		if _, err := c.exec(ctx, "INSERT INTO webhooks (id, url, secret, types, state, note, created) VALUES (?, ?, ?, ?, ?, '', ?)",
			h.ID, h.URL, h.Secret, toJSON(h.Types), h.State, h.Created.Unix()); err != nil {
			return err
		}
		return c.audit(ctx, p.now(), actor, "webhook.add", h.ID, nil, h.shown())
	})
}

// newSecret makes 24 random bytes, as Standard Webhooks asks for.
func newSecret() string {
	b := make([]byte, 24)
	rand.Read(b)
	return "whsec_" + base64.StdEncoding.EncodeToString(b)
}

// shown is h without its secret, for the audit log.
func (h Webhook) shown() Webhook { h.Secret = ""; return h }

func (h *Webhook) check() error {
	u, err := url.Parse(h.URL)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return refuse(CodeBadRequest, "url: %q is no address such as https://example.com/hook", h.URL).with("line", "url")
	case u.User != nil || len(h.URL) > 2048:
		return refuse(CodeBadRequest, "url: no password, and at most 2,048 bytes; the signature says who sends").with("line", "url")
	}
	if h.Types == nil {
		h.Types = []string{}
	}
	for _, t := range h.Types {
		if !knownEvent(t) {
			return refuse(CodeBadRequest, "types: there is no event %q", t).with("line", "types")
		}
	}
	return nil
}

// UpdateWebhook changes where a webhook goes, what it gets, and whether it is
// active.
func (p *Portal) UpdateWebhook(ctx context.Context, h Webhook, actor string) (Webhook, error) {
	if err := h.check(); err != nil {
		return h, err
	}
	if h.State != WebhookActive && h.State != WebhookOff {
		return h, refuse(CodeBadRequest, "state: %q is neither active nor off", h.State).with("line", "state")
	}
	err := p.store.tx(ctx, func(c conn) error {
		before, err := c.webhook(ctx, h.ID)
		if err != nil {
			return err
		}
		h.Created, h.Note = before.Created, ""
		if _, err := c.exec(ctx, "UPDATE webhooks SET url = ?, types = ?, state = ?, note = '' WHERE id = ?", h.URL, toJSON(h.Types), h.State, h.ID); err != nil {
			return err
		}
		return c.audit(ctx, p.now(), actor, "webhook.update", h.ID, before.shown(), h.shown())
	})
	return h.shown(), err
}

// RenewWebhookSecret gives a webhook another secret and returns it.
func (p *Portal) RenewWebhookSecret(ctx context.Context, id, actor string) (Webhook, error) {
	var h *Webhook
	err := p.store.tx(ctx, func(c conn) (err error) {
		if h, err = c.webhook(ctx, id); err != nil {
			return err
		}
		h.Secret = newSecret()
		if _, err := c.exec(ctx, "UPDATE webhooks SET secret = ? WHERE id = ?", h.Secret, id); err != nil {
			return err
		}
		return c.audit(ctx, p.now(), actor, "webhook.secret", id, nil, nil)
	})
	if err != nil {
		return Webhook{}, err
	}
	return *h, nil
}

// RemoveWebhook takes a webhook away, with its deliveries.
func (p *Portal) RemoveWebhook(ctx context.Context, id, actor string) error {
	return p.store.tx(ctx, func(c conn) error {
		h, err := c.webhook(ctx, id)
		if err != nil {
			return err
		}
		if _, err := c.exec(ctx, "DELETE FROM deliveries WHERE webhook = ?", id); err != nil {
			return err
		}
		if _, err := c.exec(ctx, "DELETE FROM webhooks WHERE id = ?", id); err != nil {
			return err
		}
		return c.audit(ctx, p.now(), actor, "webhook.remove", id, h.shown(), nil)
	})
}

// Webhooks lists the receivers, without their secrets.
func (p *Portal) Webhooks(ctx context.Context) ([]Webhook, error) {
	all, err := p.store.reader().webhooks(ctx)
	for i := range all {
		all[i] = all[i].shown()
	}
	return all, err
}

// Webhook returns one receiver, without its secret; not_found if there is none.
func (p *Portal) Webhook(ctx context.Context, id string) (Webhook, error) {
	h, err := p.store.reader().webhook(ctx, id)
	if err != nil {
		return Webhook{}, err
	}
	return h.shown(), nil
}

const webhookColumns = "id, url, secret, types, state, note, created"

func scanWebhook(scan func(...any) error) (h Webhook, err error) {
	var types string
	var created int64
	if err := scan(&h.ID, &h.URL, &h.Secret, &types, &h.State, &h.Note, &created); err != nil {
		return h, err
	}
	h.Created = unix(created)
	return h, json.Unmarshal([]byte(types), &h.Types)
}

func (c conn) webhooks(ctx context.Context) ([]Webhook, error) {
	return list(ctx, c, scanWebhook, "SELECT "+webhookColumns+" FROM webhooks ORDER BY id")
}

func (c conn) webhook(ctx context.Context, id string) (*Webhook, error) {
	all, err := list(ctx, c, scanWebhook, "SELECT "+webhookColumns+" FROM webhooks WHERE id = ?", id)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, refuse(CodeNotFound, "there is no webhook %q", id)
	}
	return &all[0], nil
}

func (c conn) addDelivery(ctx context.Context, webhook, event string, at time.Time) error {
	_, err := c.exec(ctx, "INSERT INTO deliveries (id, webhook, event, state, attempts, due, claimed, status, answer, ended) VALUES (?, ?, ?, ?, 0, ?, 0, 0, '', 0)",
		newID("dl-"), webhook, event, DeliveryPending, at.Unix())
	return err
}

// Deliveries lists the deliveries of a webhook, the newest first; those of all if
// webhook is empty. States: pending, delivered, failed. Search looks at types and
// objects of events.
func (p *Portal) Deliveries(ctx context.Context, webhook string, o ListOptions) (Page[Delivery], error) {
	if states := []string{DeliveryPending, DeliveryDelivered, DeliveryFailed}; o.State != "" && !slices.Contains(states, o.State) {
		return Page[Delivery]{}, noState(o.State, states...)
	}
	q := query{columns: deliveryColumns, from: deliveryTables, order: []string{"d.id"}, desc: true}
	q.is("d.webhook", webhook)
	q.is("d.state", o.State)
	q.search(o.Search, "e.type", "e.object")
	return page(ctx, p.store.reader(), q, o, func(scan func(...any) error) (Delivery, []any, error) {
		d, err := scanDelivery(scan)
		return d, []any{d.ID}, err
	})
}

const (
	deliveryColumns = "d.id, d.webhook, d.state, d.attempts, d.due, d.status, d.answer, d.ended, e.id, e.time, e.type, e.object, e.data, w.url, w.secret"
	deliveryTables  = "deliveries d JOIN events e ON e.id = d.event JOIN webhooks w ON w.id = d.webhook"
)

func scanDelivery(scan func(...any) error) (d Delivery, err error) {
	var due, ended, at int64
	var data string
	err = scan(&d.ID, &d.Webhook, &d.State, &d.Attempts, &due, &d.Status, &d.Answer, &ended, &d.Event.ID, &at, &d.Event.Type, &d.Event.Object, &data, &d.URL, &d.Secret)
	d.Ended, d.Event.Time, d.Event.Data = unix(ended), unix(at), json.RawMessage(data)
	if d.State == DeliveryPending {
		d.Due = unix(due)
	}
	return d, err
}

// Redeliver lets a delivery begin anew, with the same event id.
func (p *Portal) Redeliver(ctx context.Context, id, actor string) error {
	return p.store.tx(ctx, func(c conn) error {
		n, err := c.exec(ctx, "UPDATE deliveries SET state = ?, attempts = 0, due = ?, claimed = 0, ended = 0 WHERE id = ?", DeliveryPending, p.now().Unix(), id)
		if err == nil && n == 0 {
			err = refuse(CodeNotFound, "there is no delivery %q", id)
		}
		if err != nil {
			return err
		}
		return c.audit(ctx, p.now(), actor, "webhook.redeliver", id, nil, nil)
	})
}

// ClaimDeliveries returns deliveries that are due, at most so many, which are the
// caller's for a minute: of several processes each gets others. Those of webhooks
// that are off wait.
func (p *Portal) ClaimDeliveries(ctx context.Context, most int) ([]Delivery, error) {
	now := p.now()
	due, err := list(ctx, p.store.reader(), scanDelivery, "SELECT "+deliveryColumns+" FROM "+deliveryTables+
		" WHERE d.state = 'pending' AND d.due <= ? AND d.claimed < ? AND w.state = 'active' ORDER BY d.due, d.id LIMIT ?", now.Unix(), now.Unix(), most)
	if err != nil {
		return nil, err
	}
	return claim(ctx, p, "deliveries", due, func(d Delivery) string { return d.ID })
}

// claim takes rows of deliveries or mails for a minute, and returns those that no
// other process had.
func claim[T any](ctx context.Context, p *Portal, table string, due []T, id func(T) string) ([]T, error) {
	mine := []T{}
	for _, x := range due {
		now := p.now()
		err := p.store.tx(ctx, func(c conn) error {
			n, err := c.exec(ctx, "UPDATE "+table+" SET claimed = ? WHERE id = ? AND state = 'pending' AND claimed < ?", now.Add(claimTime).Unix(), id(x), now.Unix())
			if n == 1 {
				mine = append(mine, x)
			}
			return err
		})
		if err != nil {
			return mine, err
		}
	}
	return mine, nil
}

// Delivered writes down what became of an attempt: status of the answer, or 0 and
// what went wrong. 2xx is delivered; 410 switches the webhook off; anything else
// is tried again later, until the waits are used up.
func (p *Portal) Delivered(ctx context.Context, d Delivery, status int, answer string) error {
	now := p.now()
	return p.store.tx(ctx, func(c conn) error {
		state, due, ended := DeliveryPending, now, int64(0)
		switch n := int(d.Attempts); {
		case status >= 200 && status < 300:
			state, ended = DeliveryDelivered, now.Unix()
		case status == 410 || n >= len(retries):
			state, ended = DeliveryFailed, now.Unix()
		default:
			due = now.Add(retries[n])
		}
		_, err := c.exec(ctx, "UPDATE deliveries SET state = ?, attempts = attempts + 1, due = ?, claimed = 0, status = ?, answer = ?, ended = ? WHERE id = ?",
			state, due.Unix(), int64(status), clean(answer), ended, d.ID)
		if err != nil || status != 410 {
			return err
		}
		const why = "the receiver answered 410: it is gone"
		if _, err := c.exec(ctx, "UPDATE webhooks SET state = ?, note = ? WHERE id = ?", WebhookOff, why, d.Webhook); err != nil {
			return err
		}
		return c.audit(ctx, now, "portal", "webhook.off", d.Webhook, nil, why)
	})
}
