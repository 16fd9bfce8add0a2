package web

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// A term is a line of a license as a field of a form, which has the line's name.
type term struct {
	Line, Label, Help string
	Placeholder       string // what holds where it is empty
	Options           []option
	text, value       bool // free text, spelled as TEXT or VALUE
}

// A termGroup is terms that belong together.
type termGroup struct {
	Title, Help string
	Terms       []term
}

var usualYesNo = []option{{"", "as usual"}, {"yes", "yes"}, {"no", "no"}}

// termGroups are the terms of every license, in the order in which people think of
// them. The help says what a value means at its border.
var termGroups = []termGroup{
	{"What it is, and when it ends", "", []term{
		{Line: "type", Label: "Type", Options: []option{{"", "as usual: time-limited"}, {"time-limited", "time-limited: ends on a date"}, {"consumption", "consumption: ends with the amount, or on a date"},
			{"subscription", "subscription: runs to the paid-through date, offline only if allowed"}, {"perpetual", "perpetual: never ends"}}, Help: "It never changes after the license was made."},
		{Line: "trial", Label: "Trial", Options: usualYesNo, Help: "A trial is given once per site, is not renewed, and ends without grace unless a grace is written below."},
		{Line: "start", Label: "Starts", Placeholder: "now", Help: "A day (2026-12-01, from 00:00:00 UTC) or an instant (2026-12-01T06:00:00Z). At that very second it is active."},
		{Line: "end", Label: "Ends", Placeholder: "by the duration below", Help: "The last valid second. A day alone is good until 23:59:59 UTC of that day; one second later the grace begins. “never” for a perpetual license."},
		{Line: "grace", Label: "Grace after the end", Placeholder: "14d", Help: "A span such as 14d or 72h. During it, its last second included, applications get yes with a warning."},
		{Line: "contract-end", Label: "Contract ends", Help: "No end of this license is ever after it: an end beyond it is refused, a rolling one stops there."},
		{Line: "term", Label: "Each accepted report extends it by", Help: "Rolling validity, such as 180d: the end becomes the time of acceptance plus this span, never beyond the contract and never back."},
		{Line: "maintenance-end", Label: "Maintenance ends", Help: "A day. Builds of the application made on that UTC day or before stay covered for good, later ones are not."},
	}},
	{"Reports", "A site meters whether or not it reports. These say when it has to.", []term{
		{Line: "report-every", Label: "A report is due every", Placeholder: "no date", Help: "monthly, annual, or a span such as 30d. Each accepted report moves the date on by it."},
		{Line: "report-by", Label: "First report due by", Placeholder: "start plus that", Help: "The last second at which it is in time; a day alone is 23:59:59 UTC. Importing the reply is what counts, not exporting the report."},
		{Line: "report-grace", Label: "Grace for a late report", Placeholder: "14d", Help: "So long after that date applications get yes with a warning; then it is overdue."},
	}},
	{"How strict it is", "Usage is counted whatever stands here. What changes is the answer that applications get when they ask.", []term{
		{Line: "enforcement", Label: "Enforcement", Options: []option{{"", "as usual: soft"}, {"advisory", "advisory: always yes, with warnings"}, {"soft", "soft: what runs goes on, new nodes and seats get no"}, {"hard", "hard: no"}}, Help: "What applications are told after an end and its grace, and beyond a limit. Exactly reaching a limit is always allowed."},
		{Line: "outage", Label: "Applications may go on without a daemon for", Placeholder: "72h", Help: "How long an application lives on its last answer, to the second, under hard enforcement."},
	}},
	{"Sites", "", []term{
		{Line: "max-activations", Label: "Sites at once", Placeholder: "1", Help: "Active ledgers: a number, or unlimited. With 1 a second site is refused until the first was deactivated or released."},
		{Line: "transfers", Label: "Moves to another site", Placeholder: "unlimited", Help: "none, a number, or unlimited. The same site coming back is no move."},
		{Line: "activate-by", Label: "Activation within", Placeholder: "30d", Help: "So long after its first start a site may run on the license key alone; then it must have been activated."},
		{Line: "allow-offline", Label: "By file, without a network", Options: usualYesNo, Help: "“no” refuses activation and renewal by file and by typed code. Usually yes; for a subscription usually no."},
		{Line: "codes", Label: "By typed codes", Options: usualYesNo, Help: "Where not even a file may leave the site. “no” refuses codes only."},
		{Line: "nodes", Label: "Nodes a day", Placeholder: "any number", Help: "Different machines with use in one UTC day. The last one that fits still gets yes."},
		{Line: "vm", Label: "Virtual machines", Options: []option{{"", "as usual: allowed"}, {"allow", "allowed"}, {"deny", "not allowed"}}, Help: "A hint against copying by mistake; how strict follows the enforcement."},
		{Line: "match-rate", Label: "Components that must match", Placeholder: "0: not checked", Help: "Percent of the bound components, rounded down: 5 at 50 need 2. Components are bound in the lines at the end."},
	}},
	{"Paper", "", []term{
		{Line: "rulebook", Label: "Rule book", Options: ruleBookOptions(), Help: "The counting rules that meters follow, by version; the license names it so that the customer can read them.", value: true},
		{Line: "max-term", Label: "Longest time to the end", Placeholder: "366d", Help: "Nothing can be taken back offline at once, so this caps the license. Where it is written, a later end is refused; where it is not, a later end raises it, with a notice."},
		{Line: "min-version", Label: "Oldest site program", Placeholder: "as the product", Help: "An older program refuses the license and names this version."},
		{Line: "note", Label: "Note", Help: "Shown on both sides, never interpreted.", text: true},
	}},
}

func ruleBookOptions() []option {
	out := []option{{"", "none"}}
	for _, v := range events.RuleBooks() {
		out = append(out, option{v, v + ": " + events.LookupRuleBook(v).Title})
	}
	return out
}

// ruleGroup is what the vendor's side does and no license says; its fields have the
// names of the command line.
var ruleGroup = termGroup{"What we do with it", "Rules of the vendor's side. They are copied from the policy, and no document says them.", []term{
	{Line: "duration", Label: "Duration", Placeholder: "none", Help: "monthly, annual, or a span such as 180d. It sets the end where none is written, and is what a renewal adds."},
	{Line: "expiry-basis", Label: "The duration begins with", Options: []option{{"", "as usual: the making of the license"}, {"creation", "the making of the license"}, {"activation", "the activation of each site"}, {"first_use", "the first use at each site"}}},
	{Line: "renewal-basis", Label: "A renewal counts from", Options: []option{{"", "as usual: the end"}, {"from_end", "the end: early renewal loses nothing"}, {"from_now", "the day of the renewal"}, {"from_now_if_expired", "the end, or the day of the renewal if it is over"}}},
	{Line: "transfer", Label: "Another site gets", Options: []option{{"", "as usual: the same end"}, {"keep_end", "the same end"}, {"reset_end", "the whole duration again"}}, Help: "After a site was deactivated or released, where the duration begins with activation or first use."},
	{Line: "user", Label: "May be activated by", Placeholder: "whoever has the key", Help: "The e-mail address of a customer who may activate it signed in, without the key."},
	{Line: "approval", Label: "Each activation", Options: []option{{"", "gets its license at once"}, {"yes", "waits until staff approve it"}}},
}}

// nameGroup is for a license that exists; one that is made asks for names first.
var nameGroup = termGroup{"Names", "", []term{
	{Line: "licensee", Label: "Licensee", Help: "As it stands in the license.", text: true},
	{Line: "solution-name", Label: "Solution name", Help: "Must equal license.solutionName of each site letter by letter, capitals too; a site with another name refuses the new license.", text: true},
	{Line: "product-line", Label: "Product line", Help: "A site program of another line refuses the license."},
}}

// fixedLines are those that nobody writes by hand.
var fixedLines = []string{"id", "serial", "issued", "site", "site-key", "checkpoint", "receipt-key", "reply-key", "next-license-key", "revoked", "suspended"}

// A termForm is what a form of terms shows: its groups, and the value of each
// field as it is without typing.
type termForm struct {
	Groups   []termGroup
	Rules    *termGroup // nil: the form has none
	Values   map[string]string
	Meters   []meterRow
	Features []string
	Chosen   map[string]bool // features and meters that are ticked at first
	Fixed    map[string]bool // meters that cannot be taken out
	Pools    []int
	Resets   []option
	Shares   []option
	Joins    []option
}

// poolRows is how many rows for pools of seats a form has beyond those there are.
const poolRows = 2

// newTermForm returns the form of lines as they are, for a product.
func newTermForm(lines license.Lines, product *portal.Product, groups ...termGroup) *termForm {
	f := &termForm{Groups: slices.Concat(termGroups, groups), Values: map[string]string{}, Chosen: map[string]bool{}, Fixed: map[string]bool{},
		Resets: optionsOf("none", "never", "daily", "daily, 00:00 UTC", "weekly", "weekly, Monday 00:00 UTC", "monthly", "monthly, the 1st 00:00 UTC", "annual", "annual, 1 January 00:00 UTC"),
		Shares: optionsOf("none", "each session takes one", "user", "one per user", "host", "one per host"), Joins: optionsOf("exclusive", "exclusive", "additive", "adds up")}
	if product != nil {
		f.Meters, f.Features = metersOf(product.Meters), slices.Clone(product.Features)
	}
	for _, line := range lines["meter"] {
		if m := meterOf(line); !slices.ContainsFunc(f.Meters, func(x meterRow) bool { return x.ID == m.ID }) {
			f.Meters = append(f.Meters, m)
		}
	}
	for _, name := range lines["feature"] {
		if !slices.Contains(f.Features, name) {
			f.Features = append(f.Features, name)
		}
	}
	for _, m := range f.Meters {
		f.Chosen["meter "+m.ID] = lines["meter"] == nil || slices.Contains(lines["meter"], m.Line)
	}
	for _, name := range f.Features {
		f.Chosen["feature "+name] = lines["feature"] == nil || slices.Contains(lines["feature"], name)
	}
	f.fill(lines)
	return f
}

// fill puts lines into the fields; those without a field go to the raw lines.
func (f *termForm) fill(lines license.Lines) {
	for _, g := range f.Groups {
		for _, t := range g.Terms {
			f.Values[t.Line] = t.read(strings.Join(lines[t.Line], " "))
		}
	}
	var raw []string
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		for i, rest := range lines[name] {
			switch {
			case slices.Contains(fixedLines, name), name == "meter", name == "feature", f.term(name) != nil:
			case name == "limit" && f.fillLimit(rest):
			case name == "seats":
				for j, v := range strings.Fields(rest) {
					if j < len(poolFields) {
						f.Values["s"+strconv.Itoa(i)+"-"+poolFields[j]] = v
					}
				}
			default:
				raw = append(raw, name+" "+rest)
			}
		}
	}
	f.Pools = upTo(len(lines["seats"]) + poolRows)
	f.Values["raw"] = strings.Join(raw, "\n")
}

// fillLimit puts a limit into the fields of its meter; false: it has none.
func (f *termForm) fillLimit(rest string) bool {
	w := strings.Fields(rest)
	if len(w) != 5 || w[0] != "meter" {
		return false
	}
	for _, m := range f.Meters {
		if m.ID != w[1] {
			continue
		}
		f.Values["limit-"+m.ID], f.Values["overage-"+m.ID], f.Values["reset-"+m.ID] = decimals(w[2], m.Scale), w[3], w[4]
		if w[3] != "none" && w[3] != "unlimited" {
			f.Values["overage-"+m.ID] = decimals(w[3], m.Scale)
		}
		return true
	}
	return false
}

func (f *termForm) term(line string) *term {
	for _, g := range f.Groups {
		if t := g.term(line); t != nil {
			return t
		}
	}
	return nil
}

func (g termGroup) term(line string) *term {
	for i := range g.Terms {
		if g.Terms[i].Line == line {
			return &g.Terms[i]
		}
	}
	return nil
}

// read returns the field of a line; write the line of a field.
func (t *term) read(rest string) string {
	var err error
	s := rest
	if t.text {
		s, err = ledger.UnescapeText(rest)
	} else if t.value {
		s, err = ledger.UnescapeValue(rest)
	}
	if err != nil {
		return rest
	}
	return s
}

func (t *term) write(s string) string {
	switch {
	case t.text:
		return ledger.EscapeText(s)
	case t.value:
		return ledger.EscapeValue(s)
	}
	return s
}

// poolFields are the words of a line `seats` in their order.
var poolFields = []string{"name", "count", "over", "lease", "borrow", "hold", "share", "join"}

// poolDefaults stand where a field of a pool is empty.
var poolDefaults = map[string]string{"over": "0", "lease": "5m", "borrow": "0s", "hold": "0s", "share": "none", "join": "exclusive"}

// parse reads a form of terms: the lines that differ from base; an empty list
// takes a line away.
func (f *termForm) parse(form url.Values, base license.Lines) (license.Lines, error) {
	set := license.Lines{}
	put := func(name string, lines []string) {
		if before := base[name]; !slices.Equal(before, lines) && len(before)+len(lines) > 0 {
			set[name] = lines
		}
	}
	for _, g := range f.Groups {
		for _, t := range g.Terms {
			if !form.Has(t.Line) {
				continue
			}
			if v := strings.TrimSpace(form.Get(t.Line)); v == "" {
				put(t.Line, []string{})
			} else {
				put(t.Line, []string{t.write(v)})
			}
		}
	}
	raw, err := rawLines(form.Get("raw"))
	if err != nil {
		return nil, err
	}
	limits, err := f.parseLimits(form)
	if err != nil {
		return nil, err
	}
	pools, err := parsePools(form)
	if err != nil {
		return nil, err
	}
	if form.Has("terms") { // the form was shown whole, so what is not ticked is left out
		f.parseTicks(form, base, set)
		limits, pools = append(limits, raw["limit"]...), append(pools, raw["seats"]...)
		slices.Sort(limits)
		slices.Sort(pools)
		delete(raw, "limit")
		delete(raw, "seats")
		put("limit", slices.Compact(limits))
		put("seats", slices.Compact(pools))
		for name := range base {
			if !slices.Contains(fixedLines, name) && f.term(name) == nil && nameGroup.term(name) == nil && !slices.Contains([]string{"limit", "seats", "meter", "feature"}, name) {
				put(name, raw[name])
			}
		}
	}
	for name, lines := range raw {
		slices.Sort(lines)
		put(name, lines)
	}
	return set, nil
}

// parseTicks reads which features and meters are in.
func (f *termForm) parseTicks(form url.Values, base, set license.Lines) {
	for kind, all := range map[string][]string{"feature": f.Features, "meter": f.meterLines()} {
		chosen, usual := []string{}, []string{}
		for _, line := range all {
			name, _, _ := strings.Cut(line, " ")
			if slices.Contains(form[kind], name) || f.Fixed[name] && kind == "meter" {
				chosen = append(chosen, line)
			}
			if f.Chosen[kind+" "+name] {
				usual = append(usual, line)
			}
		}
		slices.Sort(chosen)
		slices.Sort(usual)
		if !slices.Equal(chosen, usual) {
			set[kind] = chosen
		}
	}
}

func (f *termForm) meterLines() (out []string) {
	for _, m := range f.Meters {
		out = append(out, m.Line)
	}
	return out
}

func (f *termForm) parseLimits(form url.Values) (out []string, err error) {
	for _, m := range f.Meters {
		typed := strings.TrimSpace(form.Get("limit-" + m.ID))
		if typed == "" {
			if o := strings.TrimSpace(form.Get("overage-" + m.ID)); o != "" && o != "none" {
				return nil, badField("limit-"+m.ID, "meter "+m.ID+" has an overage and no limit", "write the limit too; 0 makes every use overage")
			}
			continue
		}
		limit, ok := smallest(typed, m.Scale)
		if !ok {
			return nil, badField("limit-"+m.ID, "“"+typed+"” is no amount of "+m.Unit, amountHint(m))
		}
		overage := orText(strings.TrimSpace(form.Get("overage-"+m.ID)), "none")
		if overage != "none" && overage != "unlimited" {
			more, ok := smallest(overage, m.Scale)
			if !ok || more == "0" {
				return nil, badField("overage-"+m.ID, "“"+overage+"” is no overage", "write none, unlimited, or an amount above 0; "+amountHint(m))
			}
			overage = more
		}
		out = append(out, strings.Join([]string{"meter", m.ID, limit, overage, orText(form.Get("reset-"+m.ID), "none")}, " "))
	}
	return out, nil
}

func amountHint(m meterRow) string {
	if m.Scale == 0 {
		return "write a whole number without commas, such as 5000"
	}
	return "write a number without commas and with at most " + plural(int64(m.Scale), "decimal") + ", such as 1500.5"
}

func parsePools(form url.Values) (out []string, err error) {
	for i := 0; form.Has("s" + strconv.Itoa(i) + "-name"); i++ {
		prefix := "s" + strconv.Itoa(i) + "-"
		var line []string
		typed := ""
		for _, name := range poolFields {
			v := strings.TrimSpace(form.Get(prefix + name))
			typed += v
			if name == "name" && v == "" {
				break
			}
			line = append(line, orText(v, poolDefaults[name]))
		}
		if len(line) == 0 {
			if strings.TrimSpace(form.Get(prefix+"count")) != "" {
				return nil, badField(prefix+"name", "a pool of seats without a name", "name it, such as editors; applications ask for a seat by this name")
			}
			continue
		}
		if ledger.CheckName(line[0]) != nil {
			return nil, badField(prefix+"name", "“"+line[0]+"” cannot be the name of a pool", "use letters, digits and ._:/- with a letter or digit first")
		}
		for j, name := range []string{"count", "over"} {
			if _, err := ledger.ParseUint(line[1+j]); err != nil {
				return nil, badField(prefix+name, "“"+line[1+j]+"” is no number of seats", "write a whole number, such as 5")
			}
		}
		for j, name := range []string{"lease", "borrow", "hold"} {
			if _, err := ledger.ParseDur(line[3+j]); err != nil {
				return nil, badField(prefix+name, "“"+line[3+j]+"” is no span", "write it as 5m, 24h or 7d")
			}
		}
		out = append(out, strings.Join(line, " "))
	}
	return out, nil
}

// poolFault tells whether a field of a pool was refused.
func poolFault(v view) bool {
	if v.Problem == nil {
		return false
	}
	name, _ := v.Problem.Details["line"].(string)
	prefix, _, ok := strings.Cut(name, "-")
	return name == "seats" || ok && len(prefix) > 1 && prefix[0] == 's' && strings.Trim(prefix[1:], "0123456789") == ""
}

// rawLines reads lines of a license as they stand; a name alone takes its lines
// away.
func rawLines(s string) (license.Lines, error) {
	out := license.Lines{}
	for line := range strings.Lines(s) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			continue
		}
		if slices.Contains(fixedLines, name) {
			return nil, badField("raw", name+" is not written by hand", "leave this line out")
		}
		if rest = strings.TrimSpace(rest); rest == "" {
			out[name] = []string{}
			continue
		}
		out[name] = append(out[name], rest)
	}
	return out, nil
}

// rulesFrom reads the rules of a form.
func rulesFrom(form url.Values) portal.Rules {
	get := func(name string) string { return strings.TrimSpace(form.Get(name)) }
	return portal.Rules{Duration: get("duration"), ExpiryBasis: get("expiry-basis"), RenewalBasis: get("renewal-basis"), Transfer: get("transfer"), User: get("user"), Approval: get("approval") == "yes"}
}

// withRules adds the fields of rules.
func (f *termForm) withRules(r portal.Rules) *termForm {
	f.Rules = &ruleGroup
	maps.Copy(f.Values, map[string]string{"duration": r.Duration, "expiry-basis": r.ExpiryBasis, "renewal-basis": r.RenewalBasis, "transfer": r.Transfer, "user": r.User})
	if r.Approval {
		f.Values["approval"] = "yes"
	}
	return f
}

// smallest turns an amount with decimals into smallest units; false: it is none.
func smallest(s string, scale int) (string, bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	if len(fraction) > scale || whole == "" || strings.HasSuffix(s, ".") {
		return "", false
	}
	digits := strings.TrimLeft(whole+fraction+strings.Repeat("0", scale-len(fraction)), "0")
	if digits == "" {
		digits = "0"
	}
	n, err := ledger.ParseUint(digits)
	return strconv.FormatUint(n, 10), err == nil
}

// decimals is the inverse of smallest.
func decimals(digits string, scale int) string {
	if scale == 0 {
		return digits
	}
	for len(digits) <= scale {
		digits = "0" + digits
	}
	whole, fraction := digits[:len(digits)-scale], strings.TrimRight(digits[len(digits)-scale:], "0")
	if fraction == "" {
		return whole
	}
	return whole + "." + fraction
}
