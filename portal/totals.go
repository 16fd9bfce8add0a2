package portal

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
)

// bookTotals adds what is new to the totals of all ledgers, last in the
// transaction: until it ends, another that adds to the same days waits.
func (in *intake) bookTotals(ctx context.Context, c conn) error {
	months := map[monthKey]int64{}
	for i := range in.book.rows {
		addMonth(months, in.origin, &in.book.rows[i])
	}
	if err := c.addMonths(ctx, months); err != nil {
		return err
	}
	return c.addTotals(ctx, in.book.rows)
}

// A monthKey names a row of usage_months.
type monthKey struct {
	meter  string
	month  int64
	origin string
}

// monthOf numbers the UTC month of a time.
func monthOf(t time.Time) int64 { return int64(t.UTC().Year())*12 + int64(t.UTC().Month()) - 1 }

func addMonth(months map[monthKey]int64, origin string, r *usageRow) {
	if adds(r.agg) {
		months[monthKey{r.meter, monthOf(dayTime(r.day)), origin}] += r.total.Value + r.total.DValue
	}
}

// addMonths adds to usage_months, a ledger's rows by who holds it.
func (c conn) addMonths(ctx context.Context, months map[monthKey]int64) error {
	keys := make([]monthKey, 0, len(months))
	for k := range months {
		keys = append(keys, k)
	}
	const most = 200
	for part := range slices.Chunk(keys, most) {
		args := make([]any, 0, 4*len(part))
		for _, k := range part {
			args = append(args, k.meter, k.month, k.origin, months[k])
		}
		if _, err := c.exec(ctx, "INSERT INTO usage_months (meter, month, origin, used) VALUES "+strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?), ", len(part)), ", ")+
			" ON CONFLICT (meter, month, origin) DO UPDATE SET used = usage_months.used + excluded.used", args...); err != nil {
			return err
		}
	}
	return nil
}

// addTotals adds rows to usage_totals.
func (c conn) addTotals(ctx context.Context, rows []usageRow) error {
	days := map[totalKey]*totalDay{}
	for i := range rows {
		if err := addTotal(days, &rows[i]); err != nil {
			return err
		}
	}
	return c.writeTotals(ctx, days)
}

// writeTotals adds days to usage_totals, in one order, so that no two transactions
// wait for each other.
func (c conn) writeTotals(ctx context.Context, days map[totalKey]*totalDay) error {
	keys := make([]totalKey, 0, len(days))
	for k := range days {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, totalKey.compare)
	const most = 100
	for part := range slices.Chunk(keys, most) {
		if err := c.addTotalsOf(ctx, part, days); err != nil {
			return err
		}
	}
	return nil
}

// A totalKey names a row of usage_totals.
type totalKey struct {
	meter string
	agg   events.Aggregation
	day   int64
}

func (k totalKey) compare(x totalKey) int {
	if n := strings.Compare(k.meter, x.meter); n != 0 {
		return n
	}
	if n := strings.Compare(k.agg.String(), x.agg.String()); n != 0 {
		return n
	}
	return int(k.day - x.day)
}

// A totalDay is a row of usage_totals while rows are added to it.
type totalDay struct {
	part
	slots [daySlots]part
	span  int64
}

// add adds a row. A sum that would leave int64 stays: the totals are drawn, never
// billed, and an intake must not fail by them.
func (t *totalDay) add(r *usageRow) error {
	_ = t.part.merge(r.agg, r.part)
	span, err := r.cutSlots(func(at int64, p part) error {
		_ = t.slots[at%daySeconds/slotSeconds].merge(r.agg, p)
		return nil
	})
	t.span = max(t.span, span)
	return err
}

// text spells the slots.
func (t *totalDay) text(k totalKey) string {
	w := slotWriter{day: k.day, agg: k.agg, span: t.span}
	for n, p := range t.slots {
		*w.slot(int64(n) * slotSeconds) = p
	}
	return w.finish()
}

func addTotal(days map[totalKey]*totalDay, r *usageRow) error {
	k := totalKey{r.meter, r.agg, r.day}
	if days[k] == nil {
		days[k] = &totalDay{}
	}
	return days[k].add(r)
}

// addTotalsOf holds the rows of keys, and writes each anew.
func (c conn) addTotalsOf(ctx context.Context, keys []totalKey, days map[totalKey]*totalDay) error {
	const columns = 10
	marks := strings.TrimSuffix(strings.Repeat("("+strings.Repeat("?, ", columns)+"1), ", len(keys)), ", ")
	write := func(days func(totalKey) *totalDay, conflict string) error {
		args := make([]any, 0, columns*len(keys))
		for _, k := range keys {
			t := days(k)
			args = append(args, k.meter, k.agg.String(), k.day, int64(t.total.Count), t.total.Value, t.late, t.total.DValue, t.over, t.total.To, t.text(k))
		}
		_, err := c.exec(ctx, `INSERT INTO usage_totals (meter, aggregation, day, events, value, late, adjusted, over, latest, slots, version)
			VALUES `+marks+" ON CONFLICT (meter, aggregation, day) DO UPDATE SET "+conflict, args...)
		return err
	}
	if err := write(func(totalKey) *totalDay { return &totalDay{} }, "version = usage_totals.version + 1"); err != nil {
		return err
	}
	for begin := 0; begin < len(keys); {
		end := begin
		for end < len(keys) && keys[end].meter == keys[begin].meter && keys[end].agg == keys[begin].agg {
			end++
		}
		had, err := list(ctx, c, scanTotal, "SELECT "+totalColumns+" FROM usage_totals WHERE meter = ? AND aggregation = ? AND day >= ? AND day <= ?",
			keys[begin].meter, keys[begin].agg.String(), keys[begin].day, keys[end-1].day)
		if err != nil {
			return err
		}
		for i := range had {
			k := totalKey{had[i].meter, had[i].agg, had[i].day}
			if days[k] == nil {
				continue // between
			}
			if err := days[k].add(&had[i]); err != nil {
				return err
			}
		}
		begin = end
	}
	return write(func(k totalKey) *totalDay { return days[k] }, `events = excluded.events, value = excluded.value, late = excluded.late,
		adjusted = excluded.adjusted, over = excluded.over, latest = excluded.latest, slots = excluded.slots`)
}

const totalColumns = "meter, aggregation, day, events, value, late, adjusted, over, latest, slots"

func scanTotal(scan func(...any) error) (r usageRow, err error) {
	var agg string
	var count int64
	if err = scan(&r.meter, &agg, &r.day, &count, &r.total.Value, &r.late, &r.total.DValue, &r.over, &r.total.To, &r.slots); err != nil {
		return r, err
	}
	r.total.Count, r.total.Used = uint64(count), count > 0
	r.agg, err = events.ParseAggregation(agg)
	return r, err
}

// fillTotals makes the totals from usage_days, once in the life of a database:
// whoever writes the mark first does so, and others wait for it.
func (c conn) fillTotals(ctx context.Context) error {
	n, err := c.exec(ctx, `INSERT INTO usage_totals (meter, aggregation, day, events, value, late, adjusted, over, latest, slots, version)
		VALUES ('', '', 0, 0, 0, 0, 0, 0, 0, '', 1) ON CONFLICT (meter, aggregation, day) DO NOTHING`)
	if err != nil || n == 0 {
		return err
	}
	days, months := map[totalKey]*totalDay{}, map[monthKey]int64{}
	_, err = list(ctx, c, func(scan func(...any) error) (none struct{}, err error) {
		var origin string
		r, err := scanTotal(func(to ...any) error { return scan(append(to, &origin)...) })
		if err == nil {
			addMonth(months, origin, &r)
			err = addTotal(days, &r)
		}
		return none, err
	}, "SELECT "+totalColumns+", origin FROM usage_days")
	if err == nil {
		err = c.addMonths(ctx, months)
	}
	if err != nil {
		return fmt.Errorf("add up usage of all ledgers: %w", err)
	}
	return c.writeTotals(ctx, days)
}
