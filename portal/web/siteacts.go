package web

import (
	"cmp"
	"context"
	"net/http"
	"strings"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// A ledgerAct is a decision of staff about a ledger.
type ledgerAct struct {
	Name, Title, Button string
	// Means says what follows, Reason that somebody will ask why, Final that it
	// cannot be taken back.
	Means         []string
	Reason, Final bool
	Fits          func(*portal.Ledger) bool
	do            func(ctx context.Context, p *portal.Portal, l *portal.Ledger, text, actor string) error
	done          string
}

func waits(l *portal.Ledger) bool {
	return l.Approval == portal.ApprovalPending && l.State == portal.LedgerActive
}
func active(l *portal.Ledger) bool { return l.State == portal.LedgerActive }

// ledgerActs lists them in the order of the page.
var ledgerActs = []ledgerAct{
	{Name: "approve", Title: "Approve the activation", Button: "Approve", Fits: waits,
		Means: []string{"The reply to its newest report is made again, with a license.", "Carry that reply to the site, or let the customer download it.",
			"A ledger that this one supersedes is released: its later reports are refused."},
		do: func(ctx context.Context, p *portal.Portal, l *portal.Ledger, _, actor string) error {
			_, err := p.ApproveLedger(ctx, l.Origin, actor)
			return err
		}, done: notice("ledger-approved", "The activation was approved. The reply with the license can be downloaded now.")},
	{Name: "reject", Title: "Reject the activation", Button: "Reject", Reason: true, Final: true, Fits: waits,
		Means: []string{"The ledger gets no license, and its activation is free for another site.", "The site goes on counting; its reports are still accepted and receipted."},
		do: func(ctx context.Context, p *portal.Portal, l *portal.Ledger, why, actor string) error {
			return p.RejectLedger(ctx, l.Origin, why, actor)
		}, done: notice("ledger-rejected", "The activation was rejected.")},
	{Name: "label", Title: "Change the label", Button: "Save label", Fits: func(*portal.Ledger) bool { return true },
		Means: []string{"The label is what people call this cluster, here and when a report is uploaded. It names nothing in signed documents."},
		do: func(ctx context.Context, p *portal.Portal, l *portal.Ledger, label, actor string) error {
			return at(p.LabelLedger(ctx, l.Origin, label, actor), "text")
		}, done: notice("ledger-labelled", "The label was changed.")},
	{Name: "release", Title: "Release a lost site", Button: "Release", Reason: true, Final: true, Fits: active,
		Means: []string{"Its activation is free: another site can be activated, which counts as a transfer.", "Later reports of this ledger are refused (ledger/superseded), so usage that it has not reported yet is never counted.",
			"The license that the site holds goes on until its own dates end it: offline nothing can be taken back at once.", "If the site can still report, let it deactivate instead: its last report brings the final usage and frees the activation."},
		do: func(ctx context.Context, p *portal.Portal, l *portal.Ledger, why, actor string) error {
			return p.ReleaseLedger(ctx, l.Origin, why, actor)
		}, done: notice("ledger-released", "The site was released. Its activation is free.")},
	{Name: "revoke", Title: "Revoke the site key", Button: "Revoke the key", Reason: true, Final: true, Fits: active,
		Means: []string{"For a key that was stolen or misused: everything that it signs from now on is refused (key/revoked).", "Usage that the site has not reported yet is never counted, and it gets no new license.",
			"The license that the site holds goes on until its own dates end it: offline nothing can be taken back at once.", "The site has to be activated anew, with a new key and a new ledger."},
		do: func(ctx context.Context, p *portal.Portal, l *portal.Ledger, why, actor string) error {
			return p.RevokeLedger(ctx, l.Origin, why, actor)
		}, done: notice("ledger-revoked", "The site key was revoked.")},
}

// actOn shows what a decision comes to, and takes it.
func (s *Server) actOn(act ledgerAct) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		l, err := s.Portal.LedgerByID(r.Context(), r.PathValue("id"))
		if err != nil {
			return err
		}
		command := "site " + act.Name + " " + l.LedgerID
		switch {
		case act.Reason:
			command += " --reason '…'"
		case act.Name == "label":
			command += " 'NEW LABEL'"
		}
		p := page{Title: act.Title, Nav: "sites", Crumbs: []crumb{{"Sites", "/sites"}, {cmp.Or(l.Label, l.LedgerID), "/ledgers/" + l.LedgerID}},
			Data: map[string]any{"Ledger": l, "Act": act, "Fits": act.Fits(l)}, Command: command, API: "POST /api/v1/ledgers/" + l.LedgerID + "/" + act.Name}
		if r.Method != http.MethodPost {
			return s.show(w, r, "ledger_act", p)
		}
		form, err := readForm(w, r)
		if err != nil {
			return err
		}
		text := strings.TrimSpace(form.Get("text"))
		if act.Reason && text == "" {
			err = badField("text", "somebody will ask why", "write the reason: it goes to the audit log")
		} else {
			err = act.do(r.Context(), s.Portal, l, text, gate.CallerOf(r.Context()).Actor())
		}
		if err != nil {
			return s.again(w, r, "ledger_act", p, form, err)
		}
		return done(w, r, "/ledgers/"+l.LedgerID, act.done)
	}
}
