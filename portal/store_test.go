package portal_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/internal/postgrestest"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
)

// Up and down on both databases.
func TestMigrations(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		v.Must(v.MigrateDown(t0))
		if _, err := v.Products(t0); err == nil {
			t.Error("Products after all migrations were taken back: no error, want one")
		}
		v.Must(v.Migrate(t0))
		if all, err := v.Products(t0); err != nil || len(all) != 0 {
			t.Errorf("Products after migrating again = %v, %v, want none", all, err)
		}
	})
}

// faults G19: a database that a newer program has changed is refused, and not
// touched.
func TestNewerDatabase(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		v.Must(v.SetSchema(t0, 9000))
		if _, err := portal.Open(t0, v.O); !errors.Is(err, portal.ErrNewer) || !strings.Contains(err.Error(), "schema 9000") {
			t.Errorf("Open of a newer database = %v, want ErrNewer with its schema", err)
		}
		v.Must(v.UnsetSchema(t0, 9000))
		p, err := portal.Open(t0, v.O)
		v.Must(err)
		v.Must(p.Close())
	})
}

// Two processes that start at once on one database.
func TestOpenTogether(t *testing.T) {
	v := newVendor(t, postgrestest.Database(t))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			p, err := portal.Open(t0, v.O)
			if err != nil {
				t.Error(err)
				return
			}
			p.Close()
		})
	}
	wg.Wait()
}

// O-19: many uploads at once, of the same file and of many ledgers, by two
// portals on one database: each record is booked once, each file has one receipt.
func TestUploadsTogetherBookOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		second, err := portal.Open(t0, v.O)
		v.Must(err)
		defer second.Close()
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("max-activations", "unlimited")})
		const sites, copies = 3, 4
		type upload struct {
			site int
			file []byte
		}
		var uploads []upload
		for i := range sites {
			s := v.Open(l, fmt.Sprint("site", i))
			for range copies {
				uploads = append(uploads, upload{i, s.ReportOf(0, s.Size())})
			}
		}
		run := func() [sites]map[string]int {
			var mu sync.Mutex
			replies := [sites]map[string]int{{}, {}, {}}
			var wg sync.WaitGroup
			for i, u := range uploads {
				wg.Go(func() {
					p := []*portal.Portal{v.Portal, second}[i%2]
					a, err := p.Accept(t0, bytes.NewReader(u.file), portal.AcceptOptions{})
					if err != nil || a.Refusal != nil {
						t.Errorf("upload %d: %+v, %v", i, a, err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					replies[u.site][string(a.Reply)]++
					if !a.Duplicate {
						replies[u.site]["new"]++
					}
				})
			}
			wg.Wait()
			return replies
		}
		for i, got := range run() {
			if len(got) != 2 || got["new"] != 1 {
				t.Errorf("site %d: %d different replies, %d bookings, want one of each", i, len(got)-1, got["new"])
			}
		}
		for i := range sites {
			s := v.Open(l, fmt.Sprint("site", i)).Use(int64(10 + i))
			for j := range uploads {
				if uploads[j].site == i {
					uploads[j].file = s.ReportOf(0, s.Size()) // overlaps what was accepted
				}
			}
		}
		run()
		wantBilled(v, t, 10+11+12)
		if x, _ := v.License(t0, "L-1"); x.ActiveActivations != sites || x.Activations != sites {
			t.Errorf("license: %d active of %d ever, want %d", x.ActiveActivations, x.Activations, sites)
		}
	})
}

// The last place of a license is given once.
func TestLastActivationIsGivenOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1"})
		var wg sync.WaitGroup
		codes := make([]string, 4)
		for i := range codes {
			file := v.Open(l, fmt.Sprint("site", i)).Report()
			wg.Go(func() {
				a, err := v.Accept(t0, bytes.NewReader(file), portal.AcceptOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				codes[i] = a.Code
			})
		}
		wg.Wait()
		slices.Sort(codes)
		if want := []string{"activation/limit", "activation/limit", "activation/limit", "ok"}; !slices.Equal(codes, want) {
			t.Errorf("four sites at once get %v, want %v", codes, want)
		}
	})
}

// An intake that fails before its commit has booked nothing and given nothing
// away; the same file again is taken as if it came first.
func TestFailureBeforeCommitBooksNothing(t *testing.T) {
	for _, step := range []string{"receipt", "commit"} {
		t.Run(step, func(t *testing.T) {
			onBoth(t, func(t *testing.T, v *vendor) {
				s, _ := v.Ready("L-1")
				file := s.Use(5).Report()
				before, err := v.Tables(t0)
				v.Must(err)
				broken := errors.New("disk on fire")
				v.Before(func(at string) error {
					if at == step {
						return broken
					}
					return nil
				})
				if a, err := v.Accept(t0, bytes.NewReader(file), portal.AcceptOptions{}); !errors.Is(err, broken) {
					t.Fatalf("Accept = %+v, %v, want the failure", a, err)
				}
				after, err := v.Tables(t0)
				v.Must(err)
				if !maps.Equal(before, after) {
					t.Errorf("rows %v, after the failure %v", before, after)
				}
				v.Before(func(string) error { return nil })
				if a := v.Takes(file); a.Duplicate || a.Totals[0].Value != 5 {
					t.Errorf("the file again: %+v, want it booked", a)
				}
				wantBilled(v, t, 7+5)
			})
		})
	}
}

// The process is killed at a step of an intake: nothing is half booked.
func TestKilledDuringIntake(t *testing.T) {
	if step := os.Getenv("PORTAL_TEST_KILL"); step != "" {
		killDuringIntake(t, step)
		return
	}
	for _, step := range []string{"receipt", "commit"} {
		t.Run(step, func(t *testing.T) {
			onBoth(t, func(t *testing.T, v *vendor) {
				s, _ := v.Ready("L-1")
				file := s.Use(5).Report()
				path := filepath.Join(t.TempDir(), "x.usage")
				v.Must(os.WriteFile(path, file, 0o600))
				before, err := v.Tables(t0)
				v.Must(err)
				v.Close()
				c := exec.Command(os.Args[0], "-test.run=^TestKilledDuringIntake$")
				c.Env = append(os.Environ(), "PORTAL_TEST_KILL="+step, "PORTAL_TEST_DIR="+v.O.Dir, "PORTAL_TEST_DSN="+v.O.DSN, "PORTAL_TEST_FILE="+path)
				out, err := c.CombinedOutput()
				if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != -1 {
					t.Fatalf("the child ended with %v, want it killed: %s", err, out)
				}
				v.Reopen()
				after, err := v.Tables(t0)
				v.Must(err)
				if !maps.Equal(before, after) {
					t.Errorf("rows %v, after the kill %v", before, after)
				}
				if a := v.Takes(file); a.Duplicate || a.Totals[0].Value != 5 {
					t.Errorf("the file again: %+v, want it booked", a)
				}
				wantBilled(v, t, 7+5)
			})
		})
	}
}

// killDuringIntake is the child.
func killDuringIntake(t *testing.T, step string) {
	p, err := portal.Open(t0, portal.Options{Dir: os.Getenv("PORTAL_TEST_DIR"), DSN: os.Getenv("PORTAL_TEST_DSN"),
		Passphrase: func() (string, error) { return "correct horse", nil }})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(os.Getenv("PORTAL_TEST_FILE"))
	if err != nil {
		t.Fatal(err)
	}
	p.Before(func(at string) error {
		if at == step {
			self, err := os.FindProcess(os.Getpid())
			if err != nil {
				return err
			}
			self.Kill()
			time.Sleep(time.Minute) // until the signal is there
		}
		return nil
	})
	a, err := p.Accept(t0, bytes.NewReader(file), portal.AcceptOptions{})
	t.Fatalf("Accept = %+v, %v, want the process killed", a, err)
}

// The passphrase guards the keys; what is verified needs none.
func TestWrongPassphrase(t *testing.T) {
	v := newVendor(t, "")
	s, _ := v.Ready("L-1")
	v.Close()
	v.O.Passphrase = func() (string, error) { return "wrong", nil }
	v.Reopen()
	if _, err := v.Accept(t0, bytes.NewReader(s.Use(1).Report()), portal.AcceptOptions{}); !errors.Is(err, portal.ErrPassphrase) {
		t.Errorf("Accept with a wrong passphrase = %v, want %v", err, portal.ErrPassphrase)
	}
	if _, err := v.Licenses(t0, ""); err != nil {
		t.Errorf("Licenses with a wrong passphrase: %v, want them", err)
	}
	for _, path := range keyFiles(t, v.O.Dir) {
		b, err := os.ReadFile(path)
		v.Must(err)
		if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 || bytes.Contains(b, []byte("PRIVATE")) {
			t.Errorf("%s has mode %v and %.40q, want 0600 and no private key", path, info.Mode(), b)
		}
	}
	if _, err := portal.Init(t0, v.O, "2027"); err == nil {
		t.Error("Init beside keys: no error, want them kept")
	}
}

func keyFiles(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "keys", "*.age"))
	if err != nil || len(all) != 3 {
		t.Fatalf("key files %v, %v, want three", all, err)
	}
	return all
}

// What a site or a courier calls itself goes into any database.
func TestOddNames(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("max-activations", "9")})
		for i, name := range []string{"a\x00b", "\x1b[31mred", strings.Repeat("ü", 200), "\x00"} {
			s := v.Open(l, fmt.Sprint("site", i), func(o *exporttest.Opening) {
				o.Boot = ledger.Attrs{{Name: "license", Value: "L-1"}, {Name: "name", Value: name}, {Name: "solution", Value: "renderd"}}
			})
			a := v.Takes(s.Report(), portal.AcceptOptions{Actor: name})
			if !utf8.ValidString(a.Label) || strings.ContainsAny(a.Label, "\x00\x1b") || a.Label == "" || len(a.Label) > 255 {
				t.Errorf("a site called %q has the label %q", name, a.Label)
			}
			v.Takes(s.Use(1).Report(), portal.AcceptOptions{Ledger: name})
		}
	})
}

// Files that a crash left half received go at the next start, a day later.
func TestTemporaryFilesAreSwept(t *testing.T) {
	v := newVendor(t, "")
	old, fresh := filepath.Join(v.O.Dir, "tmp", "upload-1"), filepath.Join(v.O.Dir, "tmp", "upload-2")
	for _, path := range []string{old, fresh} {
		v.Must(os.WriteFile(path, []byte("half"), 0o600))
	}
	v.Must(os.Chtimes(old, time.Now(), time.Now().Add(-25*time.Hour)))
	v.Close()
	v.Reopen()
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the old file: %v, want it gone", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("the fresh file: %v, want it there", err)
	}
}
