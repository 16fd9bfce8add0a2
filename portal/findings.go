package portal

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal/finding"
)

// States of a UsageFinding.
const (
	FindingOpen      = "open"
	FindingExplained = "explained"
)

// A UsageFinding is something odd in accepted usage. It is evidence for a conversation,
// never a verdict: nothing is refused or held back for it.
type UsageFinding struct {
	// ID stays the same when findings are made again, also after [Rebuild].
	ID           string `json:"id"`
	Kind         string `json:"kind"` // of package finding
	State        string `json:"state"`
	Origin       string `json:"origin"`
	LedgerID     string `json:"ledger_id"`
	Label        string `json:"label"`
	License      string `json:"license"`
	Customer     string `json:"customer"`
	CustomerName string `json:"customer_name"`
	// Meter or Node is what it is about; both empty: the ledger.
	Meter string `json:"meter,omitempty"`
	Node  string `json:"node,omitempty"`
	// Unit and Scale are of Seen, Expected, Limit and the evidence.
	Unit  string `json:"unit"`
	Scale int    `json:"scale"`
	// From and To bound it, [From, To).
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Steps are how many days, periods, weeks or reports were odd; Seen and
	// Expected are theirs together (package finding).
	Steps    int   `json:"steps"`
	Seen     int64 `json:"seen"`
	Expected int64 `json:"expected"`
	Limit    int64 `json:"limit,omitempty"`
	// Text says it in a sentence.
	Text  string    `json:"text"`
	Found time.Time `json:"found"` // when the report came that it was first found in
	// Note is what staff wrote; nil: it is open.
	Note *FindingNote `json:"note,omitempty"`
	// Evidence is why: what was seen and what was expected, step by step. Lists
	// leave it out.
	Evidence []Evidence `json:"evidence,omitempty"`
}

// Evidence is a step of a UsageFinding, or one beside it.
type Evidence struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Seen int64     `json:"seen"`
	// Known: there was enough before it to expect Expected, and anything in
	// [Low, High] is usual.
	Known    bool  `json:"known"`
	Expected int64 `json:"expected"`
	Low      int64 `json:"low"`
	High     int64 `json:"high"`
	Odd      bool  `json:"odd"` // a step of the finding
}

// A FindingNote is an explanation. It stays when findings are made again.
type FindingNote struct {
	Text  string    `json:"text"`
	Actor string    `json:"actor"`
	Time  time.Time `json:"time"`
	// Upto was the end of the finding then; before To: it has gone on since.
	Upto time.Time `json:"upto"`
}

// FindingsDisclaimer stands wherever findings are shown.
const FindingsDisclaimer = "Evidence for a conversation, never a verdict: a holiday, a new shift or a slow courier looks like this too."

const findingColumns = `f.id, f.origin, f.license, f.kind, f.subject, f.first, f.next, f.body, f.found, l.label, k.customer, COALESCE(c.name, ''),
	COALESCE(n.text, ''), COALESCE(n.actor, ''), COALESCE(n.time, 0), COALESCE(n.upto, 0)`

const findingTables = `findings f JOIN ledgers l ON l.origin = f.origin JOIN licenses k ON k.id = f.license LEFT JOIN customers c ON c.id = k.customer
	LEFT JOIN finding_notes n ON n.finding = f.id`

// findingBody is what is kept as JSON: numbers as package finding has them, and the
// unit.
type findingBody struct {
	finding.Finding
	Unit  string `json:"unit"`
	Scale int    `json:"scale"`
}

func scanFinding(evidence bool) func(scan func(...any) error) (UsageFinding, error) {
	return func(scan func(...any) error) (f UsageFinding, err error) {
		var subject, body, text, actor string
		var first, next, found, noted, upto int64
		if err = scan(&f.ID, &f.Origin, &f.License, &f.Kind, &subject, &first, &next, &body, &found, &f.Label, &f.Customer, &f.CustomerName, &text, &actor, &noted, &upto); err != nil {
			return f, err
		}
		var b findingBody
		if err := json.Unmarshal([]byte(body), &b); err != nil {
			return f, fmt.Errorf("finding %s: %w", f.ID, err)
		}
		f.LedgerID, f.From, f.To, f.Found, f.State = export.LedgerID(f.Origin), unix(first), unix(next), unix(found), FindingOpen
		f.Steps, f.Seen, f.Expected, f.Limit, f.Unit, f.Scale = b.Days, b.Seen, b.Expected, b.Limit, b.Unit, b.Scale
		if f.Kind == finding.SilentNode {
			f.Node = subject
		} else {
			f.Meter = subject
		}
		if noted > 0 {
			f.State, f.Note = FindingExplained, &FindingNote{Text: text, Actor: actor, Time: unix(noted), Upto: unix(upto)}
		}
		f.Text = f.sentence()
		if evidence {
			seconds := stepSeconds(f.Kind)
			for _, p := range b.Points {
				f.Evidence = append(f.Evidence, Evidence{From: unix(p.From * seconds), To: unix(p.Next * seconds), Seen: p.Seen, Known: p.Known, Expected: p.Expected, Low: p.Low, High: p.High, Odd: p.Odd})
			}
		}
		return f, nil
	}
}

// stepSeconds is what the numbers of a kind's steps count.
func stepSeconds(kind string) int64 {
	if kind == finding.Clock {
		return 1
	}
	return daySeconds
}

// sentence says what was found.
func (f *UsageFinding) sentence() string {
	from := day(f.From)
	switch f.Kind {
	case finding.Drop:
		return fmt.Sprintf("%s fell from %s on: %s on %s, usually about %s", f.Meter, from, f.amount(f.Seen), days(f.Steps), f.amount(f.Expected))
	case finding.Plateau:
		return fmt.Sprintf("%s had the same use on %s from %s on: %s together, usually about %s", f.Meter, days(f.Steps), from, f.amount(f.Seen), f.amount(f.Expected))
	case finding.UnderLimit:
		if f.Seen >= f.Limit/2 {
			return fmt.Sprintf("%s kept just under its limit of %s, %d periods in a row from %s on", f.Meter, f.amount(f.Limit), f.Steps, from)
		}
		return fmt.Sprintf("%s all but ended just under its limit of %s on %s: %s in the next %s, usually about %s", f.Meter, f.amount(f.Limit), from, f.amount(f.Seen), days(f.Steps), f.amount(f.Expected))
	case finding.Season:
		return fmt.Sprintf("%s was used on other days of the week than before, %d weeks from %s on", f.Meter, f.Steps, from)
	case finding.SilentNode:
		return fmt.Sprintf("node %s is not heard of on %s from %s on, others are", f.Node, days(f.Steps), from)
	case finding.NodeCount:
		return fmt.Sprintf("up to %d nodes on a day from %s on, the license has %d", f.Seen, from, f.Limit)
	case finding.Clock:
		return fmt.Sprintf("the site's time is wrong by %d minutes or more, beside the arrival of %d reports from %s on", f.Seen/60, f.Steps, from)
	}
	return f.Kind
}

func days(n int) string {
	if n == 1 {
		return "1 day"
	}
	return strconv.Itoa(n) + " days"
}

// amount writes a quantity in the unit, whole smallest units as they are.
func (f *UsageFinding) amount(n int64) string {
	s := strconv.FormatInt(n, 10)
	if f.Scale > 0 {
		for len(s) <= f.Scale {
			s = "0" + s
		}
		s = s[:len(s)-f.Scale] + "." + s[len(s)-f.Scale:]
	}
	if f.Unit == "" {
		return s
	}
	return s + " " + f.Unit
}

// FindFindings lists findings without their evidence, those that last the longest
// into the present first. Code is the kind, State open or explained. Search looks
// at ids, meters, nodes, ledgers, labels, licenses and customers.
func (p *Portal) FindFindings(ctx context.Context, o ListOptions) (Page[UsageFinding], error) {
	q := query{columns: findingColumns, from: findingTables, order: []string{"f.next", "f.id"}, desc: true}
	q.is("k.customer", o.Customer)
	q.is("k.product", o.Product)
	q.is("f.license", o.License)
	q.is("f.origin", o.Origin)
	q.is("f.kind", o.Code)
	switch o.State {
	case "":
	case FindingOpen:
		q.and("n.finding IS NULL")
	case FindingExplained:
		q.and("n.finding IS NOT NULL")
	default:
		return Page[UsageFinding]{}, noState(o.State, FindingOpen, FindingExplained)
	}
	q.search(o.Search, "f.id", "f.subject", "f.origin", "l.label", "f.license", "k.customer", "COALESCE(c.name, '')")
	return page(ctx, p.store.reader(), q, o, func(scan func(...any) error) (UsageFinding, []any, error) {
		f, err := scanFinding(false)(scan)
		return f, []any{f.To.Unix(), f.ID}, err
	})
}

// Finding returns a finding with its evidence; not_found if there is none, also
// when it was one and what came since has made it usual.
func (p *Portal) Finding(ctx context.Context, id string) (*UsageFinding, error) {
	all, err := list(ctx, p.store.reader(), scanFinding(true), "SELECT "+findingColumns+" FROM "+findingTables+" WHERE f.id = ?", id)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, refuse(CodeNotFound, "there is no finding %q", id)
	}
	return &all[0], nil
}

const findingNoteBytesMax = 4000

// ExplainFinding notes what was found out about a finding, in place of what was
// noted before. An empty text opens it again.
func (p *Portal) ExplainFinding(ctx context.Context, id, text, actor string) (*UsageFinding, error) {
	text = strings.TrimSpace(text)
	if len(text) > findingNoteBytesMax || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }) {
		return nil, refuse(CodeBadRequest, "an explanation has at most %d bytes, and no control characters", findingNoteBytesMax).with("line", "text")
	}
	f, err := p.Finding(ctx, id)
	if err != nil {
		return nil, err
	}
	err = p.store.tx(ctx, func(c conn) error {
		if text == "" {
			_, err = c.exec(ctx, "DELETE FROM finding_notes WHERE finding = ?", id)
		} else {
			_, err = c.exec(ctx, `INSERT INTO finding_notes (finding, text, upto, actor, time) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (finding) DO UPDATE SET text = excluded.text, upto = excluded.upto, actor = excluded.actor, time = excluded.time`,
				id, text, f.To.Unix(), actor, p.now().Unix())
		}
		if err != nil {
			return err
		}
		before := ""
		if f.Note != nil {
			before = f.Note.Text
		}
		return c.audit(ctx, p.now(), actor, "finding.explain", id, before, text)
	})
	if err != nil {
		return nil, err
	}
	return p.Finding(ctx, id)
}

// findingID names a finding by what does not change when it is made again.
func findingID(origin, kind, subject string, from int64) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{"finding", origin, kind, subject, strconv.FormatInt(from, 10)}, "\n")))
	return "f-" + strings.ToLower(ledger.Base32(sum[:10]))
}
