package portal

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/meterseal/meterseal/export"
)

// Types of events (L-26).
const (
	EventLicenseCreated     = "license.created"
	EventLicenseActivated   = "license.activated"   // a site has it
	EventLicenseRefreshed   = "license.refreshed"   // changed, renewed, suspended, resumed or given anew
	EventLicenseDeactivated = "license.deactivated" // a site has it no more
	EventLicenseRevoked     = "license.revoked"
	EventLicenseExpiring    = "license.expiring" // 90, 30, 7 and 1 days ahead
	EventReportAccepted     = "report.accepted"
	EventReportRejected     = "report.rejected"
	EventReportOverdue      = "report.overdue"
	EventTamper             = "tamper.suspected" // with the verdict reject alone
	EventCustomerCreated    = "customer.created"
	EventCustomerUpdated    = "customer.updated"
)

// EventTypes lists them.
var EventTypes = []string{EventLicenseCreated, EventLicenseActivated, EventLicenseRefreshed, EventLicenseDeactivated, EventLicenseRevoked, EventLicenseExpiring,
	EventReportAccepted, EventReportRejected, EventReportOverdue, EventTamper, EventCustomerCreated, EventCustomerUpdated}

// An Event is something that happened, for programs of the vendor: webhooks get
// it. It was written in the transaction that made it true, so none is missing and
// none is told that did not happen.
type Event struct {
	ID     string          `json:"id"` // the same in every delivery: who gets it twice knows by it
	Time   time.Time       `json:"timestamp"`
	Type   string          `json:"type"`
	Object string          `json:"object"` // id of the license, report or customer
	Data   json.RawMessage `json:"data"`
}

// LicenseEvent is the data of the events of a license. Of one ledger are those
// with an origin.
type LicenseEvent struct {
	License  string    `json:"license"`
	Customer string    `json:"customer"`
	Product  string    `json:"product"`
	State    State     `json:"state"`
	End      time.Time `json:"end,omitzero"`
	Action   string    `json:"action,omitempty"` // as in the audit log: license.renew
	Origin   string    `json:"origin,omitempty"`
	LedgerID string    `json:"ledger_id,omitempty"`
	Label    string    `json:"label,omitempty"`
	ReportBy time.Time `json:"report_by,omitzero"`
	Final    string    `json:"final,omitempty"` // of a deactivation: retired, released, revoked
}

// ReportEvent is the data of the events of a report.
type ReportEvent struct {
	ReportID string `json:"report_id"`
	Code     string `json:"code"`
	Verdict  string `json:"verdict,omitempty"`
	License  string `json:"license,omitempty"`
	Customer string `json:"customer,omitempty"`
	Origin   string `json:"origin,omitempty"`
	LedgerID string `json:"ledger_id,omitempty"`
	Label    string `json:"label,omitempty"`
	Base     uint64 `json:"base"`
	Size     uint64 `json:"size"`
	Message  string `json:"message,omitempty"`
	FixBy    string `json:"fix_by,omitempty"`
}

// emit writes an event down, and a delivery for each webhook that wants it.
func (c conn) emit(ctx context.Context, at time.Time, kind, object string, data any) error {
	id := newID("evt_")
	if _, err := c.exec(ctx, "INSERT INTO events (id, time, type, object, data) VALUES (?, ?, ?, ?, ?)", id, at.Unix(), kind, object, toJSON(data)); err != nil {
		return err
	}
	hooks, err := c.webhooks(ctx)
	if err != nil {
		return err
	}
	for _, h := range hooks {
		if h.State == WebhookActive && h.wants(kind) {
			if err := c.addDelivery(ctx, h.ID, id, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// emit is conn.emit now, unless the database is being made again.
func (p *Portal) emit(ctx context.Context, c conn, kind, object string, data any) error {
	if p.silent {
		return nil
	}
	return c.emit(ctx, p.now(), kind, object, data)
}

// emitLicense tells of a license, and of l if it is not nil.
func (p *Portal) emitLicense(ctx context.Context, c conn, kind, action string, lic *License, l *Ledger) error {
	e := LicenseEvent{License: lic.ID, Customer: lic.Customer, Product: lic.Product, State: lic.State, End: lic.Terms.End, Action: action}
	if l != nil {
		e.Origin, e.LedgerID, e.Label, e.ReportBy, e.End = l.Origin, l.LedgerID, l.Label, l.ReportBy, l.LicenseEnd
		if l.State != LedgerActive {
			e.Final = l.State
		}
	}
	return p.emit(ctx, c, kind, lic.ID, e)
}

// emitReport tells of an upload that is tied to a license.
func (in *intake) emitReport(ctx context.Context, c conn) error {
	a := in.answer
	if in.lic == nil {
		return nil
	}
	e := ReportEvent{ReportID: a.ReportID, Code: a.Code, Verdict: string(a.Verdict), License: in.lic.ID, Customer: in.lic.Customer, Origin: a.Origin, LedgerID: a.LedgerID,
		Label: a.Label, Base: a.Base, Size: a.Size}
	if a.Refusal == nil {
		return in.p.emit(ctx, c, EventReportAccepted, a.ReportID, e)
	}
	e.Message, e.FixBy = a.Refusal.Message, a.Refusal.FixBy
	if err := in.p.emit(ctx, c, EventReportRejected, a.ReportID, e); err != nil || a.Verdict != export.Reject {
		return err
	}
	return in.p.emit(ctx, c, EventTamper, a.ReportID, e)
}

// FindEvents lists what happened, the newest first. State is a type. Search
// looks at objects.
func (p *Portal) FindEvents(ctx context.Context, o ListOptions) (Page[Event], error) {
	if o.State != "" && !knownEvent(o.State) {
		return Page[Event]{}, noState(o.State, EventTypes...)
	}
	q := query{columns: "id, time, type, object, data", from: "events", order: []string{"id"}, desc: true}
	q.is("type", o.State)
	q.search(o.Search, "object")
	return page(ctx, p.store.reader(), q, o, func(scan func(...any) error) (e Event, place []any, err error) {
		var at int64
		var data string
		err = scan(&e.ID, &at, &e.Type, &e.Object, &data)
		e.Time, e.Data = unix(at), json.RawMessage(data)
		return e, []any{e.ID}, err
	})
}

// knownEvent tells whether there is such a type.
func knownEvent(kind string) bool { return slices.Contains(EventTypes, kind) }
