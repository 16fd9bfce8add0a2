package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	_ "modernc.org/sqlite" // the driver
)

// rawJob is what a raw JetStream is started with.
type rawJob struct {
	Dir    string
	Always bool // fsync before each answer, else every two minutes
}

const rawStream = "RAW"

// jetStreamChild is the body of a raw JetStream: it prints its address and runs
// until it is told to stop. Its stream stores every message by itself, as a
// program would that publishes its events to JetStream directly.
func jetStreamChild(arg string) error {
	var j rawJob
	if err := json.Unmarshal([]byte(arg), &j); err != nil {
		return err
	}
	srv, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, JetStream: true, StoreDir: j.Dir, SyncAlways: j.Always,
		NoSigs: true, NoLog: true, MaxPayload: 1 << 20, NoSublistCache: true})
	if err != nil {
		return err
	}
	go srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		return fmt.Errorf("JetStream is not ready")
	}
	addr := srv.Addr().(*net.TCPAddr).String()
	nc, err := nats.Connect("nats://" + addr)
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	_, err = js.CreateStream(context.Background(), jetstream.StreamConfig{Name: rawStream, Subjects: []string{"usage.>"}, Storage: jetstream.FileStorage,
		Discard: jetstream.DiscardNew, MaxBytes: 16 << 30, Duplicates: 100 * time.Millisecond})
	nc.Close()
	if err != nil {
		return err
	}
	fmt.Println(addr)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	<-stop
	srv.Shutdown()
	srv.WaitForShutdown()
	return nil
}

// confirmRaw fails unless the stream holds n messages.
func (s *server) confirmRaw(ctx context.Context, n int) error {
	nc, err := nats.Connect("nats://" + s.addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	st, err := js.Stream(ctx, rawStream)
	if err != nil {
		return err
	}
	if got := st.CachedInfo().State.Msgs; got != uint64(n) {
		return fmt.Errorf("the stream holds %d messages, want %d", got, n)
	}
	return nil
}

// sqliteJob is what a SQLite process does.
type sqliteJob struct {
	Dir    string
	Events int
	PerTx  int // events a transaction
}

// warm returns how many events come before those that are measured.
func (j *sqliteJob) warm() int { return max(j.Events/10/j.PerTx, 1) * j.PerTx }

// sqliteChild stores events in SQLite as a careful program would: a unique key,
// the total kept in the same transaction, every commit fsynced before it
// returns. Large transactions stand beside numbered batches, so their key is the
// number of the event, which is SQLite's fastest key; single ones have the ids
// of the JSON events. It prints a jobResult.
func sqliteChild(arg string) error {
	var j sqliteJob
	if err := json.Unmarshal([]byte(arg), &j); err != nil {
		return err
	}
	w, err := openSQLite(j)
	if err != nil {
		return err
	}
	defer w.db.Close()
	warm := j.warm()
	if err := w.write(0, warm); err != nil {
		return err
	}
	before, err := processCPU(os.Getpid())
	if err != nil {
		return err
	}
	res := jobResult{StartNS: time.Now().UnixNano()}
	if err := w.write(warm, warm+j.Events); err != nil {
		return err
	}
	res.EndNS = time.Now().UnixNano()
	after, err := processCPU(os.Getpid())
	if err != nil {
		return err
	}
	res.CPU = after - before
	if err := w.confirm(warm + j.Events); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(res)
}

// sqliteRows is how many rows one INSERT has at most: fewer, larger statements
// are SQLite's fastest way in.
const sqliteRows = 100

type sqliteWriter struct {
	db    *sql.DB
	perTx int
	few   *sql.Stmt // of min(sqliteRows, perTx) rows
	total *sql.Stmt
	args  []any
}

func openSQLite(j sqliteJob) (*sqliteWriter, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(j.Dir, "events.db")+"?_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=cache_size(-65536)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	key := "id TEXT PRIMARY KEY"
	if j.PerTx > 1 {
		key = "id INTEGER PRIMARY KEY"
	}
	for _, q := range []string{
		`CREATE TABLE event (` + key + `, node TEXT, meter TEXT, at INTEGER, quantity INTEGER, user TEXT, host TEXT, ip TEXT, dimensions TEXT)`,
		`CREATE TABLE total (node TEXT, meter TEXT, window INTEGER, quantity INTEGER, count INTEGER, PRIMARY KEY (node, meter, window)) WITHOUT ROWID`,
	} {
		if _, err := db.Exec(q); err != nil {
			return nil, err
		}
	}
	w := &sqliteWriter{db: db, perTx: j.PerTx}
	rows := min(sqliteRows, j.PerTx)
	if w.few, err = db.Prepare(`INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?)` + strings.Repeat(`,(?,?,?,?,?,?,?,?,?)`, rows-1)); err != nil {
		return nil, err
	}
	w.total, err = db.Prepare(`INSERT INTO total VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET quantity = quantity + excluded.quantity, count = count + excluded.count`)
	return w, err
}

// write stores events from..to-1, which are full transactions.
func (w *sqliteWriter) write(from, to int) error {
	for i := from; i < to; i += w.perTx {
		if err := w.transaction(i, i+w.perTx); err != nil {
			return err
		}
	}
	return nil
}

func (w *sqliteWriter) transaction(from, to int) error {
	tx, err := w.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	now, few, sum := time.Now(), tx.Stmt(w.few), int64(0)
	for i := from; i < to; i += sqliteRows {
		w.args = w.args[:0]
		for k := i; k < min(i+sqliteRows, to); k++ {
			var id any = int64(k)
			if w.perTx == 1 {
				id = strconv.FormatUint(eventID(k, false), 16)
			}
			w.args = append(w.args, id, "node-01", meterID, now.UnixMilli(), eventQuantity(k), eventUser(k), eventHost(k), "10.0.0.7", `{"format":"pdf","queue":"a"}`)
			sum += eventQuantity(k)
		}
		if _, err := few.Exec(w.args...); err != nil {
			return err
		}
	}
	if _, err = tx.Stmt(w.total).Exec("node-01", meterID, now.Truncate(15*time.Minute).Unix(), sum, to-from); err != nil {
		return err
	}
	return tx.Commit()
}

// confirm fails unless the database holds events 0 to n-1, each once.
func (w *sqliteWriter) confirm(n int) error {
	var rows, sum, total int64
	if err := w.db.QueryRow(`SELECT count(*), sum(quantity), (SELECT sum(quantity) FROM total) FROM event`).Scan(&rows, &sum, &total); err != nil {
		return err
	}
	if rows != int64(n) || sum != quantityOf(n) || total != sum {
		return fmt.Errorf("SQLite holds %d events of %d, total %d, want %d of %d", rows, sum, total, n, quantityOf(n))
	}
	_, err := w.db.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`)
	return err
}

// sqliteRate measures SQLite in a process of its own, without any network.
func (b *bench) sqliteRate(ctx context.Context, r *row) (values, error) {
	dir, err := b.folder()
	if err != nil {
		return nil, err
	}
	n := max(int(float64(b.events)*r.share)/r.perTx, 1) * r.perTx
	j := sqliteJob{Dir: dir, Events: n, PerTx: r.perTx}
	res, err := b.child(ctx, "sqlite", j)
	if err != nil {
		return nil, err
	}
	size, err := folderBytes(dir)
	all := n + j.warm()
	return values{
		perSecond: float64(n) / (float64(res.EndNS-res.StartNS) / 1e9),
		serverCPU: res.CPU * 1e6 / float64(n),
		diskBytes: float64(size) / float64(all),
	}, joinRemove(err, dir)
}

// fsyncLatency measures what one small append with fsync costs on this disk.
func (b *bench) fsyncLatency(ctx context.Context, _ *row) (values, error) {
	f, err := os.CreateTemp(b.tmp, "fsync-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const n = 2000
	ms := make([]float64, n)
	for i := range ms {
		start := time.Now()
		if _, err := f.Write(make([]byte, 128)); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		ms[i] = float64(time.Since(start).Microseconds()) / 1000
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	sort.Float64s(ms)
	return values{fsyncP50: ms[n/2], fsyncP99: ms[n*99/100]}, nil
}
