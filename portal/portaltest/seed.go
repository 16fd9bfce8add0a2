package portaltest

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/portal"
)

// A Load is how much [Seed] puts on record.
type Load struct {
	Customers int // each with a license that is in use, and one that is not
	Reports   int // of each
	Days      int // that a report covers
	Audits    int
}

// FullLoad is what the portal's goals speak of: 1,000 customers, 10,000 reports
// and 100 million usage records, summed up by day.
var FullLoad = Load{Customers: 1000, Reports: 10, Days: 30, Audits: 20_000}

// Of the usage of a ledger and day.
const (
	seedMeters    = 4
	seedTemplates = 14 // days of a weekday, by their use
)

// Seeded names what a test asks for.
type Seeded struct {
	Customer, License, Origin, LedgerID, Report string
	Records                                     int64 // behind the sums
}

// Seed makes a vendor with a load: one site reports for real, and its rows are
// copied for the others by SQL, the same at each run. The database is closed
// and opened again.
func Seed(t testing.TB, v *Vendor, load Load) Seeded {
	t.Helper()
	ctx := context.Background()
	var meters []string
	for i := range seedMeters {
		meters = append(meters, strings.TrimSuffix(fmt.Sprintf("render.pages-%d", i), "-0"))
	}
	p := portal.Product{ID: "farm", Name: "Render farm"}
	for _, m := range meters {
		p.Meters = append(p.Meters, m+" sum page 0 yes 0s")
	}
	v.Must(v.SetProduct(ctx, p, "ana"))
	_, err := v.SetCustomer(ctx, portal.Customer{ID: "c-00000", Name: "Customer 00000"}, "ana")
	v.Must(err)
	l := v.Issue(portal.LicenseSpec{ID: "L-00000", Customer: "c-00000", Product: "farm", Policy: "monthly-pay-per-use", Set: Set("max-activations", "9", "limit", "meter render.pages 500000 unlimited monthly")})
	v.Issue(portal.LicenseSpec{ID: "M-00000", Customer: "c-00000", Product: "farm", Policy: "monthly-pay-per-use"})
	s := v.Open(l, "plant")
	s.Send()
	a := s.Use(3, 4).Send()

	driver, address := "sqlite", "file:"+filepath.Join(v.O.Dir, "portal.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=cache_size(-400000)&_pragma=temp_store(MEMORY)&_pragma=busy_timeout(60000)"
	if v.O.DSN != "" {
		driver, address = "pgx", v.O.DSN
	}
	v.Must(v.Close())
	db, err := sql.Open(driver, address)
	v.Must(err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	x := &seeder{t: t, db: db, postgres: v.O.DSN != "", load: load, now: v.Clock.Now().Unix(), id: a.LedgerID, origin: a.Origin, report: a.ReportID, meters: meters, read: map[string][]seedRow{}}
	x.run(ctx)
	v.Must(db.Close())
	v.Reopen() // which adds the totals up
	out := Seeded{Customer: "c-00007", License: "L-00007", Origin: x.rename(7).Replace(a.Origin), LedgerID: x.rename(7).Replace(a.LedgerID), Report: seedReport(load.Reports-1, 7), Records: x.records}
	t.Logf("seeded %d customers, %d reports, %d days of meters with %d records", load.Customers, load.Customers*load.Reports, x.rows, x.records)
	return out
}

type seeder struct {
	t                  testing.TB
	db                 *sql.DB
	tx                 *sql.Tx
	postgres           bool
	load               Load
	now                int64
	id, origin, report string
	meters             []string
	records, rows      int64
	read               map[string][]seedRow // by table and condition
}

func seedReport(k, i int) string { return fmt.Sprintf("r-0%04d%05d0000000000", k, i) }

// rename names the i-th customer where the first one is named.
func (x *seeder) rename(i int) *strings.Replacer {
	n := fmt.Sprintf("%05d", i)
	return strings.NewReplacer("c-00000", "c-"+n, "Customer 00000", "Customer "+n, "L-00000", "L-"+n, "M-00000", "M-"+n, x.id, x.id[:len(x.id)-5]+n)
}

func (x *seeder) run(ctx context.Context) {
	var err error
	if x.tx, err = x.db.BeginTx(ctx, nil); err != nil {
		x.t.Fatal(err)
	}
	for i := 1; i < x.load.Customers; i++ {
		names := x.rename(i)
		same := func(_ string, v any) any {
			if s, ok := v.(string); ok {
				return names.Replace(s)
			}
			return v
		}
		x.copy("customers", "id = 'c-00000'", same)
		x.copy("licenses", "customer = 'c-00000'", func(column string, v any) any {
			if column == "created" {
				return x.now - int64(i)*3600
			}
			return same(column, v)
		})
		x.copy("ledgers", "license = 'L-00000'", func(column string, v any) any {
			switch column {
			case "report_by":
				return x.now + int64(i%60-5)*86_400
			case "activated":
				return x.now - int64(i)*3600
			}
			return same(column, v)
		})
		x.copy("documents", "license = 'L-00000' AND origin = ''", func(column string, v any) any {
			if column == "digest" {
				return fmt.Sprintf("digest %d", i)
			}
			return same(column, v)
		})
	}
	for k := range x.load.Reports {
		for i := range x.load.Customers {
			names, id := x.rename(i), seedReport(k, i)
			of := func(column string, v any) any {
				switch column {
				case "id", "upload":
					return id
				case "received", "time":
					return x.now - int64(x.load.Reports-1-k)*int64(x.load.Days)*86_400 - int64(i)
				case "size", "next":
					return int64(k+1)*10_000 + 20
				case "base", "first":
					return int64(k)*10_000 + 20
				}
				if s, ok := v.(string); ok {
					return strings.ReplaceAll(names.Replace(s), x.report, id)
				}
				return v
			}
			x.copy("uploads", "id = '"+x.report+"'", of)
			x.copy("receipts", "upload = '"+x.report+"'", of)
			x.copy("spans", "upload = '"+x.report+"'", of)
		}
	}
	x.t.Logf("copied")
	x.usage()
	for i := range x.load.Audits {
		x.exec("INSERT INTO audit (id, time, actor, action, object, before, after) VALUES ($1, $2, 'ana', 'license.update', $3, 'null', 'null')", fmt.Sprintf("0%010d", i), x.now-int64(x.load.Audits-i), fmt.Sprintf("L-%05d", i%x.load.Customers))
	}
	for i := range x.load.Customers / 5 {
		x.exec("INSERT INTO alerts (id, origin, license, upload, code, detail, evidence, opened, resolved, resolution, actor) VALUES ($1, $2, $3, '', 'history/forked', 'two histories', '', $4, $5, '', '')",
			fmt.Sprintf("a-0%05d", i), x.rename(i).Replace(x.origin), fmt.Sprintf("L-%05d", i), x.now-int64(i), int64(i%2)*x.now)
	}
	x.exec("DELETE FROM usage_totals")
	x.exec("DELETE FROM usage_months")
	if err := x.tx.Commit(); err != nil {
		x.t.Fatal(err)
	}
	if _, err := x.db.ExecContext(ctx, "ANALYZE"); err != nil {
		x.t.Fatal(err)
	}
}

func (x *seeder) exec(query string, args ...any) {
	if _, err := x.tx.Exec(query, args...); err != nil {
		x.t.Fatalf("%.80s: %v", query, err)
	}
}

// copy inserts the rows of a table that a condition chooses again, changed. They
// are read once.
func (x *seeder) copy(table, where string, change func(column string, v any) any) {
	rows := x.read[table+where]
	if rows == nil {
		rows = x.rowsOf(table, where)
		x.read[table+where] = rows
	}
	for _, row := range rows {
		values := make([]any, len(row.values))
		for i, c := range row.columns {
			values[i] = change(c, row.values[i])
		}
		if _, err := row.insert.Exec(values...); err != nil {
			x.t.Fatalf("copy %s: %v", table, err)
		}
	}
}

type seedRow struct {
	columns []string
	values  []any
	insert  *sql.Stmt
}

func (x *seeder) rowsOf(table, where string) (all []seedRow) {
	rows, err := x.tx.Query("SELECT * FROM " + table + " WHERE " + where)
	if err != nil {
		x.t.Fatal(err)
	}
	columns, err := rows.Columns()
	if err != nil {
		x.t.Fatal(err)
	}
	for rows.Next() {
		values, to := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			to[i] = &values[i]
		}
		if err := rows.Scan(to...); err != nil {
			x.t.Fatal(err)
		}
		all = append(all, seedRow{columns: columns, values: values})
	}
	rows.Close()
	if rows.Err() != nil || len(all) == 0 {
		x.t.Fatalf("copy %s where %s: %d rows, %v", table, where, len(all), rows.Err())
	}
	var marks []string
	for i := range columns {
		marks = append(marks, "$"+strconv.Itoa(i+1))
	}
	insert, err := x.tx.Prepare("INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES (" + strings.Join(marks, ", ") + ")")
	if err != nil {
		x.t.Fatal(err)
	}
	for i := range all {
		all[i].insert = insert
	}
	return all
}

// usage makes the days: some eighty quarters of an hour of each meter, with less
// at weekends.
func (x *seeder) usage() {
	r := rand.New(rand.NewPCG(1, 2))
	x.exec("CREATE TABLE seed_days (n BIGINT, day BIGINT, k BIGINT)")
	x.exec("CREATE TABLE seed_uploads (n BIGINT, origin TEXT, k BIGINT, upload TEXT)")
	x.exec("CREATE TABLE seed_meters (n BIGINT, meter TEXT)")
	x.exec("CREATE TABLE seed_templates (n BIGINT, events BIGINT, value BIGINT, slots TEXT)")
	today, events := time.Unix(x.now, 0).UTC().Unix()/86_400, map[int64]int64{}
	for weekday := range int64(7) {
		for j := range int64(seedTemplates) {
			var b strings.Builder
			var value, n int64
			next := 0
			for slot := range 96 {
				if r.IntN(100) < 13 {
					continue
				}
				if b.Len() > 0 {
					b.WriteByte(',')
				}
				if slot != next {
					b.WriteString(strconv.Itoa(slot))
				}
				next = slot + 1
				use := int64(r.IntN(400)+30) * []int64{10, 10, 10, 10, 9, 2, 1}[weekday] / 10
				fmt.Fprintf(&b, ":1:%d", use)
				value, n = value+use, n+1
			}
			events[weekday*seedTemplates+j] = n
			x.exec("INSERT INTO seed_templates VALUES ($1, $2, $3, $4)", weekday*seedTemplates+j, n, value, b.String())
		}
	}
	for k := range int64(x.load.Reports) {
		for d := range int64(x.load.Days) {
			n := k*int64(x.load.Days) + d
			x.exec("INSERT INTO seed_days VALUES ($1, $2, $3)", n, today-int64(x.load.Reports*x.load.Days)+n, k)
		}
		for i := range x.load.Customers {
			x.exec("INSERT INTO seed_uploads VALUES ($1, $2, $3, $4)", i, x.rename(i).Replace(x.origin), k, seedReport(int(k), i))
		}
	}
	for i, m := range x.meters {
		x.exec("INSERT INTO seed_meters VALUES ($1, $2)", i, m)
	}
	x.exec("DELETE FROM usage_days")
	x.exec("DROP INDEX usage_days_by") // an index is made faster than kept
	x.exec("DROP INDEX usage_days_meter")
	x.exec("CREATE INDEX seed_template ON seed_templates (n)")
	x.exec(`INSERT INTO usage_days (origin, meter, day, upload, aggregation, events, value, late, adjusted, over, latest, first_record, last_record, slots)
		SELECT s.origin, m.meter, d.day, s.upload, 'sum', t.events, t.value, 0, 0, 0, d.day * 86400 + 86400, s.k * 10000 + 20, s.k * 10000 + 10019, t.slots
		FROM seed_uploads s JOIN seed_days d ON d.k = s.k CROSS JOIN seed_meters m
		JOIN seed_templates t ON t.n = ((d.day + 3) % 7) * 14 + (s.n * 5 + m.n * 3 + d.day) % 14 ORDER BY s.k, s.n, m.n, d.day`)
	if err := x.tx.QueryRow("SELECT COUNT(*), CAST(SUM(events) AS BIGINT) FROM usage_days").Scan(&x.rows, &x.records); err != nil {
		x.t.Fatal(err)
	}
	x.t.Logf("%d rows of usage", x.rows)
	x.exec("CREATE INDEX usage_days_by ON usage_days (day)")
	x.exec("CREATE INDEX usage_days_meter ON usage_days (meter, day, origin, value, adjusted)")
	x.exec("UPDATE ledgers SET until = $1", today*86_400)
	for _, t := range []string{"seed_days", "seed_uploads", "seed_meters", "seed_templates"} {
		x.exec("DROP TABLE " + t)
	}
}
