package license

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// firstLine begins the text; another number is another major version.
const firstLine = "meterseal-license/v1"

// field is one kind of line. The table below is the whole grammar: it reads and
// it writes, so the two cannot differ. Lines come in its order.
type field struct {
	name string
	// must: the line is required. many: it may repeat, then ascending by bytes.
	must, many bool
	// read takes what follows the name.
	read func(l *License, rest string) error
	// write returns what follows the name, of each line; nil: none.
	write func(l *License) []string
}

var fields = []field{
	{"id", true, false, func(l *License, s string) error { l.ID = s; return ledger.CheckLicenseID(s) }, func(l *License) []string { return []string{l.ID} }},
	number("serial", true, func(l *License) *uint64 { return &l.Serial }),
	textField("solution-name", true, func(l *License) *string { return &l.SolutionName }),
	nameField("product-line", func(l *License) *string { return &l.ProductLine }),
	word("type", func(l *License) *Type { return &l.Type }, Perpetual, TimeLimited, Subscription, Consumption),
	flag("trial", func(l *License) *bool { return &l.Trial }, "no", "yes"),
	textField("licensee", true, func(l *License) *string { return &l.Licensee }),
	date("issued", true, func(l *License) *time.Time { return &l.Issued }),
	date("start", true, func(l *License) *time.Time { return &l.Start }),
	{"end", true, false, readEnd, func(l *License) []string {
		if l.End.IsZero() {
			return []string{"never"}
		}
		return []string{ledger.FormatDate(l.End)}
	}},
	dur("grace", true, func(l *License) *ledger.Dur { return &l.Grace }),
	date("report-by", false, func(l *License) *time.Time { return &l.ReportBy }),
	{"report-every", false, false, func(l *License, s string) (err error) { l.ReportEvery, err = ParseEvery(s); return err }, func(l *License) []string {
		if l.ReportEvery == (Every{}) {
			return nil
		}
		return []string{l.ReportEvery.String()}
	}},
	dur("report-grace", true, func(l *License) *ledger.Dur { return &l.ReportGrace }),
	date("contract-end", false, func(l *License) *time.Time { return &l.ContractEnd }),
	dur("term", false, func(l *License) *ledger.Dur { return &l.Term }),
	date("maintenance-end", false, func(l *License) *time.Time { return &l.MaintenanceEnd }),
	word("enforcement", func(l *License) *Enforcement { return &l.Enforcement }, Advisory, Soft, Hard),
	dur("outage", true, func(l *License) *ledger.Dur { return &l.Outage }),
	dur("activate-by", true, func(l *License) *ledger.Dur { return &l.ActivateBy }),
	{"suspended", false, false, func(l *License, s string) error { l.Suspended = true; return oneOf(s, "yes") }, func(l *License) []string {
		if !l.Suspended {
			return nil
		}
		return []string{"yes"}
	}},
	{"feature", false, true, func(l *License, s string) error { l.Features = append(l.Features, s); return ledger.CheckName(s) }, func(l *License) []string { return l.Features }},
	many("meter", readMeter, func(l *License) *[]Meter { return &l.Meters }, Meter.text),
	many("limit", readLimit, func(l *License) *[]Limit { return &l.Limits }, Limit.text),
	many("credit", readCredit, func(l *License) *[]Credit { return &l.Credits }, Credit.text),
	many("seats", readPool, func(l *License) *[]Pool { return &l.Seats }, Pool.text),
	many("reserve", readReserve, func(l *License) *[]Reserve { return &l.Reserves }, Reserve.text),
	{"nodes", false, false, func(l *License, s string) error { return readUint(&l.Nodes, s) }, func(l *License) []string {
		if l.Nodes == nil {
			return nil
		}
		return []string{uintText(*l.Nodes)}
	}},
	many("bind", readBind, func(l *License) *[]Bind { return &l.Binds }, Bind.text),
	{"match-rate", true, false, readRate, func(l *License) []string { return []string{strconv.Itoa(l.MatchRate)} }},
	flag("vm", func(l *License) *bool { return &l.VMDenied }, "allow", "deny"),
	flag("allow-offline", func(l *License) *bool { return &l.AllowOffline }, "no", "yes"),
	flag("codes", func(l *License) *bool { return &l.Codes }, "no", "yes"),
	{"max-activations", true, false, func(l *License, s string) error { return readBound(&l.MaxActivations, s, "") }, func(l *License) []string { return []string{boundText(l.MaxActivations, "0")} }},
	{"transfers", true, false, func(l *License, s string) error { return readBound(&l.Transfers, s, "none") }, func(l *License) []string { return []string{boundText(l.Transfers, "none")} }},
	dur("max-term", true, func(l *License) *ledger.Dur { return &l.MaxTerm }),
	{"rulebook", false, false, func(l *License, s string) (err error) { l.Rulebook, err = ledger.UnescapeValue(s); return err }, func(l *License) []string {
		if l.Rulebook == "" {
			return nil
		}
		return []string{ledger.EscapeValue(l.Rulebook)}
	}},
	nameField("min-version", func(l *License) *string { return &l.MinVersion }),
	{"site", true, false, readSite, func(l *License) []string { return []string{orDash(l.Site)} }},
	{"site-key", true, true, readSiteKey, func(l *License) []string {
		if len(l.SiteKeys) == 0 {
			return []string{"-"}
		}
		return vkeys(l.SiteKeys)
	}},
	{"checkpoint", true, false, readPin, func(l *License) []string {
		return []string{uintText(l.Checkpoint.Size) + " " + l.Checkpoint.Root.String()}
	}},
	keyField("receipt-key", true, func(l *License) *[]ledger.VKey { return &l.ReceiptKeys }, ledger.RoleReceipt, ledger.RoleReceiptPQ),
	keyField("reply-key", true, func(l *License) *[]ledger.VKey { return &l.ReplyKeys }, ledger.RoleReply),
	keyField("next-license-key", false, func(l *License) *[]ledger.VKey { return &l.NextLicenseKeys }, ledger.RoleLicense),
	many("revoked", readRevoked, func(l *License) *[]Revoked { return &l.Revoked }, Revoked.text),
	{"seal-to", false, true, func(l *License, s string) error {
		v, err := ledger.UnescapeValue(s)
		l.SealTo = append(l.SealTo, v)
		return err
	}, func(l *License) (out []string) {
		for _, v := range l.SealTo {
			out = append(out, ledger.EscapeValue(v))
		}
		return out
	}},
	// x- lines stand here; see read and Text.
	textField("note", false, func(l *License) *string { return &l.Note }),
}

// customAt is where x- lines stand: before the last field.
var customAt = len(fields) - 1

// Text returns the text of l, without signatures: what a vendor signs.
//
// It is checked as Parse would: a License that no document can spell is an
// *Error that names the field.
func (l *License) Text() (string, error) {
	var b strings.Builder
	b.WriteString(firstLine + "\n")
	for i, f := range fields {
		if i == customAt {
			for _, c := range l.Custom {
				fmt.Fprintf(&b, "x-%s %s\n", c.Name, ledger.EscapeText(c.Text))
			}
		}
		lines := f.write(l)
		if f.many {
			lines = slices.Clone(lines)
			slices.Sort(lines)
		}
		for _, rest := range lines {
			b.WriteString(f.name + " " + rest + "\n")
		}
	}
	text := b.String()
	if _, err := parseText(text); err != nil {
		return "", err
	}
	return text, nil
}

// parseText parses the text of a license.
func parseText(text string) (*License, error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if err := checkFirst(lines[0]); err != nil {
		return nil, err
	}
	l := &License{}
	at, last := 0, ""
	for i, line := range lines[1:] {
		name, rest, _ := strings.Cut(line, " ")
		bad := func(err error) error { return lineError(i+2, name, err) }
		if custom, ok := strings.CutPrefix(name, "x-"); ok {
			if last > line && strings.HasPrefix(last, "x-") {
				return nil, bad(errors.New("lines of one kind ascend"))
			}
			if at > customAt {
				return nil, bad(fmt.Errorf("%q stands before %q", name, fields[customAt].name))
			}
			if err := missing(at, customAt); err != nil {
				return nil, bad(err)
			}
			v, err := ledger.UnescapeText(rest)
			if err != nil || ledger.CheckName(custom) != nil || v == "" {
				return nil, bad(fmt.Errorf("%.80q is not x-NAME TEXT", line))
			}
			l.Custom = append(l.Custom, Custom{custom, v})
			at, last = customAt, line
			continue
		}
		k := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		if k < 0 {
			return nil, &Error{Code: CodeUpgrade, Line: i + 2, Field: name, Hint: "install a version that knows it",
				Message: fmt.Sprintf("%.80q is a line that this version does not know", name)}
		}
		repeated := k == at-1 && fields[k].many && strings.HasPrefix(last, name+" ")
		if k < at && !repeated {
			return nil, bad(fmt.Errorf("%q stands in the wrong place or twice", name))
		}
		if repeated && last >= line {
			return nil, bad(fmt.Errorf("lines %q ascend, each once", name))
		}
		if err := missing(at, k); err != nil && !repeated {
			return nil, bad(err)
		}
		if err := fields[k].read(l, rest); err != nil {
			return nil, bad(err)
		}
		at, last = k+1, line
	}
	if err := missing(at, len(fields)); err != nil {
		return nil, lineError(len(lines)+1, "", err)
	}
	if name, err := l.check(); err != nil {
		return nil, lineError(0, name, err)
	}
	return l, nil
}

// checkFirst tells another version from another file.
func checkFirst(line string) error {
	version, ok := strings.CutPrefix(line, "meterseal-license/v")
	if !ok {
		return refuse(CodeNotALicense, "choose a license, a license key or a reply", "%.60q does not begin a license", line)
	}
	if line != firstLine {
		return &Error{Code: CodeUpgrade, Line: 1, Version: version, Hint: "install a version that reads it",
			Message: fmt.Sprintf("license format v%.20s, this version reads v1", version)}
	}
	return nil
}

// missing names the first required field between two places of the table.
func missing(from, to int) error {
	for _, f := range fields[min(from, to):to] {
		if f.must {
			return fmt.Errorf("%q is missing", f.name)
		}
	}
	return nil
}

func lineError(line int, name string, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	message := strings.TrimPrefix(err.Error(), ledger.ErrMalformed.Error()+": ")
	if name != "" && !strings.Contains(message, name) {
		message = name + ": " + message
	}
	return &Error{Code: CodeInvalid, Line: line, Field: name, Message: message, Hint: hintVendor}
}

// check compares fields with each other; it returns the name of the one at fault.
func (l *License) check() (string, error) {
	bound := l.Bound()
	switch {
	case bound != (len(l.SiteKeys) > 0):
		return "site-key", errors.New("site and site-key are both given or both -")
	case !bound && (l.Serial != 0 || l.Checkpoint != Pin{Root: ledger.EmptyRoot}):
		return "checkpoint", errors.New("an unbound license has serial 0 and the checkpoint of the empty ledger")
	case bound && (l.Serial == 0 || l.Checkpoint.Size == 0):
		return "checkpoint", errors.New("a bound license has a serial and a checkpoint")
	case l.Type == Perpetual && !l.Trial && !l.End.IsZero():
		return "end", errors.New("a perpetual license ends never")
	case (l.Type == TimeLimited || l.Type == Subscription || l.Trial) && l.End.IsZero():
		return "end", fmt.Errorf("a license of type %s or a trial has an end", l.Type)
	case l.ReportEvery != Every{} && l.ReportBy.IsZero():
		return "report-every", errors.New("it moves report-by, which is missing")
	}
	for _, k := range l.SiteKeys {
		if k.Name != l.Site {
			return "site-key", fmt.Errorf("the key is that of %.200s", k.Name)
		}
	}
	seen := map[string]bool{}
	for _, m := range l.Meters {
		if seen[m.ID] {
			return "meter", fmt.Errorf("%s stands twice", m.ID)
		}
		seen[m.ID] = true
	}
	limits := map[string]bool{}
	for _, x := range l.Limits {
		key := strconv.FormatBool(x.Feature) + x.Name
		if limits[key] {
			return "limit", fmt.Errorf("%s has two", x.Name)
		}
		limits[key] = true
		if x.Feature && !slices.Contains(l.Features, x.Name) || !x.Feature && !seen[x.Name] {
			return "limit", fmt.Errorf("%s is not listed", x.Name)
		}
	}
	for _, c := range l.Credits {
		if !seen[c.Meter] {
			return "credit", fmt.Errorf("meter %s is not listed", c.Meter)
		}
	}
	for _, r := range l.Reserves {
		if !slices.ContainsFunc(l.Seats, func(p Pool) bool { return p.Name == r.Pool }) {
			return "reserve", fmt.Errorf("there is no pool %s", r.Pool)
		}
	}
	return "", nil
}

// Kinds of fields that occur more than once.

func number(name string, must bool, p func(*License) *uint64) field {
	return field{name, must, false, func(l *License, s string) (err error) { *p(l), err = ledger.ParseUint(s); return err },
		func(l *License) []string { return []string{uintText(*p(l))} }}
}

func textField(name string, must bool, p func(*License) *string) field {
	return field{name, must, false, func(l *License, s string) (err error) {
		if *p(l), err = ledger.UnescapeText(s); err == nil && *p(l) == "" {
			err = errors.New("is empty")
		}
		return err
	}, func(l *License) []string {
		if *p(l) == "" && !must {
			return nil
		}
		return []string{ledger.EscapeText(*p(l))}
	}}
}

func nameField(name string, p func(*License) *string) field {
	return field{name, false, false, func(l *License, s string) error { *p(l) = s; return ledger.CheckName(s) }, func(l *License) []string {
		if *p(l) == "" {
			return nil
		}
		return []string{*p(l)}
	}}
}

func word[T ~string](name string, p func(*License) *T, words ...T) field {
	return field{name, true, false, func(l *License, s string) error {
		*p(l) = T(s)
		list := make([]string, len(words))
		for i, w := range words {
			list[i] = string(w)
		}
		return oneOf(s, list...)
	}, func(l *License) []string { return []string{string(*p(l))} }}
}

func flag(name string, p func(*License) *bool, no, yes string) field {
	return field{name, true, false, func(l *License, s string) error { *p(l) = s == yes; return oneOf(s, no, yes) }, func(l *License) []string {
		if *p(l) {
			return []string{yes}
		}
		return []string{no}
	}}
}

func date(name string, must bool, p func(*License) *time.Time) field {
	return field{name, must, false, func(l *License, s string) (err error) { *p(l), err = ledger.ParseDate(s); return err }, func(l *License) []string {
		if p(l).IsZero() && !must {
			return nil
		}
		return []string{ledger.FormatDate(*p(l))}
	}}
}

func dur(name string, must bool, p func(*License) *ledger.Dur) field {
	return field{name, must, false, func(l *License, s string) (err error) { *p(l), err = ledger.ParseDur(s); return err }, func(l *License) []string {
		if p(l).Unit == 0 && !must {
			return nil
		}
		return []string{durText(*p(l))}
	}}
}

func many[T any](name string, read func(string) (T, error), p func(*License) *[]T, text func(T) string) field {
	return field{name, false, true, func(l *License, s string) error {
		v, err := read(s)
		*p(l) = append(*p(l), v)
		return err
	}, func(l *License) (out []string) {
		for _, v := range *p(l) {
			out = append(out, text(v))
		}
		return out
	}}
}

func keyField(name string, must bool, p func(*License) *[]ledger.VKey, roles ...ledger.Role) field {
	return field{name, must, true, func(l *License, s string) error {
		k, err := ledger.ParseVKey(s)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(roles, func(r ledger.Role) bool { return k.CheckRole(r) == nil }) {
			return fmt.Errorf("%.200s is no %s key", k.Name, roles[0])
		}
		*p(l) = append(*p(l), k)
		return nil
	}, func(l *License) []string { return vkeys(*p(l)) }}
}

// durText spells a span; one without unit, never set, is 0s.
func durText(d ledger.Dur) string {
	if d.Unit == 0 {
		d.Unit = 's'
	}
	return d.String()
}

func vkeys(list []ledger.VKey) (out []string) {
	for _, k := range list {
		out = append(out, k.String())
	}
	return out
}

func uintText(u uint64) string { return strconv.FormatUint(u, 10) }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func oneOf(s string, words ...string) error {
	if !slices.Contains(words, s) {
		return fmt.Errorf("is %.40q, want %s", s, strings.Join(words, " or "))
	}
	return nil
}

// split cuts rest into exactly n words.
func split(rest string, n int) ([]string, error) {
	w := strings.Split(rest, " ")
	if len(w) != n {
		return nil, fmt.Errorf("has %d words after its name, want %d", len(w), n)
	}
	return w, nil
}

func readUint(p **uint64, s string) error {
	u, err := ledger.ParseUint(s)
	*p = &u
	return err
}

// readBound reads a number or "unlimited", and zero for 0 where the field has a
// word for it.
func readBound(p **uint64, s, zero string) error {
	switch {
	case s == "unlimited":
		return nil
	case zero != "" && s == zero:
		s = "0"
	case zero != "" && s == "0":
		return fmt.Errorf("0 is spelled %s", zero)
	}
	return readUint(p, s)
}

func boundText(p *uint64, zero string) string {
	switch {
	case p == nil:
		return "unlimited"
	case *p == 0:
		return zero
	}
	return uintText(*p)
}

func readEnd(l *License, s string) (err error) {
	if s == "never" {
		return nil
	}
	l.End, err = ledger.ParseDate(s)
	return err
}

func readRate(l *License, s string) error {
	u, err := ledger.ParseUint(s)
	if err == nil && u > 100 {
		err = fmt.Errorf("is %d, want 0 to 100", u)
	}
	l.MatchRate = int(u % 101)
	return err
}

func readSite(l *License, s string) error {
	if s == "-" {
		return nil
	}
	l.Site = s
	_, err := ledger.ParseOrigin(s)
	return err
}

func readSiteKey(l *License, s string) error {
	if s == "-" && len(l.SiteKeys) == 0 {
		return nil
	}
	k, err := ledger.ParseVKey(s)
	if err != nil {
		return err
	}
	if k.CheckRole(ledger.RoleSite) != nil && k.CheckRole(ledger.RoleSitePQ) != nil || len(l.SiteKeys) == 2 {
		return fmt.Errorf("%.200s is no site key", k.Name)
	}
	l.SiteKeys = append(l.SiteKeys, k)
	return nil
}

func readPin(l *License, s string) error {
	w, err := split(s, 2)
	if err != nil {
		return err
	}
	if l.Checkpoint.Size, err = ledger.ParseUint(w[0]); err != nil {
		return err
	}
	l.Checkpoint.Root, err = ledger.ParseHash(w[1])
	return err
}

func readMeter(s string) (m Meter, err error) {
	w, err := split(s, 6)
	if err != nil {
		return m, err
	}
	m.ID, m.Unit = w[0], w[2]
	if err = errors.Join(ledger.CheckMeter(w[0]), ledger.CheckName(w[2])); err != nil {
		return m, err
	}
	if m.Aggregation, err = events.ParseAggregation(w[1]); err != nil {
		return m, fmt.Errorf("%.40q is no aggregation", w[1])
	}
	scale, err := ledger.ParseUint(w[3])
	if err != nil || scale > events.MaxScale {
		return m, fmt.Errorf("scale %.20q is not 0 to %d", w[3], events.MaxScale)
	}
	m.Scale, m.Corrections = int(scale), w[4] == "yes"
	if err = oneOf(w[4], "yes", "no"); err != nil {
		return m, err
	}
	m.Undo, err = ledger.ParseDur(w[5])
	return m, err
}

func (m Meter) text() string {
	yes := "no"
	if m.Corrections {
		yes = "yes"
	}
	return fmt.Sprintf("%s %s %s %d %s %s", m.ID, m.Aggregation, m.Unit, m.Scale, yes, durText(m.Undo))
}

func readLimit(s string) (x Limit, err error) {
	w, err := split(s, 5)
	if err != nil {
		return x, err
	}
	x.Feature, x.Name, x.Reset = w[0] == "feature", w[1], Reset(w[4])
	if err = errors.Join(oneOf(w[0], "meter", "feature"), ledger.CheckName(w[1]),
		oneOf(w[4], string(ResetNone), string(ResetDaily), string(ResetWeekly), string(ResetMonthly), string(ResetAnnual))); err != nil {
		return x, err
	}
	if x.Limit, err = ledger.ParseUint(w[2]); err != nil {
		return x, err
	}
	x.Overage, err = ParseOverage(w[3])
	return x, err
}

func (x Limit) text() string {
	kind := "meter"
	if x.Feature {
		kind = "feature"
	}
	return fmt.Sprintf("%s %s %d %s %s", kind, x.Name, x.Limit, x.Overage, x.Reset)
}

// ParseOverage parses none, unlimited or an amount above 0.
func ParseOverage(s string) (o Overage, err error) {
	switch s {
	case "none":
		return o, nil
	case "unlimited":
		return Overage{Unlimited: true}, nil
	case "0":
		return o, errors.New("overage 0 is spelled none")
	}
	o.Amount, err = ledger.ParseUint(s)
	return o, err
}

// String returns the spelling of o.
func (o Overage) String() string {
	switch {
	case o.Unlimited:
		return "unlimited"
	case o.Amount == 0:
		return "none"
	}
	return uintText(o.Amount)
}

func readCredit(s string) (c Credit, err error) {
	w, err := split(s, 3)
	if err != nil {
		return c, err
	}
	c.Meter = w[0]
	if c.From, err = ledger.ParseDate(w[1]); err != nil {
		return c, err
	}
	c.Amount, err = ledger.ParseUint(w[2])
	return c, errors.Join(err, ledger.CheckMeter(w[0]))
}

func (c Credit) text() string {
	return fmt.Sprintf("%s %s %d", c.Meter, ledger.FormatDate(c.From), c.Amount)
}

func readPool(s string) (p Pool, err error) {
	w, err := split(s, 8)
	if err != nil {
		return p, err
	}
	p.Name, p.Share, p.Additive = w[0], w[6], w[7] == "additive"
	if err = errors.Join(ledger.CheckName(w[0]), oneOf(w[6], "none", "user", "host"), oneOf(w[7], "exclusive", "additive")); err != nil {
		return p, err
	}
	for i, to := range []*uint64{&p.Count, &p.Over} {
		if *to, err = ledger.ParseUint(w[1+i]); err != nil {
			return p, err
		}
	}
	for i, to := range []*ledger.Dur{&p.Lease, &p.Borrow, &p.Hold} {
		if *to, err = ledger.ParseDur(w[3+i]); err != nil {
			return p, err
		}
	}
	if p.Count > math.MaxInt64-p.Over {
		return p, errors.New("seats beyond 2^63-1")
	}
	return p, nil
}

func (p Pool) text() string {
	join := "exclusive"
	if p.Additive {
		join = "additive"
	}
	return fmt.Sprintf("%s %d %d %s %s %s %s %s", p.Name, p.Count, p.Over, durText(p.Lease), durText(p.Borrow), durText(p.Hold), p.Share, join)
}

func readReserve(s string) (r Reserve, err error) {
	w, err := split(s, 3)
	if err != nil {
		return r, err
	}
	r.Pool, r.Group = w[0], w[1]
	r.Count, err = ledger.ParseUint(w[2])
	return r, errors.Join(err, ledger.CheckName(w[0]), ledger.CheckName(w[1]))
}

func (r Reserve) text() string { return fmt.Sprintf("%s %s %d", r.Pool, r.Group, r.Count) }

func readBind(s string) (b Bind, err error) {
	w, err := split(s, 2)
	if err != nil {
		return b, err
	}
	_, err = ledger.ParseHex(w[1], 16)
	return Bind{w[0], w[1]}, errors.Join(err, ledger.CheckName(w[0]))
}

func (b Bind) text() string { return b.Name + " " + b.Hash }

func readRevoked(s string) (r Revoked, err error) {
	w, err := split(s, 2)
	if err != nil {
		return r, err
	}
	if err = oneOf(w[0], "id", "key"); err != nil {
		return r, err
	}
	r.Key = w[0] == "key"
	if r.Value, err = ledger.UnescapeValue(w[1]); err != nil || !r.Key {
		return r, errors.Join(err, ledger.CheckLicenseID(r.Value))
	}
	// A vkey has '+' and '=' in it, which a value escapes.
	_, err = ledger.ParseVKey(r.Value)
	return r, err
}

func (r Revoked) text() string {
	if r.Key {
		return "key " + ledger.EscapeValue(r.Value)
	}
	return "id " + ledger.EscapeValue(r.Value)
}

// ParseEvery parses monthly, annual or a span.
func ParseEvery(s string) (Every, error) {
	switch s {
	case "monthly":
		return Every{Months: 1}, nil
	case "annual":
		return Every{Months: 12}, nil
	}
	d, err := ledger.ParseDur(s)
	if err == nil && d.N == 0 {
		err = errors.New("a span of 0 moves nothing")
	}
	return Every{Span: d}, err
}

// String returns the spelling of e.
func (e Every) String() string {
	switch e.Months {
	case 1:
		return "monthly"
	case 12:
		return "annual"
	}
	return durText(e.Span)
}
