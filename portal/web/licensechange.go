package web

import (
	"context"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// A licenseAct is a change of a license that takes little or nothing beside it.
type licenseAct struct {
	Name, Title, Explain, Button string
	Danger                       bool
	Every                        bool // asks for a span
	Typed                        bool // asks for the license's id, typed
	done                         string
	may                          func(l *portal.License) bool
	do                           func(ctx context.Context, p *portal.Portal, id, every, actor string) (*portal.Change, error)
}

func inState(s ...portal.State) func(*portal.License) bool {
	return func(l *portal.License) bool { return slices.Contains(s, l.State) }
}

// simple makes the do of an act that takes nothing.
func simple(f func(*portal.Portal, context.Context, string, string) (*portal.Change, error)) func(context.Context, *portal.Portal, string, string, string) (*portal.Change, error) {
	return func(ctx context.Context, p *portal.Portal, id, _, actor string) (*portal.Change, error) {
		return f(p, ctx, id, actor)
	}
}

var licenseActs = []*licenseAct{
	{Name: "renew", Title: "Renew", Button: "Renew the license", Every: true,
		Explain: "Moves the end on and signs the license anew, with a reply for each active site. Early renewal is always allowed and shortens nothing.",
		done:    notice("license-renewed", "The license was renewed. Carry these replies to its sites."),
		may:     func(l *portal.License) bool { return l.State != portal.Revoked && !l.Terms.Trial && !l.End.IsZero() },
		do: func(ctx context.Context, p *portal.Portal, id, every, actor string) (*portal.Change, error) {
			return p.RenewLicense(ctx, id, every, actor)
		}},
	{Name: "refresh", Title: "Give anew", Button: "Sign it anew",
		Explain: "Signs the license anew with the keys of today and changes nothing in it: after a key was announced, or where a reply was lost.",
		done:    notice("license-refreshed", "The license was signed anew. Carry these replies to its sites."),
		may:     func(l *portal.License) bool { return l.Terms.Offline(license.Refresh) }, do: simple((*portal.Portal).RefreshLicense)},
	{Name: "suspend", Title: "Suspend", Button: "Suspend the license", Danger: true,
		Explain: "Sites get no renewal until it is resumed. Offline it takes effect when a site imports its next reply, or when the license there ends. What sites report is still counted.",
		done:    notice("license-suspended", "The license is suspended. It takes effect at a site with the reply that it imports next."),
		may:     inState(portal.Active), do: simple((*portal.Portal).SuspendLicense)},
	{Name: "resume", Title: "Resume", Button: "Resume the license",
		Explain: "Undoes the suspension, with a reply for each active site.",
		done:    notice("license-resumed", "The license is in force again. Carry these replies to its sites."),
		may:     inState(portal.Suspended), do: simple((*portal.Portal).ResumeLicense)},
	{Name: "revoke", Title: "Revoke for good", Button: "Revoke it for good", Danger: true, Typed: true,
		Explain: "Ends the license for good: no activation, no renewal, and no way back. Offline it takes effect when a site imports its next reply, or when the license there ends. What sites report is still counted.",
		done:    notice("license-revoked", "The license was revoked. It takes effect at a site with the reply that it imports next."),
		may:     inState(portal.Active, portal.Suspended), do: simple((*portal.Portal).RevokeLicense)},
}

// actsFor are those that are possible with a license as it is.
func actsFor(l *portal.License) (out []*licenseAct) {
	for _, a := range licenseActs {
		if a.may(l) {
			out = append(out, a)
		}
	}
	return out
}

// actPage is the page that asks before a change.
type actPage struct {
	*licensePage
	Act *licenseAct
}

// changeRoutes has a page that asks, and its form, for each act.
func (s *Server) changeRoutes() (out []Route) {
	for _, a := range licenseActs {
		serve := func(w http.ResponseWriter, r *http.Request) error { return s.changeLicense(w, r, a) }
		out = append(out, Route{"GET", "/licenses/{id}/" + a.Name, gate.Manage, serve}, Route{"POST", "/licenses/{id}/" + a.Name, gate.Manage, serve})
	}
	return out
}

func (s *Server) changeLicense(w http.ResponseWriter, r *http.Request, a *licenseAct) error {
	l, d, err := s.pathLicense(r)
	if err != nil {
		return err
	}
	command := "license " + a.Name + " " + l.ID + " --out replies"
	p := page{Title: a.Title + " " + l.ID, Nav: "licenses", Crumbs: licenseCrumbs(l, d.CustomerName), Data: actPage{d, a}, Command: command, API: "POST /api/v1/licenses/" + l.ID + "/" + a.Name}
	if r.Method != http.MethodPost {
		return s.show(w, r, "license_act", p)
	}
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	if a.Typed && strings.TrimSpace(form.Get("typed")) != l.ID {
		return s.again(w, r, "license_act", p, form, badField("typed", "this is not the id of the license", "type "+l.ID+" to revoke it"))
	}
	every := strings.TrimSpace(form.Get("every"))
	if a.Every && every == "" && l.Rules.Duration == "" {
		return s.again(w, r, "license_act", p, form, badField("every", "this license has no duration of its own", "write by how much it is renewed: monthly, annual, or a span such as 180d"))
	}
	if _, err := a.do(r.Context(), s.Portal, l.ID, every, gate.CallerOf(r.Context()).Actor()); err != nil {
		return s.again(w, r, "license_act", p, form, at(err, "every"))
	}
	return done(w, r, "/licenses/"+escape(l.ID)+"/replies", a.done)
}

var doneUpdated = notice("license-updated", "The terms were updated and the license was signed anew. Carry these replies to its sites.")

// updatePage is the form of terms of a license that exists.
type updatePage struct {
	*licensePage
	Form *termForm
}

func (s *Server) updateLicense(w http.ResponseWriter, r *http.Request) error {
	l, d, err := s.pathLicense(r)
	if err != nil {
		return err
	}
	lines, err := l.Terms.Lines()
	if err != nil {
		return err
	}
	for _, name := range fixedLines {
		delete(lines, name)
	}
	var product *portal.Product
	if l.Product != "" {
		if product, err = s.Portal.Product(r.Context(), l.Product); err != nil {
			return err
		}
	}
	f := updateForm(lines, product)
	p := page{Title: "Update the terms of " + l.ID, Nav: "licenses", Crumbs: licenseCrumbs(l, d.CustomerName), Data: updatePage{d, f},
		Command: "license update " + l.ID + " --limit render.pages=5000:none:monthly --out replies", API: "POST /api/v1/licenses/" + l.ID + "/update", Tag: portal.Tag(l)}
	if r.Method != http.MethodPost {
		return s.show(w, r, "license_update", p)
	}
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	set, err := f.parse(form, lines)
	if err == nil && len(set) == 0 {
		err = &portal.Error{Code: portal.CodeBadRequest, Status: http.StatusBadRequest, Message: "nothing was changed", Hint: "change a field, or go back"}
	}
	if err == nil {
		_, err = s.Portal.UpdateLicense(portal.IfMatch(r.Context(), form.Get("tag")), l.ID, set, gate.CallerOf(r.Context()).Actor())
	}
	if err != nil {
		return s.again(w, r, "license_update", p, form, err)
	}
	return done(w, r, "/licenses/"+escape(l.ID)+"/replies", doneUpdated)
}

// updateForm is the form of terms without what never changes: the type, and the
// meters that are there.
func updateForm(lines license.Lines, product *portal.Product) *termForm {
	f := newTermForm(lines, product, nameGroup)
	f.Fixed["type"], f.Fixed["trial"] = true, true
	for _, m := range metersOf(lines["meter"]) {
		f.Fixed[m.ID], f.Chosen["meter "+m.ID] = true, true
	}
	// What the license has without saying so is what the product has, not more.
	for name := range maps.Clone(f.Chosen) {
		kind, rest, _ := strings.Cut(name, " ")
		if len(lines[kind]) == 0 {
			f.Chosen[kind+" "+rest] = false
		}
	}
	return f
}

// creditPage asks for an amount to give back.
type creditPage struct {
	*licensePage
	Sites, Limited []option
}

var doneCredit = notice("license-credited", "The amount was given back. Carry the reply of this site to it.")

func (s *Server) creditLicense(w http.ResponseWriter, r *http.Request) error {
	l, d, err := s.pathLicense(r)
	if err != nil {
		return err
	}
	c := creditPage{licensePage: d}
	for _, x := range d.Ledgers {
		if x.Ledger.State == portal.LedgerActive && x.Serial > 0 {
			c.Sites = append(c.Sites, option{x.Origin, orText(x.Label, x.LedgerID)})
		}
	}
	for _, x := range l.Terms.Limits {
		if m := l.Terms.Meter(x.Name); !x.Feature && m != nil {
			c.Limited = append(c.Limited, option{x.Name, x.Name + ", in " + m.Unit})
		}
	}
	p := page{Title: "Give back an amount", Nav: "licenses", Crumbs: licenseCrumbs(l, d.CustomerName), Data: c,
		Command: "license credit SITE METER AMOUNT --reason 'double import' --out replies", API: "POST /api/v1/ledgers/LEDGER/credit"}
	if r.Method != http.MethodPost {
		return s.show(w, r, "license_credit", p)
	}
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	if err := s.credit(r, l, form); err != nil {
		return s.again(w, r, "license_credit", p, form, err)
	}
	return done(w, r, "/licenses/"+escape(l.ID)+"/replies", doneCredit)
}

func (s *Server) credit(r *http.Request, l *portal.License, form url.Values) error {
	m := l.Terms.Meter(form.Get("meter"))
	if m == nil {
		return badField("meter", "this license has no meter “"+form.Get("meter")+"”", "choose one that has a limit")
	}
	digits, ok := smallest(strings.TrimSpace(form.Get("amount")), m.Scale)
	amount, err := strconv.ParseUint(digits, 10, 63)
	if !ok || err != nil || amount == 0 {
		return badField("amount", "“"+form.Get("amount")+"” is no amount above 0", amountHint(meterRow{Scale: m.Scale}))
	}
	reason := strings.TrimSpace(form.Get("reason"))
	if reason == "" {
		return badField("reason", "somebody will ask why", "write the reason: it goes to the audit log")
	}
	x, err := s.Portal.Ledger(r.Context(), form.Get("ledger"))
	if err != nil || x.License != l.ID {
		return badField("ledger", "this is no site of the license", "choose one of the list")
	}
	_, err = s.Portal.Credit(r.Context(), x.Origin, m.ID, amount, reason, gate.CallerOf(r.Context()).Actor())
	return at(err, "meter")
}

// startCodePage makes an initialization code.
type startCodePage struct {
	*licensePage
	Code *portal.StartCode // that was just made
	QR   template.URL
}

func (s *Server) licenseCodes(w http.ResponseWriter, r *http.Request) error {
	l, d, err := s.pathLicense(r)
	if err != nil {
		return err
	}
	c := startCodePage{licensePage: d}
	p := page{Title: "Activate by typed codes", Nav: "licenses", Crumbs: licenseCrumbs(l, d.CustomerName), Data: &c,
		Command: "license code " + l.ID, API: "POST /api/v1/licenses/" + l.ID + "/codes"}
	if r.Method != http.MethodPost {
		return s.show(w, r, "license_codes", p)
	}
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	if c.Code, err = s.Portal.NewCode(r.Context(), l.ID, gate.CallerOf(r.Context()).Actor()); err == nil {
		c.QR, err = qrImage(strings.TrimSpace(c.Code.Code))
	}
	if err != nil {
		return s.again(w, r, "license_codes", p, form, err)
	}
	return s.show(w, r, "license_codes", p)
}
