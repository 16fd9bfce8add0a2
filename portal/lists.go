package portal

import (
	"context"
	"iter"
	"time"
)

// ListOptions choose and cut a list. Empty fields choose nothing.
type ListOptions struct {
	// Search finds part of an id or a name, whatever the case.
	Search string
	// State is one of the list's states.
	State                                    string
	Customer, Product, License, Origin, Code string
	// Sender is whom of Customer a list of reports is for, by mail address: with it
	// the list has what he brought and no license of his was found for, and has not
	// what others were refused, for Customer's ledgers are none of theirs.
	Sender string
	// Cursor is Page.Next of the page before; empty: the first page.
	Cursor string
	// Limit is how many items a page has; 0: 50, at most 500.
	Limit int
}

// A Page is part of a list.
type Page[T any] struct {
	Items []T `json:"items"`
	// Next is the cursor of the next page; empty: this is the last one.
	Next string `json:"next_cursor,omitempty"`
	// Total counts the items of all pages.
	Total int64 `json:"total"`
}

// All returns every item of a list that o chooses, read page by page.
func All[T any](ctx context.Context, o ListOptions, find func(context.Context, ListOptions) (Page[T], error)) iter.Seq2[T, error] {
	o.Cursor, o.Limit = "", PageItemsMax
	return func(yield func(T, error) bool) {
		for {
			p, err := find(ctx, o)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, x := range p.Items {
				if !yield(x, nil) {
					return
				}
			}
			if p.Next == "" {
				return
			}
			o.Cursor = p.Next
		}
	}
}

// A CustomerLine is a customer in a list.
type CustomerLine struct {
	Customer
	Licenses   int64     `json:"licenses"`
	LastReport time.Time `json:"last_report,omitzero"` // accepted
	Overdue    int64     `json:"overdue"`              // ledgers whose report is overdue
	Alerts     int64     `json:"alerts"`               // open ones
}

// A LicenseLine is a license in a list.
type LicenseLine struct {
	ID           string    `json:"id"`
	Customer     string    `json:"customer"`
	CustomerName string    `json:"customer_name"`
	Product      string    `json:"product"`
	Policy       string    `json:"policy"`
	State        State     `json:"state"`
	Created      time.Time `json:"created"`
	End          time.Time `json:"end,omitzero"`       // zero: never
	ReportBy     time.Time `json:"report_by,omitzero"` // the earliest of its active ledgers; zero: none
	Overdue      bool      `json:"overdue"`            // a report is, grace too
	Ledgers      int64     `json:"ledgers"`            // active ones
	LastReport   time.Time `json:"last_report,omitzero"`
}

// A LedgerLine is a ledger in a list.
type LedgerLine struct {
	Origin       string    `json:"origin"`
	LedgerID     string    `json:"ledger_id"`
	Label        string    `json:"label"`
	License      string    `json:"license"`
	Customer     string    `json:"customer"`
	CustomerName string    `json:"customer_name"`
	State        string    `json:"state"`
	Registration string    `json:"registration"`
	Size         uint64    `json:"size"`
	Until        time.Time `json:"until,omitzero"`
	ReportBy     time.Time `json:"report_by,omitzero"`
	LicenseEnd   time.Time `json:"license_end,omitzero"`
	Overdue      bool      `json:"overdue"`
}

// A ReportLine is an upload in a list.
type ReportLine struct {
	ID           string    `json:"report_id"`
	Received     time.Time `json:"received"`
	Origin       string    `json:"origin,omitempty"`
	Label        string    `json:"label,omitempty"`
	License      string    `json:"license,omitempty"`
	Customer     string    `json:"customer,omitempty"`
	CustomerName string    `json:"customer_name,omitempty"`
	Code         string    `json:"code"` // ok, explain, duplicate, or major/minor
	Bytes        int64     `json:"bytes"`
	Base         uint64    `json:"base"`
	Size         uint64    `json:"size"`
	Actor        string    `json:"actor"`
}

// A SeriesFilter says whose use to draw, of which meter, in which days.
type SeriesFilter struct {
	Customer, License, Origin, Meter string
	// From and To are widened to whole steps; both zero: the last 30 days.
	From, To time.Time
	// Zone is where days begin; nil: UTC.
	Zone *time.Location
	// Step is "hour", "day" (the default), "week" or "month".
	Step string
}

// A Series is the use of one meter over time.
type Series struct {
	Meter       string  `json:"meter"`
	Unit        string  `json:"unit"`
	Scale       int     `json:"scale"`
	Aggregation string  `json:"aggregation"`
	Points      []Point `json:"points"`
	// Limit is the sum of the limits that apply per period, with the credits of the
	// newest period drawn; 0: none, or one of everybody is asked for. Reset is the
	// period.
	Limit int64  `json:"limit,omitempty"`
	Reset string `json:"reset,omitempty"`
	// Forecast are the days to come, from the first that is not complete to the end
	// of the period, or of the month; Low and High of them bound the middle eight of
	// ten outcomes. Empty where too little is known, and for other steps than days.
	Forecast []Point `json:"forecast,omitempty"`
}

// A Point is the use in one step.
type Point struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Value    int64     `json:"value"` // late and adjusted included
	Late     int64     `json:"late,omitempty"`
	Adjusted int64     `json:"adjusted,omitempty"`
	Over     int64     `json:"over,omitempty"`
	Low      int64     `json:"low,omitempty"`  // of a forecast
	High     int64     `json:"high,omitempty"` // of a forecast
	// Complete: every ledger has reported all of it.
	Complete bool `json:"complete"`
	// Inexact: a part may belong to the point before or after, since windows of the
	// site are longer than a quarter of an hour.
	Inexact bool `json:"inexact,omitempty"`
}

// An Overview is the first page of the staff.
type Overview struct {
	Customers     int64        `json:"customers"`
	Licenses      int64        `json:"licenses"`
	Ledgers       int64        `json:"ledgers"`
	OpenAlerts    int64        `json:"open_alerts"`
	ReportsToday  int64        `json:"reports_today"`
	RefusedToday  int64        `json:"refused_today"`
	Due           []Reminder   `json:"due"`            // reports due or overdue, licenses that end: soonest first
	NeverReported []LedgerLine `json:"never_reported"` // activated by code, or restored, and never heard of
	Trend         []Series     `json:"trend"`          // of the last 30 days, the most used meters
	Computed      time.Time    `json:"computed"`
}
