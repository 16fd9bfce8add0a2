package export

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/ledger"
)

// Result is what a reply says of the report that it answers.
type Result string

// The results.
const (
	ResultAccepted Result = "accepted" // a receipt, an acceptance, and mostly a license
	ResultRefresh  Result = "refresh"  // a license only; it answers no report
	ResultRejected Result = "rejected" // a rejection only
)

// A Reply is the one document that travels back to a site. Its notes are signed;
// the rest are labels, which [ParseReply] compares with them.
type Reply struct {
	Origin string
	// Report is the SHA-256 of the text of the report that is answered; nil for
	// a refresh.
	Report *ledger.Hash
	Result Result
	// Receipt is the new checkpoint of the report, as the site signed it, with
	// the vendor's cosignature. License is the site's license from now on. Both
	// are notes, byte for byte; nil: absent.
	Receipt, License []byte
	// AcceptanceNote and RejectionNote are notes, byte for byte; nil: absent.
	AcceptanceNote, RejectionNote []byte
	// Acceptance and Rejection are what those notes say. Whoever writes a reply
	// may leave them nil.
	Acceptance *Acceptance
	Rejection  *Rejection
}

// Checkpoint returns the checkpoint that the receipt is of.
func (r *Reply) Checkpoint() (ledger.Checkpoint, error) {
	cp, err := r.receipt()
	if err != nil {
		return ledger.Checkpoint{}, err
	}
	return cp.Checkpoint, nil
}

func (r *Reply) receipt() (*ledger.SignedCheckpoint, error) {
	cp, err := ledger.ParseCheckpoint(r.Receipt)
	if err != nil {
		return nil, replyError(refuse(CodeMalformed, "receipt: %v", err).because(err))
	}
	return cp, nil
}

// Bytes returns the reply. It refuses what [ParseReply] would: parts that do not
// belong to the result, notes that are none, labels that are not as the notes
// say.
func (r *Reply) Bytes() ([]byte, error) {
	b := r.append(nil)
	again, err := ParseReply(b)
	if err != nil {
		return nil, fmt.Errorf("write reply: %w", err)
	}
	if r.Acceptance != nil && (again.Acceptance == nil || r.Acceptance.Text() != again.Acceptance.Text()) ||
		r.Rejection != nil && (again.Rejection == nil || r.Rejection.Text() != again.Rejection.Text()) {
		return nil, errors.New("write reply: the note that was signed says something else")
	}
	return b, nil
}

// parts are the parts of a reply in their order.
func (r *Reply) parts() []replyPart {
	return []replyPart{{"receipt", &r.Receipt}, {"acceptance", &r.AcceptanceNote}, {"license", &r.License}, {"rejection", &r.RejectionNote}}
}

type replyPart struct {
	name string
	note *[]byte
}

func (r *Reply) append(b []byte) []byte {
	report := "-"
	if r.Report != nil {
		report = r.Report.String()
	}
	b = fmt.Appendf(b, "%s\norigin %s\nreport %s\nresult %s\n\n", replyKind.typeLine(), r.Origin, report, r.Result)
	for _, p := range r.parts() {
		if *p.note != nil {
			b = fmt.Appendf(b, "part %s\n%s\n", p.name, *p.note)
		}
	}
	return fmt.Appendf(b, "end %v\n", ledger.Hash(sha256.Sum256(b)))
}

// IsReply reports whether the first bytes of a file are those of a reply.
func IsReply(head []byte) bool { return bytes.HasPrefix(head, []byte(replyKind.word)) }

// ParseReply parses a reply in its one spelling: Bytes gives the same bytes. It
// checks the digest at the end, which parts stand with which result, the
// grammar of receipt, acceptance and rejection, and that the labels are as the
// notes say. It verifies no signature: [VerifyReply] does, and whoever takes a
// license into use verifies that.
//
// Errors are an [*Error], which is about the file.
func ParseReply(b []byte) (*Reply, error) {
	p := &replyParser{l: newLineReader(replyKind, bytes.NewReader(b), ledger.ReplyBytesMax), starts: map[string]uint64{}}
	err := p.parse()
	if err == nil {
		err = p.checkParts()
	}
	if err != nil {
		return nil, replyError(err)
	}
	return &p.r, nil
}

// replyHints are the ways out where that of a report would not do.
var replyHints = map[string]string{
	CodeMalformed:    "fetch the reply again from the vendor, and copy it in binary",
	CodeSignature:    "fetch the reply again from the vendor; was it made by the vendor of this license?",
	CodeRootMismatch: "fetch the reply again from the vendor, and copy it in binary",
	CodeSizeTooLarge: "is it a reply? None has more than 1 MiB",
	CodeKeyUnknown:   "give the vendor's keys: a license lists its receipt and reply keys",
	CodeWrongLedger:  "carry it to the site that the report came from",
}

// replyError gives an error about a reply its way out.
func replyError(err error) error {
	var e *Error
	if errors.As(err, &e) && replyHints[e.Code] != "" {
		e.Hint = replyHints[e.Code]
	}
	return err
}

type replyParser struct {
	l      *lineReader
	r      Reply
	starts map[string]uint64 // the line before the first of each part's note
}

func (p *replyParser) malformed(line uint64, format string, args ...any) error {
	return refuse(CodeMalformed, format, args...).at(line)
}

func (p *replyParser) line() (string, error) {
	b, err := p.l.next()
	if err == io.EOF {
		return "", refuse(CodeTruncated, "the file has no end line").at(p.l.line)
	}
	return string(b), err
}

// label reads one line of the head.
func (p *replyParser) label(name string) (string, error) {
	line, err := p.line()
	if err != nil {
		return "", err
	}
	rest, ok := strings.CutPrefix(line, name+" ")
	if !ok {
		return "", p.malformed(p.l.line, "%.60q where the line %s is due", line, name)
	}
	return rest, nil
}

// parse reads the grammar, from the first line to the last.
func (p *replyParser) parse() error {
	if err := p.l.typeLine(); err != nil {
		return err
	}
	if err := p.head(); err != nil {
		return err
	}
	parts := p.r.parts()
	for {
		line, err := p.line()
		if err != nil {
			return err
		}
		if isEnd([]byte(line)) {
			return p.end(line)
		}
		name, ok := strings.CutPrefix(line, "part ")
		for len(parts) > 0 && parts[0].name != name {
			parts = parts[1:]
		}
		if !ok || len(parts) == 0 {
			return p.malformed(p.l.line, "%.60q where a part or the end line is due: each part stands once, in the order receipt, acceptance, license, rejection", line)
		}
		p.starts[name] = p.l.line
		if *parts[0].note, err = readNote(p.l, p.line); err != nil {
			return err
		}
		parts = parts[1:]
	}
}

// head reads the labels and the empty line after them.
func (p *replyParser) head() error {
	var err error
	if p.r.Origin, err = p.label("origin"); err != nil {
		return err
	}
	if _, err := ledger.ParseOrigin(p.r.Origin); err != nil {
		return p.malformed(p.l.line, "%v", err)
	}
	report, err := p.label("report")
	if err != nil {
		return err
	}
	if report != "-" {
		h, err := ledger.ParseHash(report)
		if err != nil {
			return p.malformed(p.l.line, "report: %v", err)
		}
		p.r.Report = &h
	}
	result, err := p.label("result")
	if err != nil {
		return err
	}
	if p.r.Result = Result(result); p.r.Result != ResultAccepted && p.r.Result != ResultRefresh && p.r.Result != ResultRejected {
		return p.malformed(p.l.line, "result is accepted, refresh or rejected, not %.20q", result)
	}
	line, err := p.line()
	if err == nil && line != "" {
		err = p.malformed(p.l.line, "%.60q where an empty line is due", line)
	}
	return err
}

// end checks the digest and that nothing follows.
func (p *replyParser) end(line string) error {
	at := p.l.line
	p.l.hashBefore(len(line) + 1)
	sum := ledger.Hash(p.l.digest.Sum(nil))
	digest, err := ledger.ParseHash(strings.TrimPrefix(line, "end "))
	if err != nil {
		return p.malformed(at, "end line: %v", err)
	}
	if _, err := p.l.next(); err != io.EOF {
		return p.malformed(at+1, "there are bytes after the end line")
	}
	if digest != sum {
		return p.malformed(at, "the digest at the end is not that of the file: it was damaged or edited")
	}
	return nil
}

// checkParts parses the notes and compares the labels with them.
func (p *replyParser) checkParts() error {
	r := &p.r
	accepted, rejected := r.Result == ResultAccepted, r.Result == ResultRejected
	switch {
	case (r.Receipt != nil) != accepted || (r.AcceptanceNote != nil) != accepted,
		(r.RejectionNote != nil) != rejected,
		r.License != nil && rejected || r.License == nil && r.Result == ResultRefresh:
		return p.malformed(4, "the parts are not those of the result %s", r.Result)
	case (r.Report == nil) != (r.Result == ResultRefresh):
		return p.malformed(3, "a report is named if and only if the reply answers one")
	}
	for _, check := range []func() error{p.checkReceipt, p.checkAcceptance, p.checkLicense, p.checkRejection} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// inPart says where in the file an error about the text of a note is.
func (p *replyParser) inPart(name string, err error) error {
	var e *Error
	if errors.As(err, &e) {
		e.Line += p.starts[name]
	}
	return err
}

func (p *replyParser) checkReceipt() error {
	if p.r.Receipt == nil {
		return nil
	}
	cp, err := p.r.receipt()
	if err != nil {
		return p.inPart("receipt", err)
	}
	return p.sameOrigin("receipt", cp.Origin)
}

func (p *replyParser) sameOrigin(part, origin string) error {
	if origin != p.r.Origin {
		return p.malformed(2, "the label names %s, the %s %.160s", p.r.Origin, part, origin)
	}
	return nil
}

func (p *replyParser) checkAcceptance() (err error) {
	if p.r.AcceptanceNote == nil {
		return nil
	}
	if p.r.Acceptance, err = ParseAcceptance(p.r.AcceptanceNote); err != nil {
		return p.inPart("acceptance", err)
	}
	a := p.r.Acceptance
	if a.Report != *p.r.Report {
		return p.malformed(3, "the label names the report %v, the acceptance %v", p.r.Report, a.Report)
	}
	if (a.License == LicenseIssued) != (p.r.License != nil) {
		there := map[bool]string{true: "there is one", false: "there is none"}[p.r.License != nil]
		return p.malformed(p.starts["acceptance"], "the acceptance says that a license is %s, and %s", a.License, there)
	}
	return p.sameOrigin("acceptance", a.Origin)
}

// checkLicense compares the two lines of the license that labels repeat. What
// else it says, also a newer version of it, is for whoever takes it into use.
func (p *replyParser) checkLicense() error {
	if p.r.License == nil {
		return nil
	}
	n, err := ledger.ParseNote(p.r.License, ledger.NoteBytesMax)
	if err != nil {
		return p.inPart("license", refuse(CodeMalformed, "license: %v", err).because(err))
	}
	if !strings.HasPrefix(n.Text, "meterseal-license/v") {
		return p.malformed(p.starts["license"]+1, "the part license begins no license")
	}
	if !strings.HasPrefix(n.Text, "meterseal-license/v1\n") {
		return nil
	}
	if err := p.sameOrigin("license", noteLine(n, "site")); err != nil {
		return err
	}
	serial := noteLine(n, "serial")
	if a := p.r.Acceptance; a != nil && serial != strconv.FormatUint(a.LicenseSerial, 10) {
		return p.malformed(p.starts["license"], "the acceptance says license %d, the license serial %.20s", a.LicenseSerial, serial)
	}
	return nil
}

// noteLine returns what the first line of that name says, or "".
func noteLine(n *ledger.Note, name string) string {
	for line := range strings.Lines(n.Text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSuffix(rest, "\n")
		}
	}
	return ""
}

func (p *replyParser) checkRejection() (err error) {
	if p.r.RejectionNote == nil {
		return nil
	}
	if p.r.Rejection, err = ParseRejection(p.r.RejectionNote); err != nil {
		return p.inPart("rejection", err)
	}
	if p.r.Rejection.Report != *p.r.Report {
		return p.malformed(3, "the label names the report %v, the rejection %v", p.r.Report, p.r.Rejection.Report)
	}
	return p.sameOrigin("rejection", p.r.Rejection.Origin)
}
