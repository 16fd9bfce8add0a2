package portal

import (
	"context"
	"time"
)

// Gauges are counts of what waits, for monitoring.
type Gauges struct {
	Overdue    int64         // ledgers whose report is
	Ending     map[int]int64 // ledgers whose license ends within so many days
	OpenAlerts int64
	Deliveries int64 // of webhooks, pending
	Mails      int64 // pending
}

// EndingDays are the keys of Gauges.Ending.
var EndingDays = []int{7, 30, 90}

// Gauges counts what waits now.
func (p *Portal) Gauges(ctx context.Context) (Gauges, error) {
	now := p.now()
	g := Gauges{Ending: map[int]int64{}}
	err := p.store.snapshot(ctx, func(c conn) error {
		for query, to := range map[string]*int64{
			at("SELECT COUNT(*) FROM ledgers l JOIN licenses k ON k.id = l.license WHERE l.state = 'active' AND "+overdueLedger, now.Unix()): &g.Overdue,
			"SELECT COUNT(*) FROM alerts WHERE resolved = 0":          &g.OpenAlerts,
			"SELECT COUNT(*) FROM deliveries WHERE state = 'pending'": &g.Deliveries,
			"SELECT COUNT(*) FROM mails WHERE state = 'pending'":      &g.Mails,
		} {
			if _, err := c.get(ctx, query, nil, to); err != nil {
				return err
			}
		}
		for _, d := range EndingDays {
			var n int64
			if _, err := c.get(ctx, "SELECT COUNT(*) FROM ledgers WHERE state = 'active' AND license_end > 0 AND license_end <= ?",
				[]any{now.Add(time.Duration(d) * 24 * time.Hour).Unix()}, &n); err != nil {
				return err
			}
			g.Ending[d] = n
		}
		return nil
	})
	return g, err
}

// Ready returns nil if the database answers.
func (p *Portal) Ready(ctx context.Context) error {
	var n int64
	_, err := p.store.reader().get(ctx, "SELECT COUNT(*) FROM policies", nil, &n)
	return err
}
