package portal

import (
	"context"
	"fmt"

	"github.com/meterseal/meterseal/license"
)

// Before lets f fail an intake at its named steps: "receipt", when the usage is
// written; "commit", when everything is.
func (p *Portal) Before(f func(step string) error) { p.before = f }

// MigrateDown takes the schema back to nothing, and Migrate up again.
func (p *Portal) MigrateDown(ctx context.Context) error {
	m, err := p.store.migrations()
	if err != nil {
		return err
	}
	_, err = m.DownTo(ctx, 0)
	return err
}

// Migrate brings the schema up to date.
func (p *Portal) Migrate(ctx context.Context) error { return p.store.migrate(ctx) }

// SetSchema says that a newer program has brought the schema to version, and
// UnsetSchema that it has not.
func (p *Portal) SetSchema(ctx context.Context, version int64) error {
	_, err := p.store.write.ExecContext(ctx, fmt.Sprintf("INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, %v)", version, true))
	return err
}

func (p *Portal) UnsetSchema(ctx context.Context, version int64) error {
	_, err := p.store.write.ExecContext(ctx, fmt.Sprintf("DELETE FROM goose_db_version WHERE version_id = %d", version))
	return err
}

// Tables counts the rows of each table.
func (p *Portal) Tables(ctx context.Context) (map[string]int64, error) {
	out := map[string]int64{}
	for _, t := range []string{"products", "product_lines", "policies", "customers", "licenses", "documents", "ledgers", "uploads", "receipts", "spans",
		"usage_days", "seat_days", "facts", "node_days", "arrivals", "findings", "finding_notes", "statements", "statement_numbers", "trials", "codes", "alerts", "audit"} {
		var n int64
		if _, err := p.store.reader().get(ctx, "SELECT COUNT(*) FROM "+t, nil, &n); err != nil {
			return nil, err
		}
		out[t] = n
	}
	return out, nil
}

// Forget deletes a receipt and what came with it and after it, as a database
// restored from a backup would: the ledger is at the size before.
func (p *Portal) Forget(ctx context.Context, origin string, size uint64) error {
	return p.store.tx(ctx, func(c conn) error {
		for _, q := range []string{
			"DELETE FROM usage_days WHERE origin = ? AND last_record >= ?",
			"DELETE FROM seat_days WHERE origin = ? AND last_record >= ?",
			"DELETE FROM spans WHERE origin = ? AND first >= ?",
			"DELETE FROM receipts WHERE origin = ? AND size > ?",
			"DELETE FROM uploads WHERE origin = ? AND size > ?",
		} {
			if _, err := c.exec(ctx, q, origin, int64(size)); err != nil {
				return err
			}
		}
		if err := c.totalsAgain(ctx); err != nil {
			return err
		}
		_, err := c.exec(ctx, `UPDATE ledgers SET size = ?, root = (SELECT root FROM receipts WHERE receipts.origin = ledgers.origin AND receipts.size = ?), serial = 1
			WHERE origin = ?`, int64(size), int64(size), origin)
		return err
	})
}

// ForgetLedger deletes all of a ledger.
func (p *Portal) ForgetLedger(ctx context.Context, origin string) error {
	return p.store.tx(ctx, func(c conn) error {
		for _, t := range []string{"usage_days", "seat_days", "facts", "spans", "receipts", "uploads", "ledgers"} {
			if _, err := c.exec(ctx, "DELETE FROM "+t+" WHERE origin = ?", origin); err != nil {
				return err
			}
		}
		return c.totalsAgain(ctx)
	})
}

// totalsAgain adds the usage of all ledgers up again.
func (c conn) totalsAgain(ctx context.Context) error {
	for _, t := range []string{"usage_totals", "usage_months"} {
		if _, err := c.exec(ctx, "DELETE FROM "+t); err != nil {
			return err
		}
	}
	return c.fillTotals(ctx)
}

// AddExampleLicense puts the unbound license of docs/formats/vectors on record.
func (p *Portal) AddExampleLicense(ctx context.Context, note []byte) error {
	l, err := license.Parse(note)
	if err != nil {
		return err
	}
	return p.store.tx(ctx, func(c conn) error {
		if _, err := c.exec(ctx, `INSERT INTO licenses (id, customer, product, policy, state, terms, rules, created, activations, transfers, version)
			VALUES (?, '', '', '', 'active', ?, '{}', 0, 0, 0, 1)`, l.ID, string(note)); err != nil {
			return err
		}
		if err := c.deriveDates(ctx); err != nil {
			return err
		}
		return c.addDocument(ctx, l, note)
	})
}

// OddUse is oddUse of days that begin with day 1000, of which all are the
// report's.
func OddUse(meter string, use []int64) []UsageHint {
	var days []dayUse
	for i, u := range use {
		if u != 0 {
			days = append(days, dayUse{1000 + int64(i), u})
		}
	}
	return oddUse(meter, days, 1000, 1000+int64(len(use)))
}

// Forecast is forecast: value, low and high of each day.
func Forecast(history []int64, n int) (out [][3]int64) {
	for _, d := range forecast(history, n) {
		out = append(out, [3]int64{d.value, d.low, d.high})
	}
	return out
}

// Exec changes the database past everything that keeps it right.
func (p *Portal) Exec(ctx context.Context, query string, args ...any) error {
	_, err := p.store.write.ExecContext(ctx, query, args...)
	return err
}
