package export

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/meterseal/meterseal/ledger"
)

// A replyView is what a reply says, in the order in which people read it. A Key
// is "" where no key of that role was given, so nothing was verified.
type replyView struct {
	Format     string          `json:"format"` // meterseal-reply/v1
	Origin     string          `json:"origin"`
	LedgerID   string          `json:"ledger_id"`
	Report     string          `json:"report_sha256"` // of the report's text; "": none
	Result     Result          `json:"result"`
	Receipt    *receiptView    `json:"receipt"`
	Acceptance *acceptanceView `json:"acceptance"`
	License    *licenseView    `json:"license"`
	Rejection  *rejectionView  `json:"rejection"`
}

type receiptView struct {
	Size     uint64     `json:"size"`
	Root     string     `json:"root"`
	Time     *time.Time `json:"time"` // of the vendor's cosignature
	Key      string     `json:"key"`
	SiteKeys []string   `json:"site_keys"` // whose signatures were verified
}

type acceptanceView struct {
	Key          string            `json:"key"`
	BaseSize     uint64            `json:"base_size"`
	BaseRoot     string            `json:"base_root"`
	Size         uint64            `json:"size"`
	Root         string            `json:"root"`
	From         time.Time         `json:"from"`
	Until        time.Time         `json:"until"`
	Totals       []AcceptedTotal   `json:"totals"`
	Findings     []AcceptedFinding `json:"findings"`
	Verdict      Verdict           `json:"verdict"`
	License      LicenseState      `json:"license"`
	NextReportBy *time.Time        `json:"next_report_by"`
	Reference    string            `json:"reference"`
	Final        bool              `json:"final"`
	Issued       time.Time         `json:"issued"`
}

type licenseView struct {
	ID     string `json:"id"`
	Serial string `json:"serial"`
	End    string `json:"end"`
}

type rejectionView struct {
	Key      string    `json:"key"`
	Code     string    `json:"code"`
	FixBy    string    `json:"fix_by"`
	Record   *int64    `json:"record"`
	Line     *uint64   `json:"line"`
	LastSize uint64    `json:"last_size"` // 0: nothing was accepted
	LastRoot string    `json:"last_root"`
	Message  string    `json:"message"`
	How      string    `json:"how"`
	Issued   time.Time `json:"issued"`
}

// view returns what a reply says, with the keys that signed it. It verifies it
// as [VerifyReply] does, but for what no key was given.
func (r *Reply) view(o ReplyOptions) (*replyView, error) {
	v := &replyView{Format: replyKind.typeLine(), Origin: r.Origin, LedgerID: LedgerID(r.Origin), Result: r.Result}
	if r.Report != nil {
		v.Report = hex.EncodeToString(r.Report[:])
	}
	var err error
	if r.Receipt != nil {
		if v.Receipt, err = r.receiptView(o); err != nil {
			return nil, err
		}
	}
	if a := r.Acceptance; a != nil {
		v.Acceptance = &acceptanceView{"", a.Base.Size, a.Base.Root.String(), a.Accepted.Size, a.Accepted.Root.String(), a.From, a.Until,
			append([]AcceptedTotal{}, a.Totals...), append([]AcceptedFinding{}, a.Findings...), a.Verdict, a.License, a.NextReportBy, a.Reference, a.Final, a.Issued}
		if v.Acceptance.Key, err = signedBy(r.AcceptanceNote, o.ReplyKeys, ledger.RoleReply); err != nil {
			return nil, err
		}
	}
	if r.License != nil {
		n, err := ledger.ParseNote(r.License, ledger.NoteBytesMax)
		if err != nil {
			return nil, err
		}
		v.License = &licenseView{noteLine(n, "id"), noteLine(n, "serial"), noteLine(n, "end")}
	}
	if j := r.Rejection; j != nil {
		v.Rejection = j.view()
		if v.Rejection.Key, err = signedBy(r.RejectionNote, o.ReplyKeys, ledger.RoleReply); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (r *Reply) receiptView(o ReplyOptions) (*receiptView, error) {
	cp, err := r.Checkpoint()
	if err != nil {
		return nil, err
	}
	v := &receiptView{Size: cp.Size, Root: cp.Root.String(), SiteKeys: append([]string{}, o.SiteKeys...)}
	if len(o.ReceiptKeys) == 0 {
		return v, nil
	}
	known, err := r.ReceiptKnown(o.ReceiptKeys)
	if err != nil {
		return nil, err
	}
	at := unix(known.VendorTime)
	v.Time = &at
	v.Key, err = signedBy(r.Receipt, o.ReceiptKeys, ledger.RoleReceipt)
	return v, err
}

func (j *Rejection) view() *rejectionView {
	v := &rejectionView{Code: j.Code, FixBy: j.FixBy, Message: j.Message, How: j.How, Issued: j.Issued}
	if j.Record >= 0 {
		v.Record = &j.Record
	}
	if j.Line > 0 {
		v.Line = &j.Line
	}
	if j.Last != nil {
		v.LastSize, v.LastRoot = j.Last.Size, j.Last.Root.String()
	}
	return v
}

// signedBy returns the key that signed a note; "" if none is known.
func signedBy(note []byte, keys []string, role ledger.Role) (string, error) {
	if len(keys) == 0 {
		return "", nil
	}
	n, err := ledger.ParseNote(note, ledger.NoteBytesMax)
	if err != nil {
		return "", err
	}
	key, _, err := verifyByOne(n, keys, role)
	return key, err
}

// WriteReplyJSON writes a parsed reply as one indented JSON object, documented in
// docs/reference/report-json.md. The keys in o say what is stated as verified;
// call [VerifyReply] with them first.
func WriteReplyJSON(w io.Writer, r *Reply, o ReplyOptions) error {
	v, err := r.view(o)
	if err != nil {
		return err
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// WriteReplyText writes a parsed reply in plain words, at 80 columns: who signed
// what, the checkpoint, and the totals as the vendor counted them. The keys in o
// say what is stated as verified; call [VerifyReply] with them first.
func WriteReplyText(w io.Writer, r *Reply, o ReplyOptions) error {
	v, err := r.view(o)
	if err != nil {
		return err
	}
	p := &printer{w: w}
	p.field("reply", "%s", map[Result]string{ResultAccepted: "accepted", ResultRefresh: "a new license; it answers no report",
		ResultRejected: "rejected: nothing was booked"}[v.Result])
	p.field("ledger", "%s", v.LedgerID)
	p.field("", "%s", v.Origin)
	if v.Report != "" {
		p.field("sha256", "%s", v.Report)
	}
	p.receipt(v.Receipt)
	p.acceptance(v.Acceptance)
	p.license(v.License)
	p.rejection(v.Rejection)
	return p.flush()
}

// visible returns a text without what a terminal would obey.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

func (p *printer) signed(label, key string, what string) {
	if key == "" {
		p.field(label, "-    %s; no key was given to verify it with", what)
		return
	}
	p.field(label, "ok   %s, signed by", what)
	p.field("", "%s", key)
}

func (p *printer) receipt(v *receiptView) {
	if v == nil {
		return
	}
	what := group(int64(v.Size)) + " records"
	if v.Time != nil {
		what += ", " + second(v.Time.Unix())
	}
	p.signed("receipt", v.Key, what)
	p.field("root", "%s", v.Root)
	if len(v.SiteKeys) > 0 {
		p.field("site", "ok   the site's own signature is on it")
	} else {
		p.field("site", "-    the site's own signature; no key was given to verify it with")
	}
}

func (p *printer) acceptance(v *acceptanceView) {
	if v == nil {
		return
	}
	p.signed("acceptance", v.Key, "issued "+second(v.Issued.Unix()))
	p.field("records", "%s to %s", group(int64(v.BaseSize)), group(int64(v.Size)-1))
	p.field("time", "%s to %s", minute(v.From), minute(v.Until))
	p.field("verdict", "%s", map[Verdict]string{OK: "ok", Explain: "explain: accepted, with questions to the site"}[v.Verdict])
	for _, f := range v.Findings {
		p.field("  "+string(Explain), "%s: record %s", f.Code, group(int64(f.Record)))
	}
	if v.Reference != "" {
		p.field("reference", "%s", visible(v.Reference))
	}
	if v.NextReportBy != nil {
		p.field("next", "report due by %s", second(v.NextReportBy.Unix()))
	}
	if v.Final {
		p.field("final", "the ledger ended with this report")
	}
	if v.License != LicenseIssued {
		p.field("license", "%s", map[LicenseState]string{LicensePending: "pending: the vendor decides, a reply follows", LicenseNone: "none"}[v.License])
	}
	if len(v.Totals) == 0 {
		p.field("totals", "no use")
		return
	}
	p.table([]string{"METER", "HOW", "EVENTS", "VALUE", "ADJUSTED"}, 2, func(row func(...string)) {
		for _, t := range v.Totals {
			row(t.Meter, t.Aggregation, group(t.Count), group(t.Value), group(t.Adjusted))
		}
	})
}

func (p *printer) license(v *licenseView) {
	if v != nil {
		p.field("license", "%s serial %s, end %s", v.ID, v.Serial, v.End)
	}
}

func (p *printer) rejection(v *rejectionView) {
	if v == nil {
		return
	}
	p.signed("rejection", v.Key, "issued "+second(v.Issued.Unix()))
	place := ""
	if v.Line != nil {
		place += " (line " + strconv.FormatUint(*v.Line, 10) + ")"
	}
	if v.Record != nil {
		place += " (record " + group(*v.Record) + ")"
	}
	p.field("code", "%s%s", v.Code, place)
	p.field("message", "%s", visible(v.Message))
	p.field("how", "%s", visible(v.How))
	p.field("fix by", "%s", v.FixBy)
	if v.LastSize > 0 {
		p.field("accepted", "so far %s records, root", group(int64(v.LastSize)))
		p.field("", "%s", v.LastRoot)
	}
}
