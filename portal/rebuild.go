package portal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal/internal/issue"
)

// Rebuilt says what [Rebuild] found.
type Rebuilt struct {
	Licenses int `json:"licenses"`
	Ledgers  int `json:"ledgers"`
	Reports  int `json:"reports"`
	// WithoutFile are replies whose report was not kept: their totals are those of
	// the acceptance note, on its last day.
	WithoutFile []string `json:"without_file"`
	// Unused are kept files that no reply accepts: refused ones, or accepted ones
	// whose reply is lost; send those again.
	Unused []string `json:"unused"`
}

// Rebuild fills an empty database from the files in o.Dir and from replies that
// customers still hold (paths of files): the same balances, receipts and
// licenses as before (O-24, O-29). It trusts nothing that our own keys have not
// signed, and verifies every report again. The audit log and alerts are not in
// it.
//
// Every report is verified as when it came, and its totals must be those that
// its acceptance note states.
func Rebuild(ctx context.Context, o Options, replies []string) (*Portal, *Rebuilt, error) {
	p, err := Open(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	r := &rebuild{p: p, out: &Rebuilt{WithoutFile: []string{}, Unused: []string{}}, files: map[ledger.Hash]string{}, used: map[string]bool{}}
	p.silent = true
	if err := r.run(ctx, replies); err != nil {
		p.Close()
		return nil, nil, fmt.Errorf("rebuild: %w", err)
	}
	p.silent = false
	return p, r.out, nil
}

type rebuild struct {
	p       *Portal
	out     *Rebuilt
	files   map[ledger.Hash]string // kept files by H of their text
	used    map[string]bool
	replies []oldReply
	saved   map[string]archivedLedger
}

// An oldReply was given, and is signed by us.
type oldReply struct {
	*export.Reply
	text []byte
	at   int64             // of the receipt
	cp   ledger.Checkpoint // of the receipt
	lic  *license.License  // nil: none
}

func (r *rebuild) run(ctx context.Context, replies []string) error {
	var n int64
	if _, err := r.p.store.reader().get(ctx, "SELECT (SELECT COUNT(*) FROM ledgers) + (SELECT COUNT(*) FROM licenses)", nil, &n); err != nil {
		return err
	}
	if n > 0 {
		return refuse(CodeState, "the database is not empty: it has %d licenses and ledgers", n)
	}
	own, err := filepath.Glob(filepath.Join(r.p.path(repliesFolder, ""), "*.reply"))
	if err != nil {
		return err
	}
	for _, path := range append(own, replies...) {
		if err := r.read(path); err != nil {
			return err
		}
	}
	if err := r.index(); err != nil {
		return err
	}
	if err := r.catalog(ctx); err != nil {
		return err
	}
	if err := r.replay(ctx); err != nil {
		return err
	}
	if err := r.decisions(ctx); err != nil {
		return err
	}
	return r.p.store.tx(ctx, func(c conn) error { return c.restoreStatements(ctx, r.p.path(statementsFolder, "")) })
}

// read takes a reply that we have signed. Rejections say nothing that is needed.
func (r *rebuild) read(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	reply, err := export.ParseReply(b)
	if err != nil {
		return fmt.Errorf("reply %q: %w", path, err)
	}
	o := export.ReplyOptions{ReceiptKeys: r.p.receiptKeys()}
	for _, k := range r.p.keys.Of(ledger.RoleReply, issue.Active, issue.Old, issue.Next) {
		o.ReplyKeys = append(o.ReplyKeys, k.String())
	}
	if err := export.VerifyReply(reply, o); err != nil {
		return fmt.Errorf("reply %q: %w", path, err)
	}
	x := oldReply{Reply: reply, text: b}
	if reply.License != nil {
		keys := r.p.keys.Of(ledger.RoleLicense, issue.Active, issue.Old, issue.Next)
		if x.lic, err = license.Verify(reply.License, keys, nil); err != nil {
			return fmt.Errorf("reply %q: %w", path, err)
		}
	}
	if reply.Receipt != nil {
		known, err := r.p.knownReceipt(reply.Receipt)
		if err != nil {
			return fmt.Errorf("reply %q: %w", path, err)
		}
		x.at, x.cp = known.VendorTime, known.Checkpoint
	}
	if reply.Result != export.ResultRejected {
		r.replies = append(r.replies, x)
	}
	return nil
}

// index names the kept files by the hash of their text.
func (r *rebuild) index() error {
	files, err := os.ReadDir(r.p.path(uploadsFolder, ""))
	if err != nil {
		return err
	}
	for _, f := range files {
		k, err := r.p.openKept(f.Name())
		if err != nil {
			return err
		}
		if h, ok := r.p.textHash(k); ok {
			r.files[h] = f.Name()
		}
		k.drop()
	}
	return nil
}

// openKept opens an upload as it came.
func (p *Portal) openKept(sha string) (*kept, error) {
	f, err := os.Open(p.path(uploadsFolder, sha))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &kept{File: f, path: p.path(uploadsFolder, sha), sha: sha, bytes: info.Size()}, nil
}

// catalog restores what licenses are made from, and the licenses.
func (r *rebuild) catalog(ctx context.Context) error {
	var c catalog
	if _, err := readArchive(r.p.path("", catalogFile), &c); err != nil {
		return err
	}
	for _, x := range c.Products {
		if err := r.p.SetProduct(ctx, x, "rebuild"); err != nil {
			return err
		}
	}
	for _, x := range c.Policies {
		if err := r.p.SetPolicy(ctx, x, "rebuild"); err != nil {
			return err
		}
	}
	for _, x := range c.Customers {
		if _, err := r.p.SetCustomer(ctx, x, "rebuild"); err != nil {
			return err
		}
	}
	files, err := filepath.Glob(filepath.Join(r.p.path(licensesFolder, ""), "*.json"))
	if err != nil {
		return err
	}
	r.saved = map[string]archivedLedger{}
	for _, path := range files {
		var a archivedLicense
		if _, err := readArchive(path, &a); err != nil {
			return err
		}
		if err := r.license(ctx, &a); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// license restores a license, if our key has signed it.
func (r *rebuild) license(ctx context.Context, a *archivedLicense) error {
	l := &a.License
	r.out.Licenses++
	for _, x := range a.Ledgers {
		r.saved[x.Origin] = x
	}
	return r.p.store.tx(ctx, func(c conn) error {
		for _, note := range append(a.Notes, l.Note) {
			terms, err := license.Verify([]byte(note), r.p.keys.Of(ledger.RoleLicense, issue.Active, issue.Old), nil)
			if err != nil {
				return err
			}
			if err := c.addDocument(ctx, terms, []byte(note)); err != nil {
				return err
			}
		}
		for holder := range a.Trials {
			if _, err := c.exec(ctx, "INSERT INTO trials (holder, license, time) VALUES (?, ?, ?)", holder, l.ID, r.p.now().Unix()); err != nil {
				return err
			}
		}
		_, err := c.exec(ctx, `INSERT INTO licenses (id, customer, product, policy, state, terms, rules, created, activations, transfers, version)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`,
			l.ID, l.Customer, l.Product, l.Policy, string(l.State), l.Note, toJSON(l.Rules), seconds(l.Created), l.Activations, l.Transfers)
		if err != nil {
			return err
		}
		return c.deriveDates(ctx)
	})
}

// decisions restores what staff decided about ledgers.
func (r *rebuild) decisions(ctx context.Context) error {
	return r.p.store.tx(ctx, func(c conn) error {
		for origin, a := range r.saved {
			l, err := c.ledger(ctx, origin)
			if err != nil {
				return err
			}
			if l == nil {
				// Activated by codes, and no report came yet.
				a.Ledger.version, a.Ledger.ownEnd = 0, a.OwnEnd
				if err := errors.Join(c.saveLedger(ctx, &a.Ledger), c.addOpened(ctx, &a.Ledger)); err != nil {
					return err
				}
				continue
			}
			l.Label, l.State, l.Approval, l.Supersedes, l.Credits, l.Ended, l.Activated = a.Label, a.State, a.Approval, a.Supersedes, a.Credits, a.Ended, a.Activated
			l.RotatedKeys, l.Bindings, l.InForce, l.ownEnd = a.RotatedKeys, a.Bindings, a.InForce, a.OwnEnd
			if err := c.saveLedger(ctx, l); err != nil {
				return err
			}
		}
		_, err := c.exec(ctx, "UPDATE licenses SET activations = (SELECT COUNT(*) FROM ledgers WHERE ledgers.license = licenses.id) WHERE activations = 0")
		return err
	})
}

// Compare lists the rows of statements, the findings and the facts of timelines in
// which two portals differ, as rebuilt from and rebuilt: none if they agree.
func Compare(ctx context.Context, a, b *Portal) ([]string, error) {
	rows := func(p *Portal) (map[string]string, error) {
		all, err := p.Statement(ctx, time.Unix(0, 0), time.Unix(1<<34, 0), StatementFilter{})
		out := map[string]string{}
		for _, r := range all {
			r.Report, r.Customer = "", ""
			out[strings.Join([]string{r.License, r.Ledger, r.Meter, ledger.FormatDate(r.From)}, " ")] = toJSON(r)
		}
		if err != nil {
			return nil, err
		}
		pools, err := p.PoolStatement(ctx, time.Unix(0, 0), time.Unix(1<<34, 0), StatementFilter{})
		for _, r := range pools {
			r.Report, r.Customer = "", ""
			out[strings.Join([]string{r.License, r.Ledger, "pool", r.Pool, ledger.FormatDate(r.From)}, " ")] = toJSON(r)
		}
		if err != nil {
			return nil, err
		}
		if err := p.comparedTotals(ctx, out); err != nil {
			return nil, err
		}
		found, err := list(ctx, p.store.reader(), scanFinding(true), "SELECT "+findingColumns+" FROM "+findingTables)
		for _, f := range found {
			f.Customer, f.CustomerName, f.State, f.Note = "", "", "", nil // not of the reports
			out["finding "+f.ID] = toJSON(f)
		}
		if err != nil {
			return nil, err
		}
		_, err = list(ctx, p.store.reader(), func(scan func(...any) error) (none struct{}, err error) {
			var origin, line string
			var record int64
			err = scan(&origin, &record, &line)
			out[fmt.Sprintf("%s record %d", origin, record)] = line
			return none, err
		}, "SELECT origin, record, line FROM facts")
		return out, err
	}
	x, err := rows(a)
	if err != nil {
		return nil, err
	}
	y, err := rows(b)
	if err != nil {
		return nil, err
	}
	out := []string{}
	for key, row := range x {
		if y[key] != row {
			out = append(out, fmt.Sprintf("%s: %s, rebuilt %s", key, row, cmp.Or(y[key], "none")))
		}
	}
	for key, row := range y {
		if x[key] == "" {
			out = append(out, fmt.Sprintf("%s: none, rebuilt %s", key, row))
		}
	}
	slots, err := differentSlots(ctx, a, b)
	out = append(out, slots...)
	slices.Sort(out)
	return out, err
}

// comparedTotals adds what all ledgers used together, by meter.
func (p *Portal) comparedTotals(ctx context.Context, to map[string]string) error {
	_, err := list(ctx, p.store.reader(), func(scan func(...any) error) (none struct{}, err error) {
		var meter, agg string
		var count, value, late, adjusted, over int64
		if err = scan(&meter, &agg, &count, &value, &late, &adjusted, &over); err != nil {
			return none, err
		}
		if a, err := events.ParseAggregation(agg); err != nil || !adds(a) {
			value = 0 // the greatest, or the last, of days that are not those of the booking
		}
		to["total "+meter+" "+agg] = fmt.Sprint(count, value, late, adjusted, over)
		return none, nil
	}, `SELECT meter, aggregation, CAST(SUM(events) AS BIGINT), CAST(SUM(value) AS BIGINT), CAST(SUM(late) AS BIGINT), CAST(SUM(adjusted) AS BIGINT), CAST(SUM(over) AS BIGINT)
		FROM usage_totals WHERE meter > '' GROUP BY meter, aggregation`)
	if err != nil {
		return err
	}
	_, err = list(ctx, p.store.reader(), func(scan func(...any) error) (none struct{}, err error) {
		var meter, origin string
		var used int64
		err = scan(&meter, &origin, &used)
		to["months "+meter+" "+origin] = fmt.Sprint(used)
		return none, err
	}, "SELECT meter, origin, CAST(SUM(used) AS BIGINT) FROM usage_months GROUP BY meter, origin")
	return err
}

// differentSlots lists the days whose quarters of an hour differ, of those that
// both know.
func differentSlots(ctx context.Context, a, b *Portal) ([]string, error) {
	read := func(p *Portal) (map[string]string, error) {
		out := map[string]string{}
		_, err := list(ctx, p.store.reader(), func(scan func(...any) error) (none struct{}, err error) {
			var origin, meter, text string
			var at, first int64
			err = scan(&origin, &meter, &at, &first, &text)
			out[fmt.Sprintf("%s %s %s slots from record %d", origin, meter, day(dayTime(at)), first)] = text
			return none, err
		}, "SELECT origin, meter, day, first_record, slots FROM usage_days WHERE slots <> ''")
		return out, err
	}
	x, err := read(a)
	if err != nil {
		return nil, err
	}
	y, err := read(b)
	var out []string
	for key, text := range x {
		if other, ok := y[key]; ok && other != text {
			out = append(out, fmt.Sprintf("%s: %s, rebuilt %s", key, text, other))
		}
	}
	return out, err
}
