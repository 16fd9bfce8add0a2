package portal

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	_ "modernc.org/sqlite"

	"github.com/meterseal/meterseal/ledger"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// databaseFile is the SQLite database in Options.Dir.
const databaseFile = "portal.db"

// Connections of one process.
const (
	postgresConnections = 16
	readConnections     = 8 // of SQLite, beside the one that writes
)

// A store is the SQL database in one of two dialects. Statements are written
// with ?; conn spells them for PostgreSQL, and nothing else differs.
type store struct {
	write, read *sql.DB // SQLite: one connection that writes, several that read
	postgres    bool
}

// openStore opens the database and brings its schema up to date. dsn is that of
// Options.
func openStore(ctx context.Context, dir, dsn string) (*store, error) {
	s := &store{}
	var err error
	switch {
	case dsn == "", strings.HasPrefix(dsn, "sqlite:"):
		path := strings.TrimPrefix(dsn, "sqlite:")
		if path == "" {
			path = filepath.Join(dir, databaseFile)
		}
		path = url.PathEscape(path)
		path = strings.ReplaceAll(path, "%2F", "/")
		const pragmas = "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"
		if s.write, err = sql.Open("sqlite", "file:"+path+pragmas+"&_txlock=immediate"); err == nil {
			s.write.SetMaxOpenConns(1)
			if s.read, err = sql.Open("sqlite", "file:"+path+pragmas+"&_pragma=query_only(1)"); err == nil {
				s.read.SetMaxOpenConns(readConnections)
			}
		}
	case strings.HasPrefix(dsn, "postgres://"), strings.HasPrefix(dsn, "postgresql://"):
		s.postgres = true
		if s.write, err = sql.Open("pgx", dsn); err == nil {
			s.write.SetMaxOpenConns(postgresConnections)
			s.read = s.write
		}
	default:
		return nil, fmt.Errorf("open portal: the address of the database begins with postgres:// or sqlite:, not %.12q", dsn)
	}
	if err == nil {
		err = s.migrate(ctx)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("open portal database: %w", err)
	}
	return s, nil
}

func (s *store) close() error {
	var errs []error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// migrations returns what changes the schema. On PostgreSQL an advisory lock
// lets one process at a time do so.
func (s *store) migrations() (*goose.Provider, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	dialect, options := goose.DialectSQLite3, []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if s.postgres {
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 120))
		if err != nil {
			return nil, err
		}
		dialect, options = goose.DialectPostgres, append(options, goose.WithSessionLocker(locker))
	}
	return goose.NewProvider(dialect, s.write, files, options...)
}

func (s *store) migrate(ctx context.Context) error {
	m, err := s.migrations()
	if err != nil {
		return err
	}
	if err := s.checkSchema(ctx, m); err != nil {
		return err
	}
	_, err = m.Up(ctx)
	return err
}

// checkSchema refuses a database that a newer program has changed, before anything
// is written to it: goose would go on with the statements of an older one.
func (s *store) checkSchema(ctx context.Context, m *goose.Provider) error {
	has := int64(0) // of a database without tables
	row := s.write.QueryRowContext(ctx, "SELECT COALESCE(MAX(version_id), 0) FROM "+goose.DefaultTablename)
	if err := row.Scan(&has); err != nil && !noTable(err) {
		return err
	}
	sources := m.ListSources()
	if reads := sources[len(sources)-1].Version; has > reads {
		return fmt.Errorf("%w: it has schema %d, this program reads up to %d", ErrNewer, has, reads)
	}
	return nil
}

// noTable tells whether a statement failed since its table is not there.
func noTable(err error) bool {
	text := err.Error()
	return strings.Contains(text, "no such table") || strings.Contains(text, "SQLSTATE 42P01")
}

// conn runs statements, in a transaction or outside one.
type conn struct {
	on interface {
		ExecContext(context.Context, string, ...any) (sql.Result, error)
		QueryContext(context.Context, string, ...any) (*sql.Rows, error)
		QueryRowContext(context.Context, string, ...any) *sql.Row
	}
	postgres bool
}

// reader returns a conn for reading.
func (s *store) reader() conn { return conn{s.read, s.postgres} }

// tx runs f in a transaction, which is committed if f returns nil. What f reads
// may change under it on PostgreSQL until it holds the row (see hold).
func (s *store) tx(ctx context.Context, f func(conn) error) error {
	t, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer t.Rollback()
	if err := f(conn{t, s.postgres}); err != nil {
		return err
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// snapshot lets f read one state of the database.
func (s *store) snapshot(ctx context.Context, f func(conn) error) error {
	o := &sql.TxOptions{ReadOnly: true}
	if s.postgres {
		o.Isolation = sql.LevelRepeatableRead
	}
	t, err := s.read.BeginTx(ctx, o)
	if err != nil {
		return fmt.Errorf("begin to read: %w", err)
	}
	defer t.Rollback()
	return f(conn{t, s.postgres})
}

// spell writes ? as $1, $2, … for PostgreSQL. No statement has a ? in a string.
func (c conn) spell(query string) string {
	if !c.postgres {
		return query
	}
	var b strings.Builder
	n := 0
	for part := range strings.SplitSeq(query, "?") {
		if n > 0 {
			b.WriteString("$" + strconv.Itoa(n))
		}
		b.WriteString(part)
		n++
	}
	return b.String()
}

// exec returns how many rows were changed.
func (c conn) exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := checkTexts(args); err != nil {
		return 0, err
	}
	r, err := c.on.ExecContext(ctx, c.spell(query), args...)
	if err != nil {
		return 0, fmt.Errorf("%.60s: %w", query, err)
	}
	return r.RowsAffected()
}

// checkTexts refuses what PostgreSQL takes for no text, on both databases alike:
// ids and searches come as people and programs sent them.
func checkTexts(args []any) error {
	for _, a := range args {
		if s, ok := a.(string); ok && (!utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0) {
			return refuse(CodeBadRequest, "%.40q is not a text in UTF-8", s)
		}
	}
	return nil
}

// get scans one row into dest; found is false if there is none.
func (c conn) get(ctx context.Context, query string, args []any, dest ...any) (found bool, err error) {
	if err := checkTexts(args); err != nil {
		return false, err
	}
	err = c.on.QueryRowContext(ctx, c.spell(query), args...).Scan(dest...)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("%.60s: %w", query, err)
	}
	return true, nil
}

// list scans every row of a query.
func list[T any](ctx context.Context, c conn, scan func(scan func(...any) error) (T, error), query string, args ...any) ([]T, error) {
	if err := checkTexts(args); err != nil {
		return nil, err
	}
	rows, err := c.on.QueryContext(ctx, c.spell(query), args...)
	if err != nil {
		return nil, fmt.Errorf("%.60s: %w", query, err)
	}
	defer rows.Close()
	out := []T{}
	for rows.Next() {
		v, err := scan(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("%.60s: %w", query, err)
		}
		out = append(out, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%.60s: %w", query, err)
	}
	return out, nil
}

// errMoved is returned by hold when another transaction changed the row first:
// read again, decide again.
var errMoved = errors.New("changed meanwhile")

// hold raises the version of a row, which it then holds to the end of the
// transaction: two changes of one ledger or license come one after the other, on
// both databases. table and key are of our own making.
func (c conn) hold(ctx context.Context, table, key, id string, version int64) error {
	n, err := c.exec(ctx, "UPDATE "+table+" SET version = version + 1 WHERE "+key+" = ? AND version = ?", id, version)
	if err == nil && n == 0 {
		err = errMoved
	}
	return err
}

// audit notes who did what; before and after are shown as JSON.
func (c conn) audit(ctx context.Context, at time.Time, actor, action, object string, before, after any) error {
	b, err := json.Marshal(before)
	if err != nil {
		return err
	}
	a, err := json.Marshal(after)
	if err != nil {
		return err
	}
	_, err = c.exec(ctx, "INSERT INTO audit (id, time, actor, action, object, before, after) VALUES (?, ?, ?, ?, ?, ?, ?)",
		newID(""), at.Unix(), actor, action, object, string(b), string(a))
	return err
}

var lastID struct {
	sync.Mutex
	ms uint64
}

// newID returns a new name: it ascends within a process, and by time between
// them. 48 bits of milliseconds, 48 random ones.
func newID(prefix string) string {
	lastID.Lock()
	ms := max(uint64(time.Now().UnixMilli()), lastID.ms+1)
	lastID.ms = ms
	lastID.Unlock()
	var b [12]byte
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	rand.Read(b[6:])
	return prefix + strings.ToLower(ledger.Base32(b[:]))
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// toJSON spells v; what is put into it can always be spelled.
func toJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
