// Package postgrestest runs a PostgreSQL server for the tests of one process: in
// a folder of its own, on a socket in that folder, without network.
package postgrestest

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
)

// postgres is the server. It runs as another user where the tests run as root,
// since it refuses to.
type postgres struct {
	once sync.Once
	dir  string
	cmd  *exec.Cmd
	err  error

	mu        sync.Mutex
	databases int
}

var server postgres

// Database makes an empty database and returns its address. The server starts
// with the first one; where it is not installed the test is skipped.
func Database(t testing.TB) string {
	t.Helper()
	return server.database(t)
}

// Stop ends the server, after the tests.
func Stop() { server.stop() }

// binary finds a program of PostgreSQL, which Debian keeps out of PATH.
func binary(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	all, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(all) == 0 {
		return "", fmt.Errorf("%s is not installed", name)
	}
	slices.Sort(all)
	return all[len(all)-1], nil
}

func (p *postgres) start() {
	initdb, err := binary("initdb")
	if p.err = err; err != nil {
		return
	}
	program, err := binary("postgres")
	if p.err = err; err != nil {
		return
	}
	if p.dir, p.err = os.MkdirTemp("", "pg"); p.err != nil {
		return
	}
	attr := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		name := "postgres"
		u, err := user.Lookup(name)
		if err != nil {
			u, err = user.Lookup("nobody")
		}
		if p.err = err; err != nil {
			return
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if p.err = os.Chown(p.dir, uid, gid); p.err != nil {
			return
		}
	}
	data := filepath.Join(p.dir, "data")
	c := exec.Command(initdb, "-D", data, "-U", "portal", "-A", "trust", "-N", "--locale=C", "-E", "UTF8")
	c.SysProcAttr, c.Dir = attr, p.dir
	if out, err := c.CombinedOutput(); err != nil {
		p.err = fmt.Errorf("initdb: %w: %s", err, out)
		return
	}
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if p.err = err; err != nil {
		return
	}
	p.cmd = exec.Command(program, "-D", data, "-k", p.dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200")
	p.cmd.SysProcAttr, p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = attr, p.dir, log, log
	if p.err = p.cmd.Start(); p.err != nil {
		return
	}
	db, err := sql.Open("pgx", p.address("postgres"))
	if p.err = err; err != nil {
		return
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		if err = db.PingContext(ctx); err == nil {
			return
		}
		select {
		case <-ctx.Done():
			text, _ := os.ReadFile(log.Name())
			p.err = fmt.Errorf("postgres does not answer: %w: %s", err, text)
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *postgres) address(database string) string {
	return "postgres:///" + database + "?user=portal&host=" + p.dir
}

func (p *postgres) stop() {
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it may have ended
		_ = p.cmd.Wait()                          // of a signal
	}
	if p.dir != "" {
		os.RemoveAll(p.dir)
	}
}

func (p *postgres) database(t testing.TB) string {
	t.Helper()
	p.once.Do(p.start)
	if p.err != nil {
		if p.cmd == nil && p.dir == "" {
			t.Skipf("NOT TESTED on PostgreSQL: %v; on Debian: apt-get install postgresql", p.err)
		}
		t.Fatal(p.err)
	}
	p.mu.Lock()
	p.databases++
	name := fmt.Sprintf("portal%d", p.databases)
	p.mu.Unlock()
	db, err := sql.Open("pgx", p.address("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	return p.address(name)
}
