package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// plainTerms are the lines of a license that one flag gives as they stand; the
// flag has the name of the line where it has none of its own.
var plainTerms = []struct {
	line, flag, doc string
	text            bool // any text, which the document spells in its way
}{
	{"type", "", "perpetual, time-limited, subscription or consumption", false},
	{"start", "", "first valid instant, or day (default now)", false},
	{"end", "expires", "last valid instant, or day until 23:59:59 UTC, or never", false},
	{"grace", "", "service goes on this long after the end (14d)", false},
	{"report-by", "", "when the first report is due", false},
	{"report-every", "", "how far an accepted report moves that: monthly, annual, 30d", false},
	{"report-grace", "", "service goes on this long after it was due (14d)", false},
	{"contract-end", "", "no end of the license is after it", false},
	{"term", "", "an accepted report moves the end to its time plus this span", false},
	{"maintenance-end", "", "later builds of the application are not covered", false},
	{"enforcement", "", "advisory, soft or hard (soft)", false},
	{"outage", "", "applications live this long on the last answer (72h)", false},
	{"activate-by", "", "how long the key alone gives service (30d)", false},
	{"nodes", "", "different nodes in a UTC day", false},
	{"match-rate", "", "percent of the bindings that must match (0: not checked)", false},
	{"vm", "", "virtual machines: allow or deny", false},
	{"max-activations", "", "active ledgers at once, or unlimited (1)", false},
	{"transfers", "", "none, a number or unlimited", false},
	{"max-term", "", "longest time from start to end (366d)", false},
	{"rulebook", "", "name of the counting rules", true},
	{"min-version", "", "oldest site program", false},
	{"product-line", "", "line of products that it is for", false},
	{"note", "", "shown on both sides, never interpreted", true},
}

// yesNoTerms are those that a flag switches.
var yesNoTerms = []struct{ line, doc string }{
	{"trial", "ends for good, without grace unless stated"},
	{"allow-offline", "activation and renewal by file"},
	{"codes", "activation by typed codes"},
}

// listTerms are those that may be given more than once, and how a flag is turned
// into the line.
var listTerms = []struct {
	line, flag, doc string
	spell           func(string) (string, error)
}{
	{"feature", "", "name; may repeat", func(s string) (string, error) { return s, nil }},
	{"meter", "", "ID:AGG[:SCALE[:UNIT[:yes[:UNDO]]]], yes: may be corrected; may repeat", spellMeter},
	{"seats", "", "POOL:COUNT[,NAME=VALUE]... with over, lease, borrow, hold, share, join; may repeat", spellSeats},
	{"reserve", "", "POOL:GROUP:COUNT; may repeat", func(s string) (string, error) { return strings.ReplaceAll(s, ":", " "), nil }},
	{"bind", "", "NAME=HASH of a component; may repeat", func(s string) (string, error) { return strings.Replace(s, "=", " ", 1), nil }},
	{"seal-to", "", "key that reports may be encrypted for; may repeat", func(s string) (string, error) { return ledger.EscapeValue(s), nil }},
}

// ruleFlags are what the vendor's side does with a license, and no document says.
var ruleFlags = []struct {
	flag, doc string
	set       func(*portal.Rules, string)
}{
	{"duration", "sets the end where none is given: monthly, annual, 180d", func(r *portal.Rules, s string) { r.Duration = s }},
	{"expiry-basis", "duration counts from creation, activation or first_use", func(r *portal.Rules, s string) { r.ExpiryBasis = s }},
	{"renewal-basis", "renewals add to from_end, from_now, from_now_if_expired", func(r *portal.Rules, s string) { r.RenewalBasis = s }},
	{"transfer", "the next site gets keep_end or reset_end", func(r *portal.Rules, s string) { r.Transfer = s }},
	{"user", "who may activate without the key, signed in", func(r *portal.Rules, s string) { r.User = s }},
}

// termFlags are those of license issue and update, and of policies.
func termFlags(cmd *cobra.Command, rules bool) {
	f := cmd.Flags()
	for _, t := range plainTerms {
		f.String(orName(t.flag, t.line), "", t.doc)
	}
	for _, t := range yesNoTerms {
		f.Bool(t.line, false, t.doc)
	}
	for _, t := range listTerms {
		f.StringArray(orName(t.flag, t.line), nil, t.doc)
	}
	f.StringArray("limit", nil, "METER=N[:OVERAGE[:RESET]], or feature/NAME=N...; in the smallest unit; may repeat")
	f.StringArray("overage", nil, "[METER=]none, unlimited or an amount beyond the limit")
	f.StringArray("reset", nil, "[METER=]none, daily, weekly, monthly or annual")
	f.StringArray("custom", nil, "x-NAME=TEXT, shown and never interpreted; may repeat")
	if !rules {
		return
	}
	for _, r := range ruleFlags {
		f.String(r.flag, "", r.doc)
	}
	f.Bool("approval", false, "staff decide about each activation")
}

func orName(flag, line string) string {
	if flag != "" {
		return flag
	}
	return line
}

// termsOf gathers the lines of a license that flags give. An empty value takes a
// line away.
func termsOf(cmd *cobra.Command) (license.Lines, error) {
	f := cmd.Flags()
	set := license.Lines{}
	for _, t := range plainTerms {
		if name := orName(t.flag, t.line); f.Changed(name) {
			v, _ := f.GetString(name)
			if v == "" {
				set[t.line] = []string{}
				continue
			}
			if t.text {
				v = spellText(t.line, v)
			}
			set[t.line] = []string{v}
		}
	}
	for _, t := range yesNoTerms {
		if f.Changed(t.line) {
			v := "no"
			if on, _ := f.GetBool(t.line); on {
				v = "yes"
			}
			set[t.line] = []string{v}
		}
	}
	for _, t := range listTerms {
		name := orName(t.flag, t.line)
		if !f.Changed(name) {
			continue
		}
		given, _ := f.GetStringArray(name)
		set[t.line] = []string{}
		for _, s := range given {
			if s == "" {
				continue
			}
			line, err := t.spell(s)
			if err != nil {
				return nil, err
			}
			set[t.line] = append(set[t.line], line)
		}
	}
	custom, _ := f.GetStringArray("custom")
	for _, s := range custom {
		name, text, ok := strings.Cut(s, "=")
		if !ok || !strings.HasPrefix(name, "x-") {
			return nil, badFlag("custom", s, "x-NAME=TEXT")
		}
		set[name] = append(set[name], ledger.EscapeText(text))
	}
	return set, limits(cmd, set)
}

func spellText(line, v string) string {
	if line == "rulebook" {
		return ledger.EscapeValue(v)
	}
	return ledger.EscapeText(v)
}

func badFlag(flag, value, want string) error {
	return cli.Fail(cli.ExitUsage, portal.CodeBadRequest, "write --"+flag+" "+want, "--%s %s cannot be read", flag, value)
}

// spellMeter turns ID:AGG[:SCALE[:UNIT[:CORRECTIONS[:UNDO]]]] into the line
// METER AGG UNIT SCALE CORRECTIONS UNDO.
func spellMeter(s string) (string, error) {
	f := []string{"", "", "0", "unit", "no", "0s"}
	given := strings.Split(s, ":")
	if len(given) < 2 || len(given) > len(f) {
		return "", badFlag("meter", s, "ID:AGG[:SCALE[:UNIT]], as render.pages:sum:0:page")
	}
	for i, v := range given {
		if v != "" {
			f[i] = v
		}
	}
	return strings.Join([]string{f[0], f[1], ledger.EscapeValue(f[3]), f[2], f[4], f[5]}, " "), nil
}

// spellSeats turns POOL:COUNT[,NAME=VALUE]... into the line
// POOL COUNT OVER LEASE BORROW HOLD SHARE JOIN.
func spellSeats(s string) (string, error) {
	want := "POOL:COUNT, as editors:5,borrow=24h"
	parts := strings.Split(s, ",")
	pool, count, ok := strings.Cut(parts[0], ":")
	if !ok {
		return "", badFlag("seats", s, want)
	}
	names := []string{"over", "lease", "borrow", "hold", "share", "join"}
	values := map[string]string{"over": "0", "lease": "5m", "borrow": "0s", "hold": "0s", "share": "none", "join": "exclusive"}
	for _, p := range parts[1:] {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if _, known := values[name]; !known || value == "" {
			return "", badFlag("seats", s, want)
		}
		values[name] = value
	}
	line := []string{pool, count}
	for _, n := range names {
		line = append(line, values[n])
	}
	return strings.Join(line, " "), nil
}

// limits turns --limit, --overage and --reset into lines `limit KIND NAME LIMIT
// OVERAGE RESET`. The latter two apply to one limit, or to all where they name
// none.
func limits(cmd *cobra.Command, set license.Lines) error {
	given, _ := cmd.Flags().GetStringArray("limit")
	more := map[string]map[string]string{}
	for _, flag := range []string{"overage", "reset"} {
		more[flag] = map[string]string{}
		values, _ := cmd.Flags().GetStringArray(flag)
		for _, v := range values {
			name, value, named := strings.Cut(v, "=")
			if !named {
				name, value = "", v
			}
			if len(given) == 0 {
				return cli.Fail(cli.ExitUsage, portal.CodeBadRequest, "give the limit too: --limit METER=N", "--%s %s has no limit", flag, v)
			}
			more[flag][name] = value
		}
	}
	if !cmd.Flags().Changed("limit") {
		return nil
	}
	set["limit"] = []string{}
	limited := map[string]bool{"": true}
	for _, s := range given {
		if s == "" {
			continue
		}
		name, rest, ok := strings.Cut(s, "=")
		v := strings.Split(rest, ":")
		if !ok || len(v) > 3 {
			return badFlag("limit", s, "METER=N[:OVERAGE[:RESET]], as render.pages=5000:none:monthly")
		}
		line := [3]string{"", "none", "none"}
		for i, flag := range []string{1: "overage", 2: "reset"} {
			if all := more[flag][""]; all != "" {
				line[i] = all
			}
			if own := more[flag][name]; name != "" && own != "" {
				line[i] = own
			}
		}
		copy(line[:], v)
		limited[name] = true
		kind := "meter"
		if feature, is := strings.CutPrefix(name, "feature/"); is {
			kind, name = "feature", feature
		}
		set["limit"] = append(set["limit"], strings.Join([]string{kind, name, line[0], line[1], line[2]}, " "))
	}
	for flag, names := range more {
		for name := range names {
			if !limited[name] {
				return cli.Fail(cli.ExitUsage, portal.CodeBadRequest, "give it one: --limit "+name+"=N", "--%s names %s, which has no limit", flag, name)
			}
		}
	}
	return nil
}

// rulesOf gathers the rules that flags give, over those there are.
func rulesOf(cmd *cobra.Command, r portal.Rules) portal.Rules {
	for _, rule := range ruleFlags {
		if cmd.Flags().Changed(rule.flag) {
			v, _ := cmd.Flags().GetString(rule.flag)
			rule.set(&r, v)
		}
	}
	if cmd.Flags().Changed("approval") {
		r.Approval, _ = cmd.Flags().GetBool("approval")
	}
	return r
}
