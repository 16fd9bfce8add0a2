package portal

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// restoreStatements puts the approved statements of a folder on record.
func (c conn) restoreStatements(ctx context.Context, folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "S-*.json"))
	if err != nil {
		return err
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var d StatementDocument
		if err := json.Unmarshal(b, &d); err != nil {
			return fmt.Errorf("statement %q: %w", path, err)
		}
		if filepath.Base(path) != d.Number+".json" {
			return fmt.Errorf("statement %q: it is of number %q", path, d.Number)
		}
		if _, err := c.exec(ctx, `INSERT INTO statements (id, number, customer, license, meter, zone, period, first_day, next_day, starts, ends, corrects, credits,
			created, created_by, approved, approved_by, document, sha256, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`,
			d.ID, d.Number, d.Customer, d.License, d.Meter, d.Zone, string(d.Period), d.FirstDay, d.NextDay, d.From.Unix(), d.To.Unix(), d.Corrects, toJSON(d.Credits),
			d.Created.Unix(), d.CreatedBy, d.Approved.Unix(), d.ApprovedBy, string(b), sha256Hex(string(b))); err != nil {
			return err
		}
		year, last, _ := strings.Cut(strings.TrimPrefix(d.Number, "S-"), "-")
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil {
			return fmt.Errorf("statement %q: its number %q: %w", path, d.Number, err)
		}
		if _, err := c.exec(ctx, `INSERT INTO statement_numbers (year, last) VALUES (?, ?)
			ON CONFLICT (year) DO UPDATE SET last = CASE WHEN statement_numbers.last > excluded.last THEN statement_numbers.last ELSE excluded.last END`, year, n); err != nil {
			return err
		}
	}
	return nil
}
