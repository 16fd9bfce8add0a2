package portal

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// Items of a page.
const (
	pageItems    = 50 // unless ListOptions.Limit says how many
	PageItemsMax = 500
)

// CountMax bounds Page.Total: a list that is longer says this many, since nobody
// waits for the exact number of a long one.
const CountMax = 100_000

// A query is what a list selects from, and which rows.
type query struct {
	columns, from string
	// order are the columns of the sort order, which together name a row; desc: the
	// largest first. scan reads their values too, so they stand in columns.
	order []string
	desc  bool
	where []string
	args  []any
}

// and adds a condition.
func (q *query) and(condition string, args ...any) {
	q.where, q.args = append(q.where, condition), append(q.args, args...)
}

// is adds a condition on a column, unless the value is empty.
func (q *query) is(column, value string) {
	if value != "" {
		q.and(column+" = ?", value)
	}
}

// search adds the condition that s is part of one of the columns, whatever the
// case.
func (q *query) search(s string, columns ...string) {
	if s == "" {
		return
	}
	lower, ascii := "%"+likeText(strings.ToLower(s))+"%", !strings.ContainsFunc(s, func(r rune) bool { return r > 127 })
	var any []string
	for _, c := range columns {
		any, q.args = append(any, "LOWER("+c+`) LIKE ? ESCAPE '\'`), append(q.args, lower)
		if !ascii { // which LOWER of SQLite leaves as they are
			any, q.args = append(any, c+` LIKE ? ESCAPE '\'`), append(q.args, "%"+likeText(s)+"%")
		}
	}
	q.where = append(q.where, "("+strings.Join(any, " OR ")+")")
}

// nested adds a condition on what another query finds.
func (q *query) nested(condition string, sub query) {
	q.and(condition+" (SELECT "+sub.columns+" FROM "+sub.from+sub.conditions()+")", sub.args...)
}

// likeText spells a text so that LIKE takes it as it is.
func likeText(s string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`, "\x00", "").Replace(s)
}

func (q *query) conditions() string {
	if len(q.where) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(q.where, " AND ")
}

// page reads the page of a list that o names. The cursor has the place of the last
// item in the order, so that rows which are added meanwhile move nothing. scan
// returns an item and its place.
func page[T any](ctx context.Context, c conn, q query, o ListOptions, scan func(scan func(...any) error) (item T, place []any, err error)) (p Page[T], err error) {
	p.Items = []T{}
	limit := o.Limit
	switch {
	case limit == 0:
		limit = pageItems
	case limit < 0 || limit > PageItemsMax:
		return p, refuse(CodeBadRequest, "limit %d: a page has 1 to %d items", limit, PageItemsMax)
	}
	count := fmt.Sprintf("SELECT COUNT(*) FROM (SELECT 1 AS one FROM %s%s LIMIT %d) counted", q.from, q.conditions(), CountMax)
	if _, err := c.get(ctx, count, q.args, &p.Total); err != nil {
		return p, err
	}
	direction, beyond := "", ">"
	if q.desc {
		direction, beyond = " DESC", "<"
	}
	if o.Cursor != "" {
		place, err := parseCursor(o.Cursor, len(q.order))
		if err != nil {
			return p, err
		}
		marks := strings.TrimSuffix(strings.Repeat("?, ", len(place)), ", ")
		q.and("("+strings.Join(q.order, ", ")+") "+beyond+" ("+marks+")", place...)
	}
	var places [][]any
	p.Items, err = list(ctx, c, func(row func(...any) error) (T, error) {
		item, place, err := scan(row)
		places = append(places, place)
		return item, err
	}, fmt.Sprintf("SELECT %s FROM %s%s ORDER BY %s%s LIMIT %d", q.columns, q.from, q.conditions(), strings.Join(q.order, direction+", "), direction, limit+1), q.args...)
	if err == nil && len(p.Items) > limit {
		p.Items, p.Next = p.Items[:limit], cursor(places[limit-1])
	}
	return p, err
}

// cursor spells the place of an item. Nobody should read it.
func cursor(place []any) string {
	return base64.RawURLEncoding.EncodeToString([]byte(toJSON(place)))
}

func parseCursor(s string, n int) (place []any, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		err = d.Decode(&place)
	}
	for i, v := range place {
		switch v := v.(type) {
		case string:
			if strings.ContainsRune(v, 0) {
				err = fmt.Errorf("a text has a NUL")
			}
		case json.Number:
			var e error
			if place[i], e = v.Int64(); e != nil {
				err = e
			}
		default:
			err = fmt.Errorf("%T", v)
		}
	}
	if err != nil || len(place) != n {
		return nil, refuse(CodeBadRequest, "the cursor %.40q is of no page of this list; begin at the first", s)
	}
	return place, nil
}
