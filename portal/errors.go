package portal

import (
	"errors"
	"fmt"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/license"
)

// Codes of refusals beyond those of package export (docs/reference/errors.md).
const (
	CodeOfflineNotAllowed = "license/offline_not_allowed"
	CodeLicenseUnknown    = "license/unknown"
	CodeSolutionName      = "license/solution_name_mismatch"
	CodeKeyRevoked        = "key/revoked"
	CodeSuperseded        = "ledger/superseded"
	CodeAlreadyActive     = "activation/already_active"
	CodeActivationLimit   = "activation/limit"
	CodeTransferLimit     = "activation/transfer_limit"
	CodeTrialUsed         = "activation/trial_used"
	CodeNotAllowed        = "auth/not_allowed"

	CodeNotFound       = "not_found"
	CodeExists         = "already_exists"
	CodeTermTooShort   = "term_too_short"
	CodeTermTooLong    = "term_too_long"
	CodeFeatureUnknown = "feature_unknown"
	CodeAlgorithm      = "algorithm_not_allowed"
	CodeAfterContract  = "end_after_contract"
	CodeTypeFixed      = "type_fixed"
	CodePerpetual      = "perpetual_not_confirmed"
	CodeBadRequest     = "bad_request"
	CodeState          = "wrong_state"
	CodeKeyUnannounced = "key_not_announced"
	CodeSecondPerson   = "second_person_needed"
)

// An Error is a refusal: of an upload, with a code major/minor, or of what staff
// asked for.
type Error struct {
	Code    string         `json:"code"`
	Status  int            `json:"status"`            // of HTTP
	FixBy   string         `json:"fix_by"`            // site, courier or vendor
	Message string         `json:"message"`           // with the value at fault
	Hint    string         `json:"how"`               // the way out
	Details map[string]any `json:"details,omitempty"` // numbers and names, by the code
}

// Error returns code and message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// CodeOf returns the code of a refusal; empty: err is none.
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// with adds a detail.
func (e *Error) with(name string, value any) *Error {
	if e.Details == nil {
		e.Details = map[string]any{}
	}
	e.Details[name] = value
	return e
}

// ways say who puts right what the portal alone refuses, and how.
var ways = map[string]struct{ fixBy, hint string }{
	CodeOfflineNotAllowed: {"vendor", "the vendor changes the license: allow-offline yes"},
	CodeLicenseUnknown:    {"site", "correct license.key in the site's configuration"},
	CodeSolutionName:      {"site", "correct license.solutionName in the site's configuration"},
	CodeKeyRevoked:        {"site", "activate anew: the vendor ended this site key"},
	CodeSuperseded:        {"site", "activate anew: this ledger was released"},
	CodeAlreadyActive:     {"site", "restore the ledger of this site key, or activate anew with supersedes"},
	CodeActivationLimit:   {"site", "deactivate another site, or ask the vendor to raise max-activations or release a lost one"},
	CodeTransferLimit:     {"vendor", "the vendor raises transfers"},
	CodeTrialUsed:         {"vendor", "ask the vendor for a license"},
	CodeNotSignedIn:       {"vendor", "sign in, or send a token: Authorization: Bearer ms_..."},
	CodeSignIn:            {"vendor", "look at what was typed; who forgot it asks an administrator for a new link"},
	CodeTooMany:           {"vendor", "wait, then try once"},
	CodeLink:              {"vendor", "ask whoever gave you the link for a new one"},
	CodeNotAllowed:        {"vendor", "sign in as the user of this license, or ask the vendor for the right"},
	CodeNotFound:          {"vendor", "list what there is"},
	CodeExists:            {"vendor", "choose another name"},
	CodeTermTooShort:      {"vendor", "choose an end at least an hour after the start"},
	CodeTermTooLong:       {"vendor", "choose an earlier end, or a longer max-term"},
	CodeFeatureUnknown:    {"vendor", "add the feature to the product first"},
	CodeAlgorithm:         {"vendor", "licenses are signed with ed25519"},
	CodeAfterContract:     {"vendor", "choose an earlier end, or move contract-end"},
	CodeTypeFixed:         {"vendor", "make a new license"},
	CodePerpetual:         {"vendor", "confirm it: nothing ends a perpetual license offline"},
	CodeBadRequest:        {"vendor", "see docs/explanation/vendor.md"},
	CodeState:             {"vendor", "look at its state first"},
	CodeKeyReused:         {"courier", "give each change a key of its own"},
	CodeUnderWay:          {"courier", "wait for its answer, or send it again a little later"},
	CodeAnswerLost:        {"courier", "look whether it is done; if not, send it with a new key"},
	CodeSecretShown:       {"courier", "it is shown once: make another one, and take this one away"},
	CodePrecondition:      {"vendor", "read it again, then decide anew"},
	CodeKeyUnannounced:    {"vendor", "wait until every site has imported a license that lists the key, or force it"},
	CodeSecondPerson:      {"vendor", "another administrator asks for the very same, on the page of keys or by the same call"},
	export.CodeRetired:    {"site", "activate anew: this ledger ended"},

	license.CodeMeterConflict: {"vendor", "give the new meaning another id; what a meter counts never changes"},
}

// status returns the HTTP status of a code.
func status(code string) int {
	major := code
	for i := range code {
		if code[i] == '/' {
			major = code[:i]
			break
		}
	}
	switch code {
	case CodeNotSignedIn, CodeSignIn:
		return 401
	case CodeTooMany:
		return 429
	}
	switch major {
	case "format":
		return 400
	case "key", "auth":
		return 403
	case "history", "activation", "ledger":
		if code == export.CodeWrongLedger {
			return 422
		}
		return 409
	case "size":
		return 413
	case "license":
		if code == CodeOfflineNotAllowed {
			return 403
		}
		return 422
	case CodeNotFound:
		return 404
	case CodeExists, CodeState, CodeKeyUnannounced, CodeSecondPerson:
		return 409
	case "idempotency":
		if code != CodeKeyReused {
			return 409
		}
		return 422
	case CodeBadRequest:
		return 400
	case CodePrecondition:
		return 412
	}
	return 422
}

// refuse makes an Error.
func refuse(code, format string, args ...any) *Error {
	e := &Error{Code: code, Status: status(code), Message: fmt.Sprintf(format, args...)}
	if w, ok := ways[code]; ok {
		e.FixBy, e.Hint = w.fixBy, w.hint
	} else {
		e.FixBy, e.Hint = export.FixBy(code), export.Hint(code)
	}
	return e
}

// refusedFile is what an *export.Error comes to.
func refusedFile(x *export.Error) *Error {
	e := &Error{Code: x.Code, Status: status(x.Code), FixBy: x.FixBy(), Message: x.Error(), Hint: x.Hint}
	if x.Line > 0 {
		e = e.with("line", x.Line)
	}
	if x.Record >= 0 {
		e = e.with("record", x.Record)
	}
	return e
}

// badLicense is what an *license.Error of something staff wrote comes to.
func badLicense(err error) error {
	var l *license.Error
	if !errors.As(err, &l) {
		return err
	}
	e := refuse(CodeBadRequest, "license: %s", l.Message)
	if l.Field != "" {
		e = e.with("line", l.Field)
	}
	return e
}
