package license

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

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
			if last >= line && strings.HasPrefix(last, "x-") {
				return nil, bad(errors.New("x- lines ascend, each once"))
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
