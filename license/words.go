package license

import (
	"slices"
	"strings"
)

// Words are what people read of a [Status], wherever they meet it: console, API,
// command line. Each text is a sentence.
type Words struct {
	Word    string `json:"word" doc:"the state"`
	Kind    string `json:"kind" enum:"good,warn,bad,none" doc:"none: an evaluation; warn: something is to be done soon"`
	Says    string `json:"says" doc:"what it is"`
	Usage   string `json:"usage" doc:"what becomes of usage"`
	Answers string `json:"answers" doc:"what applications that ask are told"`
}

var stateWords = map[State]Words{
	StateRolledBack:    {Word: "rolled back", Kind: "bad", Says: "The ledger here is older than the one that the vendor accepted."},
	StateDeactivated:   {Word: "deactivated", Kind: "bad", Says: "This site was deactivated: its last report carries the final usage."},
	StateInvalid:       {Word: "invalid", Kind: "bad", Says: "The license here cannot be used."},
	StateMismatch:      {Word: "other solution", Kind: "bad", Says: "The license is for another solution than the configuration names."},
	StateNone:          {Word: "evaluating", Kind: "none", Says: "No license is here: this site evaluates."},
	StateSuspended:     {Word: "suspended", Kind: "bad", Says: "The vendor has suspended or revoked the license."},
	StateSuperseded:    {Word: "superseded", Kind: "bad", Says: "There is a newer license than the one here, or another site has replaced this one."},
	StateNotStarted:    {Word: "not started", Kind: "warn", Says: "The license has not begun yet."},
	StateExpired:       {Word: "expired", Kind: "bad", Says: "The license has ended, and so has its grace."},
	StateReportOverdue: {Word: "report overdue", Kind: "bad", Says: "A report was due, and the grace for it has ended."},
	StateInactive:      {Word: "inactive", Kind: "warn", Says: "The license key is here; the first reply of the vendor, which activates it, is not imported yet."},
	StateExpiredGrace:  {Word: "expired, in grace", Kind: "warn", Says: "The license has ended; it still holds for its grace."},
	StateReportDue:     {Word: "report due", Kind: "warn", Says: "A report was due; the license still holds for the grace."},
	StateActive:        {Word: "active", Kind: "good", Says: "The license holds."},
}

// codeWords are in place of those of the state where the cause says more.
var codeWords = map[string]string{
	CodeBehindNode:   "A node holds a newer checkpoint than the ledger here.",
	CodeTrialExpired: "The trial has ended.",
	CodeUpgrade:      "The license asks for a newer version of this program.",
	CodeWrongSiteKey: "The license is for the key of another site.",
	CodeNewLicense:   "The license is for an older version of this program; a new one is needed.",
}

var usageWords = map[Events]string{
	EventsCounted:  "Usage is counted and sealed.",
	EventsRetired:  "Usage is not taken any more: the ledger has ended.",
	EventsNotTaken: "Usage is not taken now: nodes keep it and send it later.",
}

var answerWords = map[answer]string{
	yes:     "Applications are told yes.",
	yesWarn: "Applications are told yes, with a warning.",
	held:    "Nodes that are known are told yes, with a warning; new ones are told no.",
	no:      "Applications that ask are told no.",
}

// Words returns what people read of s.
func (s *Status) Words() Words {
	w := stateWords[s.State]
	if text := codeWords[s.Code]; text != "" {
		w.Says = text
	}
	w.Usage, w.Answers = usageWords[s.Events], answerWords[s.answer]
	if w.Kind == "good" && slices.ContainsFunc(s.Warnings, pressing) {
		w.Kind = "warn"
	}
	return w
}

// pressing tells whether a warning is to be seen at once. A report each month is
// always due within 30 days, and a license each year ends within 90 for a quarter
// of it: those stand beside their dates.
func pressing(warning string) bool {
	what, days, ahead := strings.Cut(warning, "_within_")
	return !ahead || days == "1d" || days == "7d" || days == "30d" && what == "license_ends"
}
