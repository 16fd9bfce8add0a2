package portal

import (
	"context"
	"fmt"
)

// CopyDatabase writes a consistent copy of the SQLite database to a new file, while
// others go on. Files that the copy names were durable before it, so they are
// copied after it. A PostgreSQL database has programs of its own for that:
// wrong_state.
func (p *Portal) CopyDatabase(ctx context.Context, path string) error {
	if p.store.postgres {
		return refuse(CodeState, "the database is PostgreSQL: copy it with pg_dump")
	}
	if _, err := p.store.write.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		return fmt.Errorf("copy database to %q: %w", path, err)
	}
	return nil
}
