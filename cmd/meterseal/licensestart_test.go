package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/events/stream/streamtest"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

// vendorRuns runs the vendor of the stories.
func vendorRuns(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("vendor")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Fatalf("vendor %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// licensedSite is a site through its life with the vendor: what the data
// directory was at each stage, and the documents.
type licensedSite struct {
	*testSite
	folder string
}

func (l *licensedSite) file(name string) string { return filepath.Join(l.folder, name) }

// keep copies the data directory of the stopped site.
func (l *licensedSite) keep(stage string) {
	l.t.Helper()
	copyTree(l.t, l.dir, l.file(stage))
}

var licensedMeter = []string{"--meter", "documents.processed:count"}

// newLicensedSite makes a license key and a site that uses it.
func newLicensedSite(t *testing.T, key ...string) *licensedSite {
	t.Helper()
	l := &licensedSite{folder: t.TempDir()}
	vendorRuns(t, slices.Concat([]string{"key", "--out", l.file("acme.key")}, licensedMeter, key)...)
	l.testSite = newTestSite(t, "--license-key-file", l.file("acme.key"), "--solution-name", "renderd", "--store-max-size", "1GiB")
	return l
}

// report exports a report, and the vendor answers it.
func (l *licensedSite) report(name string, reply ...string) {
	l.t.Helper()
	mustProgram(l.t, "report", "export", "--http", l.http, "--close-now", "--out", l.file(name+".usage"))
	vendorRuns(l.t, slices.Concat([]string{"reply", "--out", l.file(name + ".reply")}, licensedMeter, reply, []string{l.file(name + ".usage")})...)
}

func (l *licensedSite) imports(name string) {
	l.t.Helper()
	mustProgram(l.t, "import", "--http", l.http, l.file(name+".reply"))
}

// boundKey returns the license in force as one line in a file.
func (l *licensedSite) boundKey(name string) {
	l.t.Helper()
	if err := os.WriteFile(l.file(name), []byte(mustProgram(l.t, "license", "show", "--key", "--http", l.http)), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// Requirements 4.2 as far as licenses are concerned, P-02, P-04, P-05, P-06, P-13, P-28,
// P-29, L-14, L-21, YD-5, O-25: each refusal to start has its own code and exit
// code, names the values at fault, gives a way out, and is the same the second
// time. Nothing is made anew.
func TestLicenseRefusalsToStart(t *testing.T) {
	base := newLicensedSite(t)
	base.start()
	base.send("a")
	base.report("first")
	base.stop()
	base.keep("unbound")
	base.start()
	base.imports("first")
	base.boundKey("first.key")
	base.stop()
	base.keep("first")
	base.start()
	base.send("b")
	base.report("second", "--serial", "2")
	base.imports("second")
	base.boundKey("second.key")
	base.report("third", "--serial", "3", "--pin", "3")
	base.stop()
	other := newLicensedSite(t)
	other.start()
	other.report("first")
	other.imports("first")
	other.boundKey("first.key")
	other.stop()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	anotherVendor, err := ledger.NewSecretKey("other.example/license/2026", ledger.KeyEd25519, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	key := func(args ...string) func(t *testing.T, s *testSite) {
		return func(t *testing.T, s *testSite) {
			path := filepath.Join(t.TempDir(), "x.key")
			vendorRuns(t, slices.Concat([]string{"key", "--out", path}, args)...)
			s.args[1] = path
		}
	}
	line := func(change func(string) string) func(t *testing.T, s *testSite) {
		return func(t *testing.T, s *testSite) {
			b, err := os.ReadFile(base.file("acme.key"))
			if err != nil {
				t.Fatal(err)
			}
			s.args[1] = filepath.Join(t.TempDir(), "x.key")
			if err := os.WriteFile(s.args[1], []byte(change(string(b))), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := func(name string) func(t *testing.T, s *testSite) {
		return func(_ *testing.T, s *testSite) { s.args[1] = base.file(name) }
	}
	for _, tc := range []struct {
		name   string
		from   string // stage of the data directory; "": none
		change func(t *testing.T, s *testSite)
		code   string
		exit   int
		says   []string
	}{
		{"KeyAlone", "", func(_ *testing.T, s *testSite) { s.args = slices.Delete(s.args, 2, 4) }, "config_invalid", cli.ExitUsage, []string{"license.key_file is set, license.solution_name is not"}},
		{"NameAlone", "", func(_ *testing.T, s *testSite) { s.args = slices.Delete(s.args, 0, 2) }, "config_invalid", cli.ExitUsage, []string{"license.solution_name is set, license.key is not"}},
		{"BothKeys", "", func(_ *testing.T, s *testSite) { s.args = append(s.args, "--license-key", "ms1.x") }, "config_invalid", cli.ExitUsage, []string{"license.key and license.key_file"}},
		{"UserWithoutAnchor", "", func(_ *testing.T, s *testSite) {
			s.args[0], s.args[1] = "--license-id", "L-1"
			s.args = append(s.args, "--license-user", "ana")
		}, "config_invalid", cli.ExitUsage, []string{"license.vendor_keys"}},
		{"KeyFileGone", "", func(_ *testing.T, s *testSite) { s.args[1] = "/no/such/file" }, "config_invalid", cli.ExitUsage, []string{"/no/such/file"}},
		{"NoLongerConfigured", "first", func(_ *testing.T, s *testSite) { s.args = s.args[4:] }, "config_invalid", cli.ExitUsage, []string{"L-1", "none is configured"}},
		{"StoreNone", "", func(_ *testing.T, s *testSite) { s.dir = "none" }, "store_missing", cli.ExitStore, []string{"no store"}},
		{"Unreachable", "", func(_ *testing.T, s *testSite) {
			s.args = append(s.args, "--nats-url", "nats://"+closed.Addr().String(), "--store-sync-always", "true", "--store-start-wait", "1s")
		}, "store_unreachable", cli.ExitStore, []string{closed.Addr().String()}},
		{"Denied", "", func(t *testing.T, s *testSite) {
			url := streamtest.Server(t, streamtest.ServerOptions{Deny: []string{"$JS.API.STREAM.CREATE.>", "$JS.API.STREAM.INFO.>"}})
			s.args = append(s.args, "--nats-url", url, "--store-sync-always", "true", "--store-start-wait", "2s")
		}, "store_no_permission", cli.ExitStore, []string{"$JS.API.STREAM.INFO.USAGE"}},
		{"OtherName", "", func(_ *testing.T, s *testSite) { s.args[3] = "Renderd" }, "solution_name_mismatch", cli.ExitLicense, []string{`"renderd"`, `"Renderd"`}},
		{"OtherNameLater", "first", func(_ *testing.T, s *testSite) { s.args[3] = "renderd2" }, "solution_name_mismatch", cli.ExitLicense, []string{`"renderd"`, `"renderd2"`}},
		{"KeyCut", "", line(func(k string) string { return k[:len(k)/2] }), "license_key_cut", cli.ExitLicense, []string{"cut or mistyped"}},
		{"KeyOfNextVersion", "", line(func(k string) string { return "ms2" + k[3:] }), "upgrade_needed", cli.ExitVersion, []string{"ms2"}},
		{"NotAKey", "", line(func(string) string { return "hello" }), "not_a_license", cli.ExitLicense, []string{"hello"}},
		{"SignedByReplyKey", "", key("--meter", "documents.processed:count", "--signed-by", "reply"), "license_invalid", cli.ExitLicense, []string{"L-1"}},
		{"OtherAnchor", "", func(_ *testing.T, s *testSite) {
			s.args = append(s.args, "--vendor-key", anotherVendor.VKey().String())
		}, "license_invalid", cli.ExitLicense, []string{"L-1"}},
		{"OtherVendorLater", "first", key("--vendor", "other", "--meter", "documents.processed:count"), "license_invalid", cli.ExitLicense, []string{"L-1"}},
		{"NewerProgram", "", key("--min-version", "99.1.0"), "upgrade_needed", cli.ExitVersion, []string{"99.1.0", version}},
		{"OtherProductLine", "", func(t *testing.T, s *testSite) {
			key("--product-line", "render13")(t, s)
			s.args = append(s.args, "--license-product-line", "render14")
		}, "new_license_needed", cli.ExitLicense, []string{"render13", "render14"}},
		{"MeterConflict", "", func(_ *testing.T, s *testSite) { s.args = append(s.args, "--meter", "documents.processed:sum") }, "meter_conflict", cli.ExitUsage, []string{"documents.processed is sum", "count"}},
		{"OtherSitesLicense", "first", func(_ *testing.T, s *testSite) { s.args[1] = other.file("first.key") }, "wrong_site_key", cli.ExitLicense, []string{other.key, base.key}},
		{"OtherSitesLicenseFirst", "", func(_ *testing.T, s *testSite) { s.args[1] = other.file("first.key") }, "no_history", cli.ExitHistory, []string{other.key}},
		{"AllDeleted", "", file("second.key"), "no_history", cli.ExitHistory, []string{base.key}},
		{"HistoryDeleted", "first", func(t *testing.T, s *testSite) { remove(t, s.dir, "stream", "projections") }, "no_history", cli.ExitHistory, []string{"restore --help"}},
		{"SiteKeyGone", "first", func(t *testing.T, s *testSite) { remove(t, s.dir, "keys/site.key") }, "site_key_missing", cli.ExitHistory, []string{"site.key"}},
		{"AnchorDamaged", "first", func(t *testing.T, s *testSite) { truncate(t, filepath.Join(s.dir, "keys", "vendor.keys"), 2) }, "site_key_missing", cli.ExitHistory, []string{"vendor.keys"}},
		{"OldDisk", "unbound", file("second.key"), "ledger_behind_pin", cli.ExitHistory, []string{"the ledger ends at", "the license pins"}},
		{"Fork", "first", func(t *testing.T, s *testSite) {
			path := filepath.Join(t.TempDir(), "x.key")
			vendorRuns(t, "bound-key", "--out", path, "--serial", "3", "--pin", "3", "--meter", "documents.processed:count", base.file("third.usage"))
			s.args[1] = path
		}, "ledger_off_pin", cli.ExitHistory, []string{"at size 3"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newTestSite(t, slices.Clone(base.args)...)
			if tc.from != "" {
				copyTree(t, base.file(tc.from), s.dir)
			}
			tc.change(t, s)
			r := s.tryStart()
			if r == nil {
				t.Fatal("it started")
			}
			if r.code() != tc.code || r.exit != tc.exit || !strings.Contains(r.text, "meterseal: hint: ") {
				t.Errorf("refused with %d, %s: %s\nwant %d, %s with a hint", r.exit, r.code(), r.text, tc.exit, tc.code)
			}
			for _, says := range tc.says {
				if !strings.Contains(r.text, says) {
					t.Errorf("refused with %s\nwant it to say %q", r.text, says)
				}
			}
			if tc.from == "" && hasHistory(s.dir) && tc.exit != cli.ExitStore {
				t.Errorf("%s holds a history after the refusal", s.dir)
			}
			if again := s.tryStart(); again == nil || again.code() != tc.code {
				t.Errorf("the second start: %+v, want %s again", again, tc.code)
			}
		})
	}
}

// P-04: with a license the default folder is no place for usage.
func TestP04DefaultFolder(t *testing.T) {
	l := newLicensedSite(t)
	cmd := exec.Command(meterseal(t), slices.Concat([]string{"serve", "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0"}, l.args)...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != cli.ExitStore || !strings.Contains(string(out), "[store_missing]") {
		t.Errorf("serve without --data: %v, %s; want exit code %d, store_missing", err, out, cli.ExitStore)
	}
	if list, _ := os.ReadDir(cmd.Dir); len(list) > 0 {
		t.Errorf("it made %v", list)
	}
}

// The origin of a ledger that begins under a license has the vendor's domain and
// the license's id; that of an evaluation stays when a license comes, and so do
// key and history.
func TestOriginOfLicensedLedger(t *testing.T) {
	l := newLicensedSite(t, "--id", "L-2026-9")
	l.start()
	if want := vectors.Domain + "/L-2026-9/"; !strings.HasPrefix(l.key, want) {
		t.Errorf("ledger = %s, want %s…", l.key, want)
	}
	l.stop()
	eval := stopped(t, 2)
	s := newTestSite(t, l.args...)
	s.dir = eval.dir
	s.start()
	if s.key != eval.key || !strings.HasPrefix(s.key, "eval.invalid/eval/") {
		t.Errorf("ledger = %s, want %s", s.key, eval.key)
	}
	if got := s.total("documents.processed"); got != 3 {
		t.Errorf("total = %d, want 3", got)
	}
	s.send("more")
	s.stop()
}
