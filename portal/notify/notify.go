package notify

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/meterseal/meterseal/internal/mailer"
	"github.com/meterseal/meterseal/portal"
)

// Options of New. Portal is required.
type Options struct {
	Portal *portal.Portal
	// PublicURL is the address of the portal that mails name.
	PublicURL string
	// Private lets webhooks go to loopback, link-local and private addresses.
	Private bool
	// SMTP is where mails are handed in; without a host they wait.
	SMTP mailer.Relay
	// Every is how often the portal is asked what is due; 0: 2 s. Reminders are
	// looked for once a minute.
	Every time.Duration
	// Now is the clock of signatures; nil: time.Now.
	Now func() time.Time
	// Log takes a line per failed attempt; nil: none.
	Log *slog.Logger
	// Count is told of each attempt: of "webhook" or "mail", with the result
	// "delivered" or "failed". nil: nobody is.
	Count func(what, result string)
}

// Limits of one round.
const (
	atOnce      = 8  // deliveries under way
	roundMost   = 64 // deliveries or mails taken on
	remindEvery = time.Minute
)

// A Sender sends what the portal has written down.
type Sender struct {
	Options
	client *http.Client
}

// New returns a sender. Run lets it work.
func New(o Options) (*Sender, error) {
	if o.Every == 0 {
		o.Every = 2 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Count == nil {
		o.Count = func(string, string) {}
	}
	if o.SMTP.Host != "" {
		if err := o.SMTP.Check(); err != nil {
			return nil, fmt.Errorf("smtp_host, smtp_from: %w", err)
		}
	}
	return &Sender{Options: o, client: newClient(o.Private)}, nil
}

// Run sends until ctx ends; attempts that are under way are finished first.
func (s *Sender) Run(ctx context.Context) {
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	var reminded time.Time
	for {
		if now := s.Now(); now.Sub(reminded) >= remindEvery || now.Before(reminded) {
			reminded = now
			if _, err := s.Portal.Remind(ctx, s.PublicURL); err != nil && ctx.Err() == nil {
				s.Log.Error("reminders failed", "err", err)
			}
		}
		if err := s.Round(ctx); err != nil && ctx.Err() == nil {
			s.Log.Error("sending failed", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Round sends what is due now.
func (s *Sender) Round(ctx context.Context) error {
	due, err := s.Portal.ClaimDeliveries(ctx, roundMost)
	if err != nil {
		return err
	}
	// An attempt that was begun is finished and written down also if ctx ends.
	work := context.WithoutCancel(ctx)
	var group sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, d := range due {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			s.deliver(work, d)
		})
	}
	group.Wait()
	if s.SMTP.Host == "" {
		return nil
	}
	mails, err := s.Portal.ClaimMails(ctx, roundMost)
	if err != nil {
		return err
	}
	for _, m := range mails {
		s.mail(work, m)
	}
	return nil
}

// deliver makes one attempt and writes down what became of it.
func (s *Sender) deliver(ctx context.Context, d portal.Delivery) {
	status, answer := s.post(ctx, d)
	result := "failed"
	if status >= 200 && status < 300 {
		result = "delivered"
	} else {
		s.Log.Warn("webhook attempt failed", "webhook", d.Webhook, "event", d.Event.ID, "type", d.Event.Type, "attempt", d.Attempts+1, "status", status, "err", answer)
	}
	s.Count("webhook", result)
	if err := s.Portal.Delivered(ctx, d, status, answer); err != nil {
		s.Log.Error("delivery not written down, it will be sent again", "webhook", d.Webhook, "event", d.Event.ID, "err", err)
	}
}

func (s *Sender) mail(ctx context.Context, m portal.Mail) {
	failed := s.SMTP.Send(ctx, mailer.Message{ID: m.ID, To: []string{m.Address}, Subject: m.Subject, Body: m.Body}, s.Now())
	result := "delivered"
	if failed != nil {
		result = "failed"
		s.Log.Warn("mail attempt failed", "mail", m.ID, "attempt", m.Attempts+1, "err", failed)
	}
	s.Count("mail", result)
	if err := s.Portal.Mailed(ctx, m, failed); err != nil {
		s.Log.Error("mail not written down, it may be sent again", "mail", m.ID, "err", err)
	}
}
