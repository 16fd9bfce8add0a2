package web

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) policyRoutes() []Route {
	return []Route{
		{"GET", "/policies", gate.Read, s.policies},
		{"GET", "/policies/new", gate.Manage, s.newPolicy},
		{"POST", "/policies/new", gate.Manage, s.newPolicy},
		{"GET", "/policies/{name}", gate.Read, s.policy},
		{"GET", "/policies/{name}/edit", gate.Manage, s.editPolicy},
		{"POST", "/policies/{name}/edit", gate.Manage, s.editPolicy},
	}
}

var donePolicy = notice("policy-saved", "The policy was saved. This changes no license that was issued; it is what new ones begin with.")

// shippedPolicies explain those that come with the program, in a sentence each.
var shippedPolicies = map[string]string{
	"annual-metered":      "One year of use, metered without limits; when the year and its grace are over, applications get no.",
	"monthly-pay-per-use": "The customer pays for what was used: a report is due each month, and a late one stops nothing that runs.",
	"prepaid":             "An amount that was bought in advance; when it is used up, applications get no. Give it a limit.",
	"rolling-180":         "Each accepted report gives 180 more days, up to the end of the contract.",
	"observe":             "Counts and warns for a year, and never says no.",
}

// policyWords says what a policy comes to.
func policyWords(p portal.Policy) string {
	if s, ok := shippedPolicies[p.Name]; ok {
		return s
	}
	one := func(name, otherwise string) string { return orText(strings.Join(p.Set[name], " "), otherwise) }
	s := "A " + one("type", "time-limited") + " license, " + one("enforcement", "soft") + " enforcement"
	if p.Rules.Duration != "" {
		s += ", for " + spanWords(p.Rules.Duration)
	}
	if every := one("report-every", ""); every != "" {
		s += ", with a report " + everyWords(every)
	}
	if p.Rules.Approval {
		s += "; each activation waits for approval"
	}
	return s + "."
}

// spanWords and everyWords spell a span, or monthly and annual.
func spanWords(s string) string {
	switch s {
	case "monthly":
		return "a month"
	case "annual":
		return "a year"
	}
	d, err := ledger.ParseDur(s)
	if err != nil {
		return s
	}
	return span(d)
}

func everyWords(s string) string {
	switch s {
	case "monthly":
		return "each month"
	case "annual":
		return "each year"
	}
	return "every " + spanWords(s)
}

// policyLine is a policy in a list.
type policyLine struct {
	portal.Policy
	Words   string
	Shipped bool
}

func (s *Server) policies(w http.ResponseWriter, r *http.Request) error {
	all, err := s.Portal.Policies(r.Context())
	if err != nil {
		return err
	}
	q, lines := strings.ToLower(listOptions(r).Search), []policyLine{}
	for _, p := range all {
		if l := policyLineOf(p); strings.Contains(strings.ToLower(p.Name+" "+l.Words), q) {
			lines = append(lines, l)
		}
	}
	if asCSV(r) {
		return writeCSV(w, "policies", []string{"name", "lines", "duration", "expiry_basis", "renewal_basis", "transfer", "approval"}, func(yield func([]string, error) bool) {
			for _, p := range lines {
				if !yield([]string{p.Name, strings.Join(p.Lines(), "; "), p.Rules.Duration, p.Rules.ExpiryBasis, p.Rules.RenewalBasis, p.Rules.Transfer, yesNo(p.Rules.Approval)}, nil) {
					return
				}
			}
		})
	}
	return s.show(w, r, "policies", page{Title: "Policies", Nav: "policies", Data: lines, Command: "policy list", API: "GET /api/v1/policies"})
}

func policyLineOf(p portal.Policy) policyLine {
	_, shipped := shippedPolicies[p.Name]
	return policyLine{p, policyWords(p), shipped}
}

// Lines spells the lines that the policy presets.
func (p policyLine) Lines() (out []string) {
	for _, name := range slices.Sorted(maps.Keys(p.Set)) {
		for _, rest := range p.Set[name] {
			out = append(out, name+" "+rest)
		}
	}
	return out
}

// RuleLines spells the rules that are set.
func (p policyLine) RuleLines() (out []string) {
	f := (&termForm{Values: map[string]string{}}).withRules(p.Rules)
	for _, t := range ruleGroup.Terms {
		if v := f.Values[t.Line]; v != "" {
			out = append(out, strings.ToLower(t.Label)+": "+optionName(t.Options, v))
		}
	}
	return out
}

func optionName(all []option, value string) string {
	for _, o := range all {
		if o.Value == value {
			return o.Name
		}
	}
	return value
}

func (s *Server) policy(w http.ResponseWriter, r *http.Request) error {
	p, err := s.Portal.Policy(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	return s.show(w, r, "policy", page{Title: p.Name, Nav: "policies", Crumbs: []crumb{{"Policies", "/policies"}}, Data: policyLineOf(*p),
		Command: "policy show " + p.Name, API: "GET /api/v1/policies/" + p.Name})
}

// policyForm is what the form of a policy shows.
type policyForm struct {
	policyLine
	New  bool
	Form *termForm
}

func (s *Server) newPolicy(w http.ResponseWriter, r *http.Request) error {
	return s.policyForm(w, r, portal.Policy{}, page{Title: "New policy", Nav: "policies", Crumbs: []crumb{{"Policies", "/policies"}},
		Command: "policy create quarterly --type time-limited --report-every 90d --duration annual", API: "POST /api/v1/policies"})
}

func (s *Server) editPolicy(w http.ResponseWriter, r *http.Request) error {
	p, err := s.Portal.Policy(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	return s.policyForm(w, r, *p, page{Title: "Change " + p.Name, Nav: "policies", Crumbs: []crumb{{"Policies", "/policies"}, {p.Name, "/policies/" + escape(p.Name)}},
		Command: "policy update " + p.Name + " --enforcement soft", API: "PUT /api/v1/policies/" + p.Name, Tag: portal.Tag(*p)})
}

func (s *Server) policyForm(w http.ResponseWriter, r *http.Request, p portal.Policy, pg page) error {
	d := policyForm{policyLine: policyLineOf(p), New: p.Name == "", Form: newTermForm(p.Set, nil).withRules(p.Rules)}
	pg.Data = d
	if r.Method != http.MethodPost {
		return s.show(w, r, "policy_form", pg)
	}
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	if d.New {
		p.Name = strings.TrimSpace(form.Get("name"))
	}
	if err := s.savePolicy(r, d, p); err != nil {
		return s.again(w, r, "policy_form", pg, form, err)
	}
	return done(w, r, "/policies/"+escape(p.Name), donePolicy)
}

func (s *Server) savePolicy(r *http.Request, d policyForm, p portal.Policy) error {
	form := r.PostForm
	if d.New {
		if err := ledger.CheckName(p.Name); err != nil || p.Name == "new" {
			return badField("name", "“"+p.Name+"” cannot be the name of a policy", "use letters, digits, “.”, “_” and “-”, with a letter or digit first")
		}
		if _, err := s.Portal.Policy(r.Context(), p.Name); err == nil {
			return at(&portal.Error{Code: portal.CodeExists, Status: http.StatusConflict, Message: "there is a policy " + p.Name, Hint: "choose another name, or change that policy"}, "name")
		}
	}
	lines, err := d.Form.parse(form, p.Set)
	if err != nil {
		return err
	}
	set := maps.Clone(p.Set)
	if set == nil {
		set = map[string][]string{}
	}
	for name, rest := range lines {
		if set[name] = rest; len(rest) == 0 {
			delete(set, name)
		}
	}
	rules := rulesFrom(form)
	rules.MaxTermFixed = p.Rules.MaxTermFixed
	p.Set, p.Rules = set, rules
	return at(s.Portal.SetPolicy(portal.IfMatch(r.Context(), form.Get("tag")), p, gate.CallerOf(r.Context()).Actor()), "duration")
}
