package portal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/license"
)

// States of a statement.
const (
	StatementDraft    = "draft"    // its numbers are made anew whenever it is read
	StatementApproved = "approved" // nothing changes it any more
)

// A StatementKept is one that is kept. Of an approved one
// Frozen are the bytes that were approved, whose SHA-256 is SHA256.
type StatementKept struct {
	*StatementDocument
	SHA256 string `json:"sha256,omitempty"`
	// CorrectedBy are the numbers of approved statements that take its place.
	CorrectedBy []string `json:"corrected_by" nullable:"false"`
	Frozen      []byte   `json:"-"`

	version int64
}

// A StatementHead is a statement in a list.
type StatementHead struct {
	ID           string        `json:"id"`
	Number       string        `json:"number,omitempty"`
	State        string        `json:"state"`
	Customer     string        `json:"customer"`
	CustomerName string        `json:"customer_name"`
	License      string        `json:"license,omitempty"`
	Meter        string        `json:"meter,omitempty"`
	Zone         string        `json:"zone"`
	Period       license.Reset `json:"period"`
	FirstDay     string        `json:"first_day"`
	NextDay      string        `json:"next_day"`
	Corrects     string        `json:"corrects,omitempty"`
	Created      time.Time     `json:"created"`
	CreatedBy    string        `json:"created_by"`
	Approved     time.Time     `json:"approved,omitzero"`
	ApprovedBy   string        `json:"approved_by,omitempty"`
	SHA256       string        `json:"sha256,omitempty"`
}

// statementsFolder has every approved statement as it was frozen, for [Rebuild].
const statementsFolder = "statements"

// PreviewStatement makes a statement and keeps nothing.
func (p *Portal) PreviewStatement(ctx context.Context, spec StatementSpec) (d *StatementDocument, err error) {
	err = p.store.snapshot(ctx, func(c conn) error {
		d, err = c.compute(ctx, spec, []StatementCredit{}, p.now())
		if err == nil && spec.Corrects != "" {
			err = c.corrected(ctx, d)
		}
		return err
	})
	return d, err
}

// DraftStatement keeps a statement as a draft.
func (p *Portal) DraftStatement(ctx context.Context, spec StatementSpec, actor string) (*StatementKept, error) {
	id := newID("s-")
	err := p.store.tx(ctx, func(c conn) error {
		var earlier StatementSpec
		if spec.Corrects != "" {
			old, err := c.numbered(ctx, spec.Corrects)
			if err != nil {
				return err
			}
			if earlier = old.StatementSpec; spec.Customer == "" {
				spec = earlier
				spec.Corrects = old.Number
			}
			if spec.Customer != old.Customer {
				return refuse(CodeBadRequest, "statement %s is of customer %s", old.Number, old.Customer).with("line", "corrects")
			}
		}
		from, to, _, _, err := c.resolve(ctx, &spec)
		if err != nil {
			return err
		}
		now := p.now()
		if _, err := c.exec(ctx, `INSERT INTO statements (id, number, customer, license, meter, zone, period, first_day, next_day, starts, ends, corrects, credits,
			created, created_by, approved, approved_by, document, sha256, version) VALUES (?, '', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '[]', ?, ?, 0, '', '', '', 1)`,
			id, spec.Customer, spec.License, spec.Meter, spec.Zone, string(spec.Period), spec.FirstDay, spec.NextDay, from.Unix(), to.Unix(), spec.Corrects, now.Unix(), actor); err != nil {
			return err
		}
		return c.audit(ctx, now, actor, "statement.draft", id, nil, spec)
	})
	if err != nil {
		return nil, err
	}
	return p.StatementOf(ctx, id)
}

const statementColumns = `s.id, s.number, s.customer, COALESCE(c.name, ''), s.license, s.meter, s.zone, s.period, s.first_day, s.next_day, s.corrects, s.created, s.created_by,
	s.approved, s.approved_by, s.sha256, s.credits, s.document, s.version`

const statementTables = "statements s LEFT JOIN customers c ON c.id = s.customer"

// storedStatement is a row of statements.
type storedStatement struct {
	StatementHead
	credits  []StatementCredit
	document string
	version  int64
}

func scanStatement(scan func(...any) error) (s storedStatement, err error) {
	var created, approved int64
	var period, credits string
	if err = scan(&s.ID, &s.Number, &s.Customer, &s.CustomerName, &s.License, &s.Meter, &s.Zone, &period, &s.FirstDay, &s.NextDay, &s.Corrects, &created, &s.CreatedBy,
		&approved, &s.ApprovedBy, &s.SHA256, &credits, &s.document, &s.version); err != nil {
		return s, err
	}
	s.Period, s.Created, s.Approved, s.State = license.Reset(period), unix(created), unix(approved), StatementDraft
	if s.Number != "" {
		s.State = StatementApproved
	}
	return s, json.Unmarshal([]byte(credits), &s.credits)
}

func (s *storedStatement) spec() StatementSpec {
	return StatementSpec{Customer: s.Customer, License: s.License, Meter: s.Meter, FirstDay: s.FirstDay, NextDay: s.NextDay, Period: s.Period, Zone: s.Zone, Corrects: s.Corrects}
}

// stored returns the statement of an id or number.
func (c conn) stored(ctx context.Context, id string) (*storedStatement, error) {
	all, err := list(ctx, c, scanStatement, "SELECT "+statementColumns+" FROM "+statementTables+" WHERE s.id = ? OR s.number = ? AND s.number <> ''", id, id)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, refuse(CodeNotFound, "there is no statement %q", id)
	}
	return &all[0], nil
}

// numbered returns an approved statement.
func (c conn) numbered(ctx context.Context, number string) (*StatementDocument, error) {
	s, err := c.stored(ctx, number)
	if err == nil && s.Number == "" {
		err = refuse(CodeState, "statement %s is a draft: change that instead", s.ID).with("line", "corrects")
	}
	if err != nil {
		return nil, err
	}
	var d StatementDocument
	return &d, json.Unmarshal([]byte(s.document), &d)
}

// corrected compares d with the statement that it corrects.
func (c conn) corrected(ctx context.Context, d *StatementDocument) error {
	old, err := c.numbered(ctx, d.Corrects)
	if err != nil {
		return err
	}
	d.against(old)
	return nil
}

// document returns the numbers of a kept statement: as they were frozen, or made
// anew.
func (c conn) document(ctx context.Context, s *storedStatement, now time.Time) (*StatementDocument, error) {
	if s.Number != "" {
		var d StatementDocument
		return &d, json.Unmarshal([]byte(s.document), &d)
	}
	d, err := c.compute(ctx, s.spec(), s.credits, now)
	if err != nil {
		return nil, err
	}
	d.ID, d.Created, d.CreatedBy = s.ID, s.Created, s.CreatedBy
	if d.Corrects != "" {
		err = c.corrected(ctx, d)
	}
	return d, err
}

// StatementOf returns a statement by its id or number; not_found if there is none.
func (p *Portal) StatementOf(ctx context.Context, id string) (out *StatementKept, err error) {
	err = p.store.snapshot(ctx, func(c conn) error {
		s, err := c.stored(ctx, id)
		if err != nil {
			return err
		}
		out = &StatementKept{SHA256: s.SHA256, Frozen: []byte(s.document), CorrectedBy: []string{}, version: s.version}
		if out.StatementDocument, err = c.document(ctx, s, p.now()); err != nil || s.Number == "" {
			return err
		}
		out.CorrectedBy, err = list(ctx, c, scanText, "SELECT number FROM statements WHERE corrects = ? AND number <> '' ORDER BY id", s.Number)
		return err
	})
	return out, err
}

// FindStatements lists statements, the newest first. State is draft or approved;
// Search looks at numbers, ids and customers.
func (p *Portal) FindStatements(ctx context.Context, o ListOptions) (Page[StatementHead], error) {
	q := query{columns: statementColumns, from: statementTables, order: []string{"s.id"}, desc: true}
	q.is("s.customer", o.Customer)
	q.is("s.license", o.License)
	switch o.State {
	case "":
	case StatementDraft:
		q.and("s.number = ''")
	case StatementApproved:
		q.and("s.number <> ''")
	default:
		return Page[StatementHead]{}, noState(o.State, StatementDraft, StatementApproved)
	}
	q.search(o.Search, "s.id", "s.number", "s.customer", "COALESCE(c.name, '')", "s.first_day")
	return page(ctx, p.store.reader(), q, o, func(scan func(...any) error) (StatementHead, []any, error) {
		s, err := scanStatement(scan)
		return s.StatementHead, []any{s.ID}, err
	})
}

// changeDraft lets f change the credits of a draft.
func (p *Portal) changeDraft(ctx context.Context, id, actor, action string, f func(c conn, s *storedStatement) error) (*StatementKept, error) {
	for range changeTries {
		err := p.store.tx(ctx, func(c conn) error {
			s, err := c.stored(ctx, id)
			if err != nil {
				return err
			}
			if err := c.hold(ctx, "statements", "id", s.ID, s.version); err != nil {
				return err
			}
			if s.Number != "" {
				return refuse(CodeState, "statement %s is approved: a correction is a new statement that names it", s.Number)
			}
			before := slices.Clone(s.credits)
			if err := f(c, s); err != nil {
				return err
			}
			if _, err := c.exec(ctx, "UPDATE statements SET credits = ? WHERE id = ?", toJSON(s.credits), s.ID); err != nil {
				return err
			}
			return c.audit(ctx, p.now(), actor, action, s.ID, before, s.credits)
		})
		if err == nil {
			return p.StatementOf(ctx, id)
		}
		if !errors.Is(err, errMoved) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("change statement %s: %w", id, errMoved)
}

const creditsMax = 100 // of a statement

// CreditStatement takes a quantity off a draft, for a reason. An empty License is
// that of the only row of the meter.
func (p *Portal) CreditStatement(ctx context.Context, id string, credit StatementCredit, actor string) (*StatementKept, error) {
	credit.Reason = strings.TrimSpace(credit.Reason)
	switch {
	case credit.Quantity <= 0:
		return nil, refuse(CodeBadRequest, "a credit is above 0").with("line", "quantity")
	case credit.Reason == "" || credit.Reason != clean(credit.Reason):
		return nil, refuse(CodeBadRequest, "a credit has a reason of one line, with %d bytes at most", labelBytesMax).with("line", "reason")
	}
	return p.changeDraft(ctx, id, actor, "statement.credit", func(c conn, s *storedStatement) error {
		d, err := c.document(ctx, s, p.now())
		if err != nil {
			return err
		}
		licenses := []string{}
		var other int64
		var unit string
		var scale int
		for _, x := range d.Sums {
			if x.Meter == credit.Meter && (credit.License == "" || x.License == credit.License) {
				licenses, other, unit, scale = append(licenses, x.License), x.Credit, x.Unit, x.Scale
			}
		}
		switch {
		case len(licenses) == 0:
			return refuse(CodeBadRequest, "the statement has no meter %.80q of that license", credit.Meter).with("line", "meter")
		case len(licenses) > 1:
			return refuse(CodeBadRequest, "several licenses have meter %s: %s", credit.Meter, strings.Join(licenses, ", ")).with("line", "license")
		case len(s.credits) >= creditsMax || credit.Quantity > math.MaxInt64-other:
			return refuse(CodeBadRequest, "a statement has at most %d credits, in whole numbers", creditsMax).with("line", "quantity")
		}
		s.credits = append(s.credits, StatementCredit{License: licenses[0], Meter: credit.Meter, Quantity: credit.Quantity, Unit: unit, Scale: scale, Reason: credit.Reason, Actor: actor, Time: p.now()})
		return nil
	})
}

// UncreditStatement takes the n-th credit, from 0, off a draft again.
func (p *Portal) UncreditStatement(ctx context.Context, id string, n int, actor string) (*StatementKept, error) {
	return p.changeDraft(ctx, id, actor, "statement.uncredit", func(_ conn, s *storedStatement) error {
		if n < 0 || n >= len(s.credits) {
			return refuse(CodeNotFound, "statement %s has no credit %d", s.ID, n)
		}
		s.credits = slices.Delete(s.credits, n, n+1)
		return nil
	})
}

// DiscardStatement deletes a draft.
func (p *Portal) DiscardStatement(ctx context.Context, id, actor string) error {
	return p.store.tx(ctx, func(c conn) error {
		s, err := c.stored(ctx, id)
		if err != nil {
			return err
		}
		n, err := c.exec(ctx, "DELETE FROM statements WHERE id = ? AND number = ''", s.ID)
		if err == nil && n == 0 {
			err = refuse(CodeState, "statement %s is approved: a correction is a new statement that names it", s.Number)
		}
		if err != nil {
			return err
		}
		return c.audit(ctx, p.now(), actor, "statement.discard", s.ID, s.spec(), nil)
	})
}

// ApproveStatement freezes a draft: it gets the next number of the year, and its
// numbers never change again. A provisional one needs a reason. Refused is what was
// approved already, and what another approved statement is of, unless it corrects
// that one.
//
// Calls may overlap, also with those of other processes: one of them approves, and
// numbers have no gap.
func (p *Portal) ApproveStatement(ctx context.Context, id, reason, actor string) (*StatementKept, error) {
	reason = strings.TrimSpace(reason)
	if reason != clean(reason) {
		return nil, refuse(CodeBadRequest, "a reason has one line, with %d bytes at most", labelBytesMax).with("line", "reason")
	}
	for range changeTries {
		err := p.approve(ctx, id, reason, actor)
		if err == nil {
			return p.StatementOf(ctx, id)
		}
		if !errors.Is(err, errMoved) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("approve statement %s: %w", id, errMoved)
}

func (p *Portal) approve(ctx context.Context, id, reason, actor string) error {
	now := p.now()
	var s *storedStatement
	var d *StatementDocument
	// The numbers are those of one moment.
	err := p.store.snapshot(ctx, func(c conn) (err error) {
		if s, err = c.stored(ctx, id); err == nil {
			d, err = c.document(ctx, s, now)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case s.Number != "":
		return refuse(CodeState, "statement %s was approved on %s by %s", s.Number, day(s.Approved), s.ApprovedBy)
	case !d.Complete && reason == "":
		return refuse(CodeBadRequest, "the statement is provisional: not every ledger has reported all of it").with("line", "reason")
	}
	return p.store.tx(ctx, func(c conn) error {
		if err := c.hold(ctx, "statements", "id", s.ID, s.version); err != nil {
			return err
		}
		// Whoever takes a number waits for the one before, so that none is given twice
		// and no period is stated twice.
		year := now.Format("2006")
		if _, err := c.exec(ctx, `INSERT INTO statement_numbers (year, last) VALUES (?, 1)
			ON CONFLICT (year) DO UPDATE SET last = statement_numbers.last + 1`, year); err != nil {
			return err
		}
		var last int64
		if _, err := c.get(ctx, "SELECT last FROM statement_numbers WHERE year = ?", []any{year}, &last); err != nil {
			return err
		}
		if err := c.statedAlready(ctx, s, d); err != nil {
			return err
		}
		d.Number, d.State, d.Approved, d.ApprovedBy, d.Reason = fmt.Sprintf("S-%s-%04d", year, last), StatementApproved, now, actor, reason
		body := toJSON(d)
		if err := replaceFile(p.path(statementsFolder, d.Number+".json"), []byte(body)); err != nil {
			return err
		}
		if _, err := c.exec(ctx, "UPDATE statements SET number = ?, approved = ?, approved_by = ?, document = ?, sha256 = ? WHERE id = ?",
			d.Number, now.Unix(), actor, body, sha256Hex(body), s.ID); err != nil {
			return err
		}
		return c.audit(ctx, now, actor, "statement.approve", d.Number, s.ID, reason)
	})
}

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// statedAlready refuses what an approved statement is of that nothing corrects.
func (c conn) statedAlready(ctx context.Context, s *storedStatement, d *StatementDocument) error {
	var other string
	found, err := c.get(ctx, `SELECT o.number FROM statements o WHERE o.customer = ? AND o.number <> '' AND o.number <> ? AND o.starts < ? AND o.ends > ?
		AND (o.license = '' OR ? = '' OR o.license = ?) AND (o.meter = '' OR ? = '' OR o.meter = ?)
		AND NOT EXISTS (SELECT 1 FROM statements x WHERE x.corrects = o.number AND x.number <> '') ORDER BY o.id LIMIT 1`,
		[]any{s.Customer, s.Corrects, d.To.Unix(), d.From.Unix(), s.License, s.License, s.Meter, s.Meter}, &other)
	if err == nil && found {
		err = refuse(CodeExists, "statement %s is of a part of this already; correct that one instead", other).with("number", other)
	}
	if err != nil || s.Corrects == "" {
		return err
	}
	if found, err = c.get(ctx, "SELECT number FROM statements WHERE corrects = ? AND number <> ''", []any{s.Corrects}, &other); err == nil && found {
		err = refuse(CodeExists, "statement %s is corrected by %s already; correct that one instead", s.Corrects, other).with("number", other)
	}
	return err
}
