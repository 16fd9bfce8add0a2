package license_test

import (
	"strings"
	"testing"

	"github.com/meterseal/meterseal/license"
)

// R4.1: every state has its own text, which agrees with what the table of states
// says of usage and answers.
func TestStateWords(t *testing.T) {
	answers := map[string]string{"yes": "are told yes.", "yes!": "told yes, with a warning.", "held": "new ones are told no.", "no": "are told no."}
	usage := map[license.Events]string{license.EventsCounted: "counted", license.EventsRetired: "ended", license.EventsNotTaken: "keep it and send it later"}
	kinds := map[string]bool{"good": true, "warn": true, "bad": true, "none": true}
	says := map[string]string{}
	for _, c := range states {
		for i, e := range enforcements {
			var l *license.License
			if c.text != nil {
				l = parse(t, c.text.with("enforcement", string(e)))
			}
			f := c.facts
			if f.Refused != nil {
				f.Refused = &license.Error{Code: f.Refused.Code, Hint: "correct it"}
			}
			s := l.State(f, at(c.now))
			w := s.Words()
			if w.Word == "" || w.Says == "" || !kinds[w.Kind] || !strings.HasSuffix(w.Says, ".") {
				t.Errorf("Words of %s = %+v, want word, kind and a sentence", c.code, w)
			}
			if other, ok := says[w.Says]; ok && other != c.code {
				t.Errorf("%s and %s say the same: %q", c.code, other, w.Says)
			}
			says[w.Says] = c.code
			if !strings.Contains(w.Usage, usage[c.events]) {
				t.Errorf("Words of %s say %q of usage, want %q in it", c.code, w.Usage, usage[c.events])
			}
			column := i
			if l == nil {
				column = 2 // as without a license
			}
			if want := answers[strings.Fields(c.answers)[column]]; !strings.Contains(w.Answers, want) {
				t.Errorf("Words of %s, %s, say %q of answers, want %q in it", c.code, e, w.Answers, want)
			}
			if want := c.state == license.StateActive || c.state == license.StateDeactivated; !want && s.NextActionKind == "" {
				t.Errorf("%s has no next step", c.code)
			}
		}
	}
	seen := map[license.State]bool{}
	for _, c := range states {
		seen[c.state] = true
	}
	if len(seen) != 14 {
		t.Errorf("%d states have words, want 14", len(seen))
	}
}

// O-30: what comes soon is to be seen at once, what is only ahead stands beside its
// date.
func TestPressingWords(t *testing.T) {
	for now, want := range map[string]string{
		"2026-12-01T00:00:00Z": "good", "2027-01-10T00:00:00Z": "good", "2027-01-25T00:00:00Z": "warn", "2027-01-31T12:00:00Z": "warn",
	} {
		s := parse(t, valid).State(activated, at(now))
		if got := s.Words().Kind; got != want {
			t.Errorf("Words of %s at %s are %s, warnings %v, want %s", s.State, now, got, s.Warnings, want)
		}
	}
	s := parse(t, policy).State(activated, at("2027-10-05T00:00:00Z"))
	if got := s.Words().Kind; got != "warn" {
		t.Errorf("Words 26 days before the end are %s, want warn", got)
	}
}
