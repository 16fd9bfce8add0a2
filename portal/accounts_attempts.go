package portal

import (
	"context"
	"time"
)

// Attempts bounds sign-ins of an account or an address: after Free failures each
// further one doubles the wait, from a second up to Most. Failures are forgotten
// when none came for Forget.
type Attempts struct {
	Free         int64
	Most, Forget time.Duration
}

// Attempt counts one attempt before it is decided, so that attempts at once do not
// get past the wait, and returns how long none is allowed; 0: go on. It is kept in
// the database, for every process that serves it.
func (p *Portal) Attempt(ctx context.Context, subject string, o Attempts) (wait time.Duration, err error) {
	now := p.now()
	err = p.store.tx(ctx, func(c conn) error {
		// Whoever writes the row holds it until he has decided.
		_, err := c.exec(ctx, "INSERT INTO attempts (subject, failures, last, until) VALUES (?, 0, ?, 0) ON CONFLICT (subject) DO UPDATE SET subject = excluded.subject", subject, now.Unix())
		if err != nil {
			return err
		}
		var failures, last, until int64
		if _, err := c.get(ctx, "SELECT failures, last, until FROM attempts WHERE subject = ?", []any{subject}, &failures, &last, &until); err != nil {
			return err
		}
		if wait = unix(until).Sub(now); until > 0 && wait > 0 {
			return nil
		}
		wait = 0
		if now.Sub(unix(last)) > o.Forget {
			failures = 0
		}
		failures++
		if over := failures - o.Free; over >= 0 {
			until = now.Add(min(o.Most, time.Second<<min(over, 30))).Unix()
			if over == 0 {
				if err := c.audit(ctx, now, "portal", "sign-in.slowed", subject, nil, map[string]int64{"failures": failures}); err != nil {
					return err
				}
			}
		}
		if _, err := c.exec(ctx, "DELETE FROM attempts WHERE last < ? AND subject <> ?", now.Add(-o.Forget).Unix(), subject); err != nil {
			return err
		}
		_, err = c.exec(ctx, "UPDATE attempts SET failures = ?, last = ?, until = ? WHERE subject = ?", failures, now.Unix(), until, subject)
		return err
	})
	return wait, err
}

// Succeeded takes an attempt back: it was the right one.
func (p *Portal) Succeeded(ctx context.Context, subject string, all bool) error {
	return p.store.tx(ctx, func(c conn) error {
		if all {
			_, err := c.exec(ctx, "DELETE FROM attempts WHERE subject = ?", subject)
			return err
		}
		_, err := c.exec(ctx, "UPDATE attempts SET failures = failures - 1 WHERE subject = ? AND failures > 0", subject)
		return err
	})
}
