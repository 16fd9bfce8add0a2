package web

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/portal"
)

// told is an answer as its customer reads it: the words that staff have too
// (explanations), and what to do in order.
type told struct {
	explanation
	Found  string // what exactly was found; empty: nothing was refused
	Likely string // cause
	Steps  []step
	Asks   []asked
	Days   []string // that differ from what was accepted
}

// A step is something to do, by somebody, with the command that does it.
type step struct{ Who, Do, Command string }

// An asked finding is a question to the site.
type asked struct {
	export.Finding
	explanation
}

// people names who does something, on pages of customers.
var people = map[string]string{"courier": "You", "site": "At the site", "vendor": "Your vendor"}

// tell says what an answer means to its customer.
func tell(a *portal.Answer) told {
	t := told{explanation: explainAnswer(a)}
	add := func(who, do string) {
		if do != "" {
			t.Steps = append(t.Steps, step{Who: people[who], Do: do})
		}
	}
	if e := a.Refusal; e != nil {
		t.Found, t.Likely, t.Days = sentence(e.Message), sentence(cmp.Or(causeOf(e), t.Cause)), daysOf(e)
		add("courier", t.Courier)
		add("site", t.Site)
		add("vendor", t.Vendor)
		// Who has it in hand by the refusal itself goes first.
		slices.SortStableFunc(t.Steps, func(x, y step) int {
			return cmp.Compare(bit(x.Who != people[e.FixBy]), bit(y.Who != people[e.FixBy]))
		})
		if len(a.Reply) > 0 {
			t.Steps = append(t.Steps, step{people["courier"], "Carry the rejection to the site as well: there it says the same, signed by the vendor.", "meterseal import " + a.ReplyName})
		}
		return t
	}
	if len(a.Reply) > 0 {
		add("courier", "Download the reply and carry it to the site.")
		t.Steps = append(t.Steps, step{people["site"], "Import it:", "meterseal import " + a.ReplyName})
	}
	if a.LicenseStatus == portal.LicensePending {
		t.Steps = []step{{Who: people["vendor"], Do: "Approves or refuses this activation."},
			{Who: people["courier"], Do: "Open this page again later: the reply with the license is then here, at the same address."}}
	}
	if a.LicenseStatus == portal.LicenseRefused {
		add("courier", "Ask your vendor about the license.")
	}
	for _, f := range a.Findings {
		t.Asks = append(t.Asks, asked{f, explain(f.Code)})
	}
	if len(t.Asks) > 0 {
		add("site", "Answer the questions below, and send the answers to your vendor.")
	}
	if a.NextReportBy != nil && !a.Final {
		add("courier", fmt.Sprintf("Bring the next report by %s.", minute(*a.NextReportBy)))
	}
	return t
}

// daysOf lists the days that differ from what was accepted.
func daysOf(e *portal.Error) []string {
	switch days := e.Details["days"].(type) {
	case []string:
		return days
	case []any: // as it was written down
		var out []string
		for _, d := range days {
			if s, ok := d.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}
