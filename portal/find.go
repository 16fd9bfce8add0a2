package portal

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/license"
)

// EndingSoon is how long before its end a license is listed as ending.
const EndingSoon = 90 * 24 * time.Hour

// overdueLedger is the condition of a ledger l of a license k whose report is
// overdue, grace included, at an instant.
const overdueLedger = "l.state = 'active' AND l.report_by > 0 AND l.report_by + k.grace < ?"

// reportIDBytes is the length of the id of an upload, which newID makes.
const reportIDBytes = 22

// acceptedUpload is the condition of an upload u that was booked.
const acceptedUpload = "u.code IN ('ok', 'explain')"

// noState refuses a word that is no state of a list.
func noState(word string, states ...string) error {
	return refuse(CodeBadRequest, "state %q: it is one of %s", word, strings.Join(states, ", "))
}

// FindCustomers lists customers by name. Search looks at ids and names.
func (p *Portal) FindCustomers(ctx context.Context, o ListOptions) (Page[CustomerLine], error) {
	now := p.now().Unix()
	q := query{from: "customers c", order: []string{"LOWER(c.name)", "c.id"}}
	q.search(o.Search, "c.id", "c.name")
	q.is("c.id", o.Customer)
	switch o.State {
	case "":
	case "overdue":
		q.and("EXISTS (SELECT 1 FROM licenses k JOIN ledgers l ON l.license = k.id WHERE k.customer = c.id AND "+overdueLedger+")", now)
	default:
		return Page[CustomerLine]{}, noState(o.State, "overdue")
	}
	// Numbers of our own stand in the text, so that columns bring no arguments.
	q.columns = `c.id, c.name, c.created, LOWER(c.name),
		(SELECT COUNT(*) FROM licenses k WHERE k.customer = c.id),
		(SELECT COALESCE(MAX(u.received), 0) FROM licenses k JOIN ledgers l ON l.license = k.id JOIN uploads u ON u.origin = l.origin WHERE k.customer = c.id AND ` + acceptedUpload + `),
		(SELECT COUNT(*) FROM licenses k JOIN ledgers l ON l.license = k.id WHERE k.customer = c.id AND ` + at(overdueLedger, now) + `),
		(SELECT COUNT(*) FROM licenses k JOIN alerts a ON a.license = k.id WHERE k.customer = c.id AND a.resolved = 0)`
	return page(ctx, p.store.reader(), q, o, func(scan func(...any) error) (c CustomerLine, place []any, err error) {
		var created, last int64
		var name string
		err = scan(&c.ID, &c.Name, &created, &name, &c.Licenses, &last, &c.Overdue, &c.Alerts)
		c.Created, c.LastReport = unix(created), unix(last)
		return c, []any{name, c.ID}, err
	})
}

// FindLicenses lists licenses, the newest first. States: active, suspended,
// revoked; expired, ending (within EndingSoon) of those that are active; overdue,
// where a report is. Search looks at ids, customers, products and policies.
func (p *Portal) FindLicenses(ctx context.Context, o ListOptions) (Page[LicenseLine], error) {
	now := p.now().Unix()
	q := query{from: "licenses k LEFT JOIN customers c ON c.id = k.customer", order: []string{"k.created", "k.id"}, desc: true}
	q.is("k.customer", o.Customer)
	q.is("k.product", o.Product)
	q.is("k.id", o.License)
	q.search(o.Search, "k.id", "k.customer", "COALESCE(c.name, '')", "k.product", "k.policy")
	switch o.State {
	case "":
	case "active":
		q.and("k.state = 'active' AND (k.ends = 0 OR k.ends >= ?)", now)
	case "suspended", "revoked":
		q.is("k.state", o.State)
	case "expired":
		q.and("k.state = 'active' AND k.ends > 0 AND k.ends < ?", now)
	case "ending":
		q.and("k.state = 'active' AND k.ends >= ? AND k.ends < ?", now, now+int64(EndingSoon/time.Second))
	case "overdue":
		q.and("EXISTS (SELECT 1 FROM ledgers l WHERE l.license = k.id AND "+overdueLedger+")", now)
	default:
		return Page[LicenseLine]{}, noState(o.State, "active", "suspended", "revoked", "expired", "overdue", "ending")
	}
	q.columns = `k.id, k.customer, COALESCE(c.name, ''), k.product, k.policy, k.state, k.created, k.ends,
		(SELECT COALESCE(MIN(l.report_by), 0) FROM ledgers l WHERE l.license = k.id AND l.state = 'active' AND l.report_by > 0),
		(SELECT COUNT(*) FROM ledgers l WHERE l.license = k.id AND ` + at(overdueLedger, now) + `),
		(SELECT COUNT(*) FROM ledgers l WHERE l.license = k.id AND l.state = 'active' AND l.approval <> 'refused'),
		(SELECT COALESCE(MAX(u.received), 0) FROM ledgers l JOIN uploads u ON u.origin = l.origin WHERE l.license = k.id AND ` + acceptedUpload + `)`
	return page(ctx, p.store.reader(), q, o, func(scan func(...any) error) (l LicenseLine, place []any, err error) {
		var state string
		var created, end, by, overdue, last int64
		err = scan(&l.ID, &l.Customer, &l.CustomerName, &l.Product, &l.Policy, &state, &created, &end, &by, &overdue, &l.Ledgers, &last)
		l.State, l.Created, l.End, l.ReportBy, l.Overdue, l.LastReport = State(state), unix(created), unix(end), unix(by), overdue > 0, unix(last)
		return l, []any{created, l.ID}, err
	})
}

// FindLedgers lists ledgers, the newest first. States: active, pending (its
// activation waits for approval), retired, released, revoked, overdue. Search
// looks at labels, origins, licenses and customers.
func (p *Portal) FindLedgers(ctx context.Context, o ListOptions) (Page[LedgerLine], error) {
	q, err := p.ledgerQuery(o)
	if err != nil {
		return Page[LedgerLine]{}, err
	}
	return page(ctx, p.store.reader(), q, o, scanLedgerLine)
}

func (p *Portal) ledgerQuery(o ListOptions) (query, error) {
	now := p.now().Unix()
	q := query{from: "ledgers l JOIN licenses k ON k.id = l.license LEFT JOIN customers c ON c.id = k.customer", order: []string{"l.activated", "l.origin"}, desc: true}
	q.is("l.license", o.License)
	q.is("l.origin", o.Origin)
	q.is("k.customer", o.Customer)
	q.is("k.product", o.Product)
	q.search(o.Search, "l.origin", "l.label", "l.license", "COALESCE(c.name, '')")
	switch o.State {
	case "":
	case LedgerActive, LedgerRetired, LedgerReleased, LedgerRevoked:
		q.is("l.state", o.State)
	case ApprovalPending:
		q.and("l.state = 'active' AND l.approval = 'pending'")
	case "overdue":
		q.and(overdueLedger, now)
	default:
		return q, noState(o.State, LedgerActive, ApprovalPending, LedgerRetired, LedgerReleased, LedgerRevoked, "overdue")
	}
	q.columns = `l.origin, l.label, l.license, k.customer, COALESCE(c.name, ''), l.state, l.approval, l.serial, l.size, l.until, l.report_by, l.license_end, l.activated,
		CASE WHEN ` + at(overdueLedger, now) + ` THEN 1 ELSE 0 END`
	return q, nil
}

func scanLedgerLine(scan func(...any) error) (x LedgerLine, place []any, err error) {
	var l Ledger
	var serial, size, until, by, end, activated, overdue int64
	err = scan(&x.Origin, &x.Label, &x.License, &x.Customer, &x.CustomerName, &x.State, &l.Approval, &serial, &size, &until, &by, &end, &activated, &overdue)
	l.State, l.Serial = x.State, uint64(serial)
	x.LedgerID, x.Registration, x.Size, x.Until, x.ReportBy = export.LedgerID(x.Origin), l.registration(), uint64(size), unix(until), unix(by)
	x.LicenseEnd, x.Overdue = unix(end), overdue == 1
	return x, []any{activated, x.Origin}, err
}

// FindReports lists uploads, the newest first. States: accepted (explain among
// them), explain, refused, duplicate, pending (of a ledger whose activation waits
// for approval). Code is a code, or the first part of one. Search looks at ids,
// labels, origins (which have license and ledger) and customers.
func (p *Portal) FindReports(ctx context.Context, o ListOptions) (Page[ReportLine], error) {
	q := query{from: "uploads u LEFT JOIN ledgers l ON l.origin = u.origin LEFT JOIN licenses k ON k.id = l.license LEFT JOIN customers c ON c.id = k.customer",
		order: []string{"u.id"}, desc: true}
	q.and("u.code <> 'refresh'")
	q.is("u.origin", o.Origin)
	// Whose it is, is asked of the ledgers, which are few.
	const ofLedgers = "ledgers l JOIN licenses k ON k.id = l.license LEFT JOIN customers c ON c.id = k.customer"
	customer := o.Customer
	if o.Sender != "" {
		customer = ""
		q.and(`((k.customer = ? AND u.code <> ?) OR ((k.customer IS NULL OR u.code = ?) AND (u.actor = ? OR u.actor LIKE ? ESCAPE '\')))`,
			o.Customer, CodeNotAllowed, CodeNotAllowed, o.Sender, likeText(o.Sender)+" (token %")
	}
	if o.License != "" || customer != "" || o.Product != "" {
		whose := query{columns: "l.origin", from: ofLedgers}
		whose.is("l.license", o.License)
		whose.is("k.customer", customer)
		whose.is("k.product", o.Product)
		q.nested("u.origin IN", whose)
	}
	if o.Code != "" {
		q.and(`(u.code = ? OR u.code LIKE ? ESCAPE '\')`, o.Code, likeText(o.Code)+"/%")
	}
	switch {
	case len(o.Search) == reportIDBytes && strings.HasPrefix(o.Search, "r-"):
		q.is("u.id", o.Search)
	case o.Search != "":
		found := query{columns: "l.origin", from: ofLedgers}
		found.search(o.Search, "l.origin", "l.label", "COALESCE(c.name, '')", "k.customer") // an origin has license and ledger
		q.and(`(u.id LIKE ? ESCAPE '\' OR u.origin IN (SELECT l.origin FROM `+found.from+found.conditions()+"))",
			append([]any{"%" + likeText(strings.ToLower(o.Search)) + "%"}, found.args...)...)
	}
	switch o.State {
	case "":
	case "accepted":
		q.and(acceptedUpload)
	case "explain", "duplicate":
		q.is("u.code", o.State)
	case "refused":
		q.and("u.code LIKE '%/%'")
	case "pending":
		q.and(acceptedUpload + " AND l.state = 'active' AND l.approval = 'pending'")
	default:
		return Page[ReportLine]{}, noState(o.State, "accepted", "explain", "refused", "duplicate", "pending")
	}
	q.columns = "u.id, u.received, u.origin, COALESCE(l.label, u.label), COALESCE(l.license, ''), COALESCE(k.customer, ''), COALESCE(c.name, ''), u.code, u.bytes, u.base, u.size, u.actor"
	return page(ctx, p.store.reader(), q, o, func(scan func(...any) error) (r ReportLine, place []any, err error) {
		var received, base, size int64
		err = scan(&r.ID, &received, &r.Origin, &r.Label, &r.License, &r.Customer, &r.CustomerName, &r.Code, &r.Bytes, &base, &size, &r.Actor)
		r.Received, r.Base, r.Size = unix(received), uint64(base), uint64(size)
		return r, []any{r.ID}, err
	})
}

// FindAlerts lists alerts, the newest first. States: open, resolved. Code is a
// code, or the first part of one. Search looks at ids, codes, details, origins,
// licenses and customers.
func (p *Portal) FindAlerts(ctx context.Context, o ListOptions) (Page[Alert], error) {
	q := query{columns: alertColumns, from: "alerts a LEFT JOIN licenses k ON k.id = a.license LEFT JOIN customers c ON c.id = k.customer", order: []string{"a.id"}, desc: true}
	q.is("a.origin", o.Origin)
	q.is("a.license", o.License)
	q.is("k.customer", o.Customer)
	q.is("k.product", o.Product)
	if o.Code != "" {
		q.and(`(a.code = ? OR a.code LIKE ? ESCAPE '\')`, o.Code, likeText(o.Code)+"/%")
	}
	q.search(o.Search, "a.id", "a.code", "a.detail", "a.origin", "a.license", "COALESCE(c.name, '')")
	switch o.State {
	case "":
	case "open":
		q.and("a.resolved = 0")
	case "resolved":
		q.and("a.resolved > 0")
	default:
		return Page[Alert]{}, noState(o.State, "open", "resolved")
	}
	return page(ctx, p.store.reader(), q, o, func(scan func(...any) error) (Alert, []any, error) {
		a, err := p.scanAlert(scan)
		return a, []any{a.ID}, err
	})
}

// FindAudit lists what was done, the newest first. Origin is the object that it
// was done to, Code the action. Search looks at actors, actions and objects.
func (p *Portal) FindAudit(ctx context.Context, o ListOptions) (Page[Audit], error) {
	q := query{columns: "id, time, actor, action, object, before, after", from: "audit", order: []string{"id"}, desc: true}
	q.is("object", o.Origin)
	q.is("action", o.Code)
	q.search(o.Search, "actor", "action", "object")
	return page(ctx, p.store.reader(), q, o, func(scan func(...any) error) (a Audit, place []any, err error) {
		var id, before, after string
		var at int64
		err = scan(&id, &at, &a.Actor, &a.Action, &a.Object, &before, &after)
		a.Time, a.Before, a.After = unix(at), json.RawMessage(before), json.RawMessage(after)
		return a, []any{id}, err
	})
}

// LedgerByID returns a ledger by its short name; not_found if there is none.
func (p *Portal) LedgerByID(ctx context.Context, id string) (*Ledger, error) {
	all, err := list(ctx, p.store.reader(), scanLedger, "SELECT "+ledgerColumns+` FROM ledgers WHERE origin LIKE ? ESCAPE '\'`, "%/"+likeText(id))
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(all, func(l *Ledger) bool { return l.LedgerID == id }); i >= 0 {
		return all[i], nil
	}
	return nil, refuse(CodeNotFound, "there is no ledger %q", id)
}

// deriveDates fills in what licenses have that an older version put on record.
func (c conn) deriveDates(ctx context.Context) error {
	type row struct{ id, note string }
	rows, err := list(ctx, c, func(scan func(...any) error) (r row, err error) {
		err = scan(&r.id, &r.note)
		return r, err
	}, "SELECT id, terms FROM licenses WHERE ends < 0")
	for _, r := range rows {
		terms, e := license.Parse([]byte(r.note))
		if e != nil {
			return e
		}
		ends, grace := listDates(terms)
		if _, e := c.exec(ctx, "UPDATE licenses SET ends = ?, grace = ? WHERE id = ?", ends, grace, r.id); e != nil {
			return e
		}
	}
	return err
}

// listDates are the columns ends and grace of a license.
func listDates(terms *license.License) (ends, grace int64) {
	return seconds(terms.End), int64(terms.ReportGrace.Duration() / time.Second)
}
