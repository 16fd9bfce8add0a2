package web

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/portal"
)

// An explanation says in plain words what an answer to an upload, one of its
// findings or an alert means. Staff and customers read the same words.
type explanation struct {
	Kind  string // good, warn or bad
	Title string // what happened, in one line
	Means string // what follows of it
	Cause string // what usually leads to it; empty: nothing in particular
	// Ask is what the site is asked, of a finding that it should explain.
	Ask string
	// Site, Courier and Vendor are what each of them does; empty: nothing.
	Site, Courier, Vendor string
}

// FixBy names who has something to do first: site, courier, vendor or nobody.
func (e explanation) FixBy() string {
	switch {
	case e.Site != "":
		return "site"
	case e.Courier != "":
		return "courier"
	case e.Vendor != "":
		return "vendor"
	}
	return "nobody"
}

// Sentences that several answers share.
const (
	damagedMeans = "The file is damaged or was changed on the way. This says nothing about the site, and nothing of the file was counted."
	copyAgain    = "Copy the file again in binary, and compare its size and SHA-256 with what the site shows."
	exportAgain  = "Export the report again: meterseal report export."
	nothingKept  = "Nothing of the report was counted; what was accepted before stays as it is."
	carryReply   = "Carry the reply to the site: meterseal import FILE.reply."
	evidenceKept = "The whole report was refused and nothing of it was counted. The file is kept as evidence, and the accepted history stays as it is."
)

// explanations has the words for every code that an upload can be answered with,
// for every finding and every alarm. "pending" is license_status pending,
// "license_refused" license_status refused.
var explanations = map[string]explanation{
	"ok": {Kind: "good", Title: "The report was accepted",
		Means: "Every record was verified and counted once. The reply holds the signed receipt, and the license if one was due.", Courier: carryReply},
	"explain": {Kind: "warn", Title: "The report was accepted, and the site is asked something",
		Means: "Everything was verified and counted, and service goes on. What is listed below is unusual, and the vendor would like to know why.",
		Site:  "Answer the questions below to your vendor.", Courier: carryReply},
	"duplicate": {Kind: "good", Title: "This was accepted before",
		Means: "The same records were counted already. Nothing was counted twice, and the reply is the same again, or the newest one.", Courier: carryReply},
	"pending": {Kind: "warn", Title: "The report was accepted, the license waits for the vendor",
		Means:  "The usage was counted. The vendor has to approve this activation first; then the reply with the license can be downloaded at the same place.",
		Vendor: "Approve or refuse the activation on the page of the ledger."},
	"license_refused": {Kind: "warn", Title: "The report was accepted, and brought no license",
		Means:  "The usage was counted and has its receipt. The license is suspended, revoked or at the end of its contract, or the activation was refused.",
		Vendor: "Look at the license: resume it, or agree on a new one."},

	export.CodeNotAReport: {Kind: "bad", Title: "This is no usage report",
		Means: "The file is of another kind, and was not read any further.", Cause: "A reply, a license or a picture was chosen by mistake.",
		Courier: "Choose the file whose name ends in .usage."},
	export.CodeNotAReply: {Kind: "bad", Title: "This is no reply",
		Means: "A reply was expected, and the file is of another kind.", Courier: "Choose the file whose name ends in .reply, as the vendor gave it."},
	export.CodeMistyped: {Kind: "bad", Title: "A typed code has a slip",
		Means: "One row of the code does not agree with its own check.", Courier: "Compare the row that is named with the other screen, and type it again."},
	export.CodeLineEnds: {Kind: "bad", Title: "A program changed the line ends of the file",
		Means: damagedMeans, Cause: "The file was opened and saved in an editor, sent as text in a mail, or copied by FTP in text mode.", Courier: copyAgain},
	export.CodeTruncated: {Kind: "bad", Title: "The end of the file is missing",
		Means: damagedMeans, Cause: "The copy was interrupted, or the disk it was copied to is full.", Courier: copyAgain},
	export.CodeMalformed: {Kind: "bad", Title: "A line of the file breaks the format",
		Means: damagedMeans, Cause: "The file was edited or converted.", Courier: copyAgain, Site: exportAgain},
	export.CodeEncryptionNeeded: {Kind: "bad", Title: "The file is encrypted, and not for this portal",
		Means: "Only the recipients named in the license can open it. " + nothingKept, Cause: "The report was sealed for another recipient.",
		Site: "Export it again without sealing, or sealed for this vendor.", Vendor: "Give the portal the identity that opens it."},
	export.CodeTooNew: {Kind: "bad", Title: "The file was written by a newer program than the portal knows",
		Means: nothingKept, Vendor: "Bring the portal up to date; the site can send the same file again then."},
	export.CodeTooOld: {Kind: "bad", Title: "The site's program is too old",
		Means: nothingKept, Cause: "The license asks for a newer version than the site runs.", Site: "Update meterseal at the site, then export again. Nothing that was counted is lost."},

	"auth/not_signed_in": {Kind: "bad", Title: "Nobody is signed in",
		Means: "The file was not read.", Courier: "Sign in, or send an API token, then send the file again."},
	portal.CodeNotAllowed: {Kind: "bad", Title: "This account may not bring the report of this ledger",
		Means: "The ledger belongs to another customer, or its license to another user. " + nothingKept, Courier: "Sign in with the account of the customer that the license was issued to.",
		Vendor: "Give the account the right, if it should have it."},
	export.CodeKeyUnknown: {Kind: "bad", Title: "The key that signed this is not registered here",
		Means: nothingKept, Cause: "The report is for another vendor's portal, or it is not the first one of its site.",
		Courier: "Is it for another vendor? Then take it to that portal.", Site: "Else activate the site first: its first report registers the key."},
	export.CodeKeyRotated: {Kind: "bad", Title: "The report is signed with an earlier key of the site",
		Means: nothingKept, Cause: "The site has changed its key, and the change was accepted: from then on only the new one counts.", Site: exportAgain},
	portal.CodeKeyRevoked: {Kind: "bad", Title: "The vendor has ended this site key",
		Means: nothingKept, Cause: "The key was reported stolen or misused.", Site: "Activate anew, with a new ledger.", Vendor: "If that was a mistake, agree with the customer on a new activation: a key that was ended stays so."},

	export.CodeDiffers: {Kind: "bad", Title: "The report contradicts records that were accepted before",
		Means: evidenceKept, Cause: "An older disk was restored and went on, a directory was copied, or two daemons run under one site key.",
		Site: "Stop the second daemon, if there is one. On the machine that goes on, run meterseal restore, then export again.", Vendor: "Look at the days that differ, and decide with the customer which branch goes on."},
	export.CodeFork: {Kind: "bad", Title: "The site signed two different histories of the same length",
		Means: evidenceKept, Cause: "Two daemons run under one site key: a machine or its disk was cloned.",
		Site: "Stop one of the two. On the other run meterseal restore, then export again.", Vendor: "Decide with the customer which branch goes on; both signed checkpoints are in the evidence file."},
	export.CodeRolledBack: {Kind: "bad", Title: "The report ends before what was accepted already",
		Means: evidenceKept, Cause: "The site runs on an older disk or backup, and the daemon was not told so.",
		Site: "Run meterseal restore: it records that the ledger was put back. Then export again.", Vendor: "Nothing has to be decided unless the site goes on without a restore."},
	export.CodeWitnessAhead: {Kind: "bad", Title: "A node saw more than this ledger has",
		Means: evidenceKept, Cause: "The ledger went back to an older state, and no restore explains it.",
		Site: "Put the newer data directory back; if nobody has it, run meterseal restore. Then export again.", Vendor: "Ask which machine held the newer data."},
	export.CodeBaseMissing: {Kind: "bad", Title: "A report in between is missing",
		Means: "This report continues from a point that was not accepted here yet. " + nothingKept, Cause: "An earlier report was not uploaded, or its reply came from elsewhere.",
		Courier: "Bring the earlier report first, then this one again.", Site: "Or export again from the last accepted size: meterseal report export --from SIZE."},
	export.CodeRetired: {Kind: "bad", Title: "This ledger has ended",
		Means: nothingKept, Cause: "The site was deactivated, and usage was recorded after its last record.", Site: "Activate anew: a new ledger begins."},
	portal.CodeSuperseded: {Kind: "bad", Title: "This ledger was released",
		Means: nothingKept, Cause: "The site was reported lost, or replaced by another one.", Site: "Activate anew: a new ledger begins.", Vendor: "If the site was released by mistake, agree with the customer on a new activation."},
	portal.CodeAlreadyActive: {Kind: "bad", Title: "This site key has an active ledger already",
		Means: "A new ledger under the same key was not activated, and nothing of it was counted.", Cause: "The data directory was lost or replaced, while the site key was kept.",
		Site: "Restore the ledger that is active: meterseal restore. Or activate anew with supersedes.", Vendor: "Release the old ledger, if its data is lost."},
	portal.CodeActivationLimit: {Kind: "bad", Title: "All activations of the license are in use",
		Means: nothingKept, Site: "Deactivate another site, then send this again.", Vendor: "Raise max-activations, or release a site that was lost."},
	portal.CodeTransferLimit: {Kind: "bad", Title: "The license allows no further transfer",
		Means: nothingKept, Vendor: "Raise transfers of the license, if the customer may move once more."},
	portal.CodeTrialUsed: {Kind: "bad", Title: "The trial was used on this machine before",
		Means: nothingKept, Vendor: "Issue a license, if the customer wants to go on."},
	export.CodeSizeTooLarge: {Kind: "bad", Title: "The report is larger than the portal takes",
		Means: nothingKept, Site: "Export it in parts: meterseal report export --until SIZE, and report more often from then on.", Vendor: "Or raise the cap of the portal."},
	export.CodeSizeRatio: {Kind: "bad", Title: "The file unpacks to far more than a report would",
		Means: damagedMeans, Site: "Send it uncompressed, or export it in parts: meterseal report export --until SIZE."},
	export.CodeWrongLedger: {Kind: "bad", Title: "The report is of another cluster than the one chosen",
		Means: nothingKept, Cause: "A file of the wrong cluster was picked, or the wrong name was chosen.", Courier: "Choose the cluster that is named, or none: the file names its ledger itself."},
	portal.CodeLicenseUnknown: {Kind: "bad", Title: "Nobody here knows this license",
		Means: nothingKept, Cause: "The license key in the site's configuration has a slip, or is of another vendor.", Site: "Correct license.key in the site's configuration, then export again."},
	portal.CodeSolutionName: {Kind: "bad", Title: "The solution name is not that of the license",
		Means: nothingKept, Site: "Correct license.solutionName in the site's configuration, byte for byte, then export again."},
	portal.CodeOfflineNotAllowed: {Kind: "bad", Title: "This license does not renew by file",
		Means: nothingKept, Vendor: "Set allow-offline of the license to yes, if it should."},
	export.CodeSignature: {Kind: "bad", Title: "The signature does not fit the file",
		Means: damagedMeans, Courier: copyAgain, Site: exportAgain},
	export.CodeRootMismatch: {Kind: "bad", Title: "The records do not give the number that the site signed",
		Means: damagedMeans, Cause: "A record was edited, lost or added after the export.", Courier: copyAgain, Site: exportAgain},
	export.CodeTotals: {Kind: "bad", Title: "The totals do not follow from the records",
		Means: "The site signed this, and it does not add up. " + evidenceKept, Cause: "A defect of the program, or a changed program.",
		Vendor: "Examine the first bad record, and ask which version the site runs."},
	export.CodeSequenceGap: {Kind: "bad", Title: "The numbers of a node have a hole",
		Means: "The site signed this, and no gap record says why. " + evidenceKept, Cause: "A defect of the program, or a changed program.",
		Vendor: "Examine the first bad record, and ask which version the site runs."},
	export.CodeWindowGap: {Kind: "bad", Title: "The time of a node is not covered without a hole",
		Means: "The site signed this, and no gap record says why. " + evidenceKept, Cause: "A defect of the program, or a changed program.",
		Vendor: "Examine the first bad record, and ask which version the site runs."},

	"busy/rate": {Kind: "warn", Title: "Too many files at once",
		Means: "The file was not read. Sending it again is safe: nothing is counted twice.", Courier: "Wait a minute, then send it again."},
	"busy/later": {Kind: "warn", Title: "The portal is busy just now",
		Means: "Nothing was counted. Sending it again is safe: nothing is counted twice.", Courier: "Send it again a little later."},
	"internal/error": {Kind: "bad", Title: "Something went wrong on our side",
		Means: "Nothing was counted. Sending it again is safe: nothing is counted twice.", Courier: "Send it again; if it stays so, tell the vendor when it was.",
		Vendor: "See the log of the portal."},

	"idempotency/key_reused": {Kind: "bad", Title: "This idempotency key was used for another request",
		Means: nothingKept, Courier: "Give each request a key of its own, and repeat a key only with the same request."},
	"idempotency/under_way": {Kind: "warn", Title: "The same request is being worked on",
		Means: "Nothing is counted twice.", Courier: "Wait a moment, then send it again under the same key."},
	"idempotency/answer_lost": {Kind: "warn", Title: "The request was done, and its answer is not on record",
		Means: "Nothing is counted twice.", Courier: "Ask for the report by the SHA-256 of its file."},
	"idempotency/secret_shown": {Kind: "warn", Title: "The request was done, and its answer had a secret that is shown once",
		Means: "It is not shown again.", Courier: "Make a new one, and take the old one back."},

	// Findings that ask for an explanation.
	"explain/restore": {Kind: "warn", Title: "The ledger came back from a backup or from its reports",
		Means: "The site recorded the restore itself, so this is no contradiction. Usage that was not reported before may have been sent again by the nodes, or is named as a gap.",
		Ask:   "Why was the ledger restored, and is everything that was used since then in this report?"},
	"explain/gap": {Kind: "warn", Title: "A node was silent, or no daemon ran",
		Means: "For the span that is named nobody knows what was used. Nothing was estimated.",
		Ask:   "Why was the node silent, and was the product used in that time?"},
	"explain/clock_step": {Kind: "warn", Title: "The site's clock moved by a day or more",
		Means: "Totals do not depend on the clock. It can have moved use from one period into another.",
		Ask:   "Why was the clock changed, and when was it right again?"},
	"explain/bindings": {Kind: "warn", Title: "The machine changed",
		Means: "Parts that the license is bound to are others than before, as after new hardware or a move to another machine. The reply brings the new ones.",
		Ask:   "Was the machine replaced or moved?"},
	"explain/receipt_missing": {Kind: "warn", Title: "The site has not imported the last receipt",
		Means: "We gave a receipt, and no record of the ledger mentions it. The reply that comes now replaces it.",
		Ask:   "Was the last reply imported at the site?"},
	"explain/unknown_kind": {Kind: "warn", Title: "A record of a kind that the portal does not know",
		Means: "It was kept and not interpreted. A newer program may write such records.",
		Ask:   "Which version does the site run?"},

	// Alarms, for the vendor's own house.
	"receipt_unknown": {Kind: "warn", Title: "A site shows our receipt, and our records do not have it",
		Means:  "The signature is ours, so the report was accepted from there. The portal's records are older than that receipt, as after a restored database.",
		Vendor: "Ask the customer for the reports before it, and upload them: what is missing is booked then, once."},
	"records_missing": {Kind: "warn", Title: "Accepted records are not booked here",
		Means:  "They are below an accepted checkpoint, and the report that brought them is not among our files.",
		Vendor: "Ask the customer for that report, and upload it again."},
}

// explain returns the words for a code. One that nobody has written words for
// gets its kind from its major code.
func explain(code string) explanation {
	if e, ok := explanations[code]; ok {
		return e
	}
	return explanation{Kind: "bad", Title: "Refused: " + code, Means: nothingKept, Vendor: "See the message."}
}

// explainAnswer returns the words for an answer as it stands now: what waits for
// the vendor or brings no license says so.
func explainAnswer(a *portal.Answer) explanation {
	switch {
	case a.Refusal != nil:
		e := explain(a.Code)
		if a.Refusal.Hint != "" && a.Code == export.CodeBaseMissing {
			e.Site = "Or " + strings.TrimPrefix(a.Refusal.Hint, "bring the earlier report first, or ") + "."
		}
		return e
	case a.LicenseStatus == portal.LicensePending:
		return explain("pending")
	case a.LicenseStatus == portal.LicenseRefused:
		return explain("license_refused")
	}
	e := explain(a.Code)
	if a.ReplyName != "" {
		e.Courier = strings.ReplaceAll(e.Courier, "FILE.reply", a.ReplyName)
	}
	return e
}

// tellCustomer is what to write to the customer about an answer, ready to copy.
// vendor is how the vendor signs.
func tellCustomer(a *portal.Answer, vendor string) string {
	e := explainAnswer(a)
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("Hello,\n")
	line("this is about your usage report of %s, received on %s.", cmp.Or(quoted(a.Label), ledgerWord(a), "an unknown site"), a.Received.UTC().Format("2006-01-02 15:04 UTC"))
	line("File: SHA-256 %s", a.FileSHA256)
	line("\n%s. %s", e.Title, e.Means)
	if a.Refusal != nil {
		line("What was found: %s [%s]", a.Refusal.Message, a.Code)
		if cause := cmp.Or(causeOf(a.Refusal), e.Cause); cause != "" {
			line("Likely cause: %s", sentence(cause))
		}
	}
	for _, f := range a.Findings {
		if ask := explain(f.Code).Ask; ask != "" && a.Refusal == nil {
			line("\nQuestion: %s\n  (%s; record %s)", ask, f.Detail, count(f.Record))
		}
	}
	if e.Site != "" || e.Courier != "" {
		line("\nWhat to do:")
		for _, do := range []string{e.Courier, e.Site} {
			if do != "" {
				line("- %s", do)
			}
		}
	}
	if a.ReplyName != "" && a.Refusal != nil {
		line("- Import the reply %s at the site: it says the same there, signed by us.", a.ReplyName)
	}
	if a.NextReportBy != nil && a.Refusal == nil {
		line("\nNext report by %s.", a.NextReportBy.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	if a.LicenseEnd != nil && a.Refusal == nil {
		line("License end %s.", a.LicenseEnd.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	line("\nReport number for your reference: %s", a.ReportID)
	line("\n%s", vendor)
	return b.String()
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return "'" + s + "'"
}

func ledgerWord(a *portal.Answer) string {
	if a.LedgerID == "" {
		return ""
	}
	return "ledger " + a.LedgerID
}

// causeOf is the likely cause that a refusal itself names; empty: none.
func causeOf(e *portal.Error) string {
	s, _ := e.Details["cause"].(string)
	return s
}

// sentence begins with a capital letter and ends with a full stop.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}
