package tidy

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// may says what the released files of a package may import besides the standard
// library, and what its tests may import beyond that. Ours are folders, outside
// are import paths; one that ends in "/..." means everything below it too.
//
// The table is the third lock between the two sides and the shape of the
// product at once: imports point down the path of an event and never back
// (docs/architecture.md). A new import belongs into it on purpose or not at all.
type may struct {
	pkg           string
	what          string
	ours, outside []string
	tests         []string // more for tests: ours and outside together
}

const (
	pebbleModule = "github.com/cockroachdb/pebble/v2"
	natsServer   = "github.com/nats-io/nats-server/v2"
	natsGo       = "github.com/nats-io/nats.go"
	natsJWT      = "github.com/nats-io/jwt/v2"
	natsKeys     = "github.com/nats-io/nkeys"
	sumdbNote    = "golang.org/x/mod/sumdb/note"
	sqliteDriver = "modernc.org/sqlite"
	zstdPackage  = "github.com/klauspost/compress/zstd"
	goTPM        = "github.com/google/go-tpm"
	huma         = "github.com/danielgtaylor/huma/v2"
)

var policy = []may{
	{"events", "what a usage event is: type, limits, encodings", nil, []string{zstdPackage}, nil},
	{"ledger", "records, tree, checkpoints, proofs", []string{"events"},
		[]string{"golang.org/x/mod/sumdb/...", "github.com/transparency-dev/formats/...", "filippo.io/mldsa"},
		[]string{"github.com/transparency-dev/merkle/..."}},
	{"license", "the license document: parse, verify, decide; cannot sign", []string{"events", "ledger"}, nil, []string{"export"}},
	{"export", "usage reports: write, verify, render; replies and codes", []string{"events", "ledger", "license"},
		[]string{sumdbNote, zstdPackage, sqliteDriver, "filippo.io/age", "github.com/boombuler/barcode/qr"}, nil},
	{"internal/reportgen", "random usage reports and edits of them, for tests of verifiers", []string{"events", "export", "export/exporttest", "internal/vectors", "ledger"}, []string{sumdbNote}, nil},
	{"export/exporttest", "a ledger in memory, for tests", []string{"events", "ledger", "export"}, []string{sumdbNote}, nil},
	{"events/stream", "keeps events durably in one order", []string{"events"}, []string{natsServer + "/...", natsGo + "/...", natsKeys}, nil},
	{"events/stream/streamtest", "streams in virtual time, for tests", nil, []string{natsServer + "/..."}, []string{"events", "events/stream"}},
	{"projections", "folds batches into totals, windows, quotas", []string{"events", "ledger", "license", "internal/durablefs"},
		[]string{pebbleModule + "/...", "github.com/cespare/xxhash/v2"}, []string{"events/stream"}},
	{"console", "site HTTP API", []string{"docs", "events", "ledger", "license", "export", "internal/access", "internal/exporter", "internal/httpapi", "projections"},
		[]string{huma + "/...", "golang.org/x/sync/errgroup"}, []string{zstdPackage}},
	{"console/web", "the site in a browser", []string{"console", "docs", "export", "internal/access", "internal/chart", "internal/exporter", "internal/pages", "license", "projections"}, nil, []string{"events", "ledger"}},
	{"cmd/meterseal", "wiring of the site", []string{"console", "console/web", "events", "events/stream", "examples/traces", "export", "internal/access", "internal/cli", "internal/datadir", "internal/exporter", "internal/gendocs", "internal/machine", "internal/mailer", "internal/systemd", "internal/testclock", "internal/tpm", "ledger", "license", "projections"},
		[]string{natsGo + "/...", sumdbNote, zstdPackage, "golang.org/x/sync/errgroup", "golang.org/x/term", "github.com/goccy/go-yaml/...",
			"github.com/prometheus/client_golang/...", "github.com/schollz/progressbar/v3", "github.com/spf13/cobra"}, []string{"internal/fakelog", "meter", "portal"}},
	{"portal", "the vendor's side: licenses, intake, replies", []string{"events", "export", "ledger", "license", "portal/finding", "internal/credential", "portal/internal/issue"},
		[]string{sqliteDriver, "github.com/jackc/pgx/v5/...", "github.com/pressly/goose/v3/...", "filippo.io/age"}, []string{"examples/traces"}},
	{"portal/internal/issue", "the vendor's private keys", []string{"ledger"}, []string{"filippo.io/age"}, nil},
	{"portal/portaltest", "a vendor, and sites that report to it, for tests", []string{"export", "export/exporttest", "internal/postgrestest", "ledger", "license", "portal"}, nil, nil},
	{"portal/notify", "webhooks and mails of the portal", []string{"internal/mailer", "portal"}, nil, nil},
	{"portal/finding", "what is odd in accepted usage", nil, nil, []string{"examples/traces"}},
	{"portal/gate", "who sends a request to the portal, and what he may do", []string{"portal", "internal/credential"},
		[]string{"github.com/coreos/go-oidc/v3/oidc", "github.com/go-webauthn/webauthn/...", "golang.org/x/oauth2"}, []string{"internal/browsertest", "portal/api", "portal/portaltest", "portal/web"}},
	{"internal/credential", "passwords, one-time codes, random secrets", nil, []string{"golang.org/x/crypto/argon2"}, nil},
	{"portal/api", "the portal's JSON API", []string{"export", "internal/httpapi", "license", "portal", "portal/finding", "portal/gate"},
		[]string{zstdPackage}, []string{huma, "ledger"}},
	{"portal/web/verify", "the page that verifies documents in a browser", nil, nil, []string{"export", "ledger", "license", sumdbNote}},
	{"portal/web", "the portal in a browser", []string{"docs", "events", "export", "ledger", "license", "portal", "internal/pages", "internal/chart", "portal/finding", "portal/gate", "portal/web/verify"}, []string{"github.com/boombuler/barcode/...", "github.com/makiuchi-d/gozxing/..."}, []string{"internal/browsertest", "portal/api", "internal/credential"}},
	{"cmd/meterseal-vendor", "wiring of the vendor's side", []string{"export", "internal/cli", "internal/gendocs", "internal/mailer", "internal/systemd", "internal/testclock", "ledger", "license", "portal", "portal/api", "portal/gate", "portal/notify", "portal/web"},
		[]string{"golang.org/x/term", "github.com/goccy/go-yaml/...", "github.com/prometheus/client_golang/...", "github.com/spf13/cobra"}, []string{zstdPackage}},
	{"meter", "what applications import: record, spool, seats, allowances", []string{"events", "ledger"}, []string{natsGo + "/...", "go.opentelemetry.io/otel/metric/...", "go.opentelemetry.io/otel/attribute"}, []string{"events/stream"}},
	{"meter/metertest", "a meter without a daemon, for tests of applications", []string{"events", "meter"}, nil, nil},
	{"examples/meter", "an application that counts pages", []string{"meter"}, nil, []string{"meter/metertest"}},
	{"docs", "pages that a daemon serves", nil, []string{"github.com/yuin/goldmark/..."}, nil},
	{"examples/clients", "applications in other languages, and their tests", nil, nil, nil},
	{"examples/traces", "recorded traces, for demo and tests", nil, nil, nil},
	{"examples/verify", "a second verifier, in Python, and its tests", nil, nil, []string{"events", "export", "ledger", sumdbNote}},
	{"examples/drill", "what comes after the machine of a site burned, as a story", nil, nil, []string{"meter"}},
	{"examples/year", "one year of an offline license, as a story", nil, nil, []string{"internal/postgrestest"}},
	{"bench", "canonical workloads and their peers", []string{"events", "events/stream", "export", "export/exporttest", "ledger", "meter", "projections"},
		[]string{natsServer + "/...", natsGo + "/...", sqliteDriver, "github.com/HdrHistogram/hdrhistogram-go"}, nil},
	{"internal/access", "nodes with their credentials, tokens and operators with their rights", []string{"events", "internal/credential", "ledger"}, []string{natsJWT, natsKeys}, nil},
	{"internal/browsertest", "a real Chromium, for tests of pages", nil, []string{"github.com/chromedp/..."}, nil},
	{"internal/chart", "usage drawn as SVG, with its numbers", nil, nil, nil},
	{"internal/pages", "what the pages of site and portal share", []string{"internal/chart"}, nil, nil},
	{"internal/cli", "what the two programs have in common at the command line", nil, []string{"golang.org/x/term", "github.com/spf13/cobra"}, nil},
	{"internal/crashtest", "power cuts and killed processes, for tests", nil, []string{pebbleModule + "/vfs/..."}, []string{pebbleModule}},
	{"internal/datadir", "the version of a data directory", []string{"internal/cli"}, nil, nil},
	{"internal/doctest", "runs every command and every configuration of the documentation", nil, nil, []string{"github.com/nats-io/nats.go", "golang.org/x/sys/unix"}},
	{"internal/durablefs", "order of Pebble's marker files", nil, []string{pebbleModule + "/vfs"}, []string{pebbleModule}},
	{"internal/fakelog", "a log that misbehaves, for tests", []string{"events/stream", "events"}, nil, nil},
	{"internal/gendocs", "man pages, completion and schema of a program, for packages", nil,
		[]string{"github.com/cpuguy83/go-md2man/v2/md2man", "github.com/spf13/cobra/...", "github.com/spf13/pflag"}, nil},
	{"internal/httpapi", "one table of routes serves and describes an HTTP API", nil, []string{huma + "/...", zstdPackage}, nil},
	{"internal/machine", "bindings, virtual machine or container, clocks", nil, []string{"golang.org/x/sys/unix"}, nil},
	{"internal/exporter", "exports usage reports by a schedule, each period once, whole files only", []string{"export", "internal/cli", "internal/mailer", "ledger"}, nil, []string{"internal/testclock"}},
	{"internal/mailer", "hands mails to a relay", nil, nil, nil},
	{"internal/mailer/mailertest", "a real SMTP server, for tests", nil, []string{"github.com/emersion/go-smtp", "github.com/emersion/go-sasl"}, nil},
	{"internal/model", "random operations against a small model, for tests",
		[]string{"events", "events/stream", "export", "export/exporttest", "ledger", "projections", "internal/crashtest", "internal/fakelog", "internal/vectors"},
		[]string{natsGo + "/...", sumdbNote, pebbleModule + "/...", sqliteDriver}, []string{"console", "license", "portal"}},
	{"internal/nodetest", "a node played by hand, for tests", []string{"events", "ledger"}, []string{natsGo}, nil},
	{"internal/postgrestest", "a PostgreSQL server, for tests", nil, []string{"github.com/jackc/pgx/v5/stdlib"}, nil},
	{"internal/scripttest", "commands of the stories of both programs, for tests", nil, []string{"github.com/rogpeppe/go-internal/testscript"}, nil},
	{"internal/storytest", "plays stories of both programs in simulated time, for tests", []string{"internal/crashtest", "internal/scripttest"}, []string{natsGo, "github.com/rogpeppe/go-internal/testscript"}, nil},
	{"internal/systemd", "tells systemd how a daemon stands", nil, []string{"github.com/coreos/go-systemd/v22/daemon"}, nil},
	{"internal/systemd/systemdtest", "the side of systemd, for tests", nil, nil, nil},
	{"internal/task", "starts the task runner", nil, nil, nil},
	{"internal/testclock", "clocks that a test sets", []string{"internal/machine"}, nil, nil},
	{"internal/tidy", "these rules", nil, nil, []string{"golang.org/x/mod/modfile", "events"}},
	{"tools/packaging", "makes what people install", []string{"internal/cli"}, nil, []string{"github.com/goccy/go-yaml"}},
	{"internal/tpm", "the site key and a counter in a TPM 2.0", []string{"ledger"}, []string{goTPM + "/..."}, nil},
	{"internal/tpm/tpmtest", "software TPMs, for tests", []string{"internal/crashtest"}, nil, nil},
	{"internal/vectors", "keys and files of the examples, for tests", []string{"ledger"}, nil, nil},
}

// forTests may be imported by the tests of every package. What of it is ours is
// never linked into a release (cmd/meterseal/deps_test.go).
var forTests = []string{
	"internal/browsertest", "internal/crashtest", "internal/durablefs", "internal/fakelog", "internal/mailer/mailertest", "internal/model", "internal/nodetest", "internal/postgrestest", "internal/reportgen", "internal/scripttest", "internal/storytest", "internal/systemd/systemdtest", "internal/testclock", "internal/tpm/tpmtest", "internal/vectors", "export/exporttest", "portal/portaltest", "events/stream/streamtest",
	"github.com/google/go-cmp/...", "github.com/rogpeppe/go-internal/...", "pgregory.net/rapid",
	natsGo + "/...", natsServer + "/...", pebbleModule + "/vfs/...", sumdbNote, "golang.org/x/mod/sumdb/tlog",
	"golang.org/x/sync/errgroup",
}

// sole names what has few importers on purpose, released files and tests alike.
var sole = []struct {
	path string
	by   []string
	why  string
}{
	{natsServer, []string{"events/stream", "events/stream/...", "bench"},
		"the stream is the one place that knows which log there is; bench runs a raw one as peer"},
	{pebbleModule, []string{"projections", "internal/crashtest", "internal/durablefs", "internal/model"},
		"projections is the one place that knows which store there is; the others break or wrap its file system"},
	{sqliteDriver, []string{"export", "bench", "internal/model", "portal"}, "SQLite is a rendering of reports and the vendor's store, not a store of the site"},
	{"github.com/jackc/pgx/v5", []string{"portal", "internal/postgrestest"}, "the portal's store is the one that may be PostgreSQL"},
	{"github.com/pressly/goose/v3", []string{"portal"}, "only the portal's schema changes by numbered files"},
	{module + "/portal/internal/issue", []string{"portal/..."}, "private keys of the vendor are nobody else's business, and no site can link them"},
	{"filippo.io/age", []string{"export", "portal/..."}, "encryption wraps reports, and the vendor's own keys"},
	{"golang.org/x/mod/sumdb/tlog", []string{"ledger"}, "there is one tree, and everybody asks ledger for it"},
	{"github.com/transparency-dev/formats", []string{"ledger"}, "there is one reader of notes and proofs"},
	{"filippo.io/mldsa", []string{"ledger"}, "keys are the ledger's"},
	{"github.com/cespare/xxhash/v2", []string{"projections"}, "a hash that does not resist anybody has one use: the duplicates index"},
	{"github.com/chromedp/chromedp", []string{"internal/browsertest"}, "tests say what a person does; how a browser is told stands in one place"},
	{"github.com/spf13/cobra", []string{"cmd/...", "internal/cli", "internal/gendocs"}, "only a program has commands, and its man pages"},
	{"github.com/goccy/go-yaml", []string{"cmd/...", "tools/packaging"}, "parts take options, only a program reads a configuration file"},
	{"github.com/prometheus/client_golang", []string{"cmd/..."}, "parts hand out counters; how they are exposed is the program's"},
	{"github.com/schollz/progressbar/v3", []string{"cmd/..."}, "only a program talks to a terminal"},
	{natsJWT, []string{"internal/access"}, "one place makes and judges credentials of nodes"},
	{natsKeys, []string{"internal/access", "events/stream"}, "one place makes and judges credentials of nodes; the server is given the key of nobody"},
	{"github.com/coreos/go-systemd", []string{"internal/systemd"}, "both daemons say the same to systemd"},
	{goTPM, []string{"internal/tpm"}, "what the daemon asks of a TPM is a key and a counter"},
	{huma, []string{"console", "internal/httpapi", "portal/api"}, "it writes the schemas of the OpenAPI document and nothing else"},
}

// covers tells whether a pattern of the table covers an import path or folder.
func covers(pattern, p string) bool {
	below, all := strings.CutSuffix(pattern, "/...")
	return p == below || all && strings.HasPrefix(p, below+"/")
}

func coversAny(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(x string) bool { return covers(x, p) })
}

// isStandard tells a package of the standard library by its first element.
func isStandard(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return !strings.Contains(first, ".")
}

// checkImports compares every import with the table.
func checkImports(list []*source) (violations []string) {
	for _, s := range list {
		i := slices.IndexFunc(policy, func(m may) bool { return m.pkg == s.dir })
		if i < 0 {
			violations = append(violations, fmt.Sprintf("%s: package %s is not in the table of internal/tidy/imports_test.go: say what it may import", s.path, s.dir))
			continue
		}
		m := &policy[i]
		for _, p := range s.imports() {
			name := strings.TrimPrefix(p, module+"/")
			allowed := isStandard(p) || coversAny(m.ours, name) || coversAny(m.outside, p)
			if s.test {
				allowed = allowed || name == s.dir || coversAny(forTests, name) || coversAny(m.tests, name)
			}
			if !allowed {
				violations = append(violations, fmt.Sprintf("%s: %s (%s) may not import %s", s.path, s.dir, m.what, name))
			}
		}
	}
	return violations
}

// checkSole finds importers of what has few.
func checkSole(list []*source) (violations []string) {
	for _, s := range list {
		for _, p := range s.imports() {
			for _, o := range sole {
				if covers(o.path+"/...", p) && !coversAny(o.by, s.dir) && !(s.test && testMay(o.path, p)) {
					violations = append(violations, fmt.Sprintf("%s imports %s, which only %s may: %s", s.path, p, strings.Join(o.by, ", "), o.why))
				}
			}
		}
	}
	return violations
}

// testMay lists what tests may reach past a sole importer: a server to connect
// to, a file system to cut, a second tree to compare with, YAML to write.
func testMay(path, p string) bool {
	return path == natsServer || covers(pebbleModule+"/vfs/...", p) || p == "golang.org/x/mod/sumdb/tlog"
}

// pure packages know no network, no clock, no goroutine, no randomness and no
// disk but for the exceptions, each with its reason. Projections is held to the
// same for all but its disk: the fold must give the same bytes on every replay.
var pure = []string{"events", "ledger", "license", "export", "projections"}

var impureImports = []string{"net/...", "os/...", "syscall", "log/...", "math/rand/...", "crypto/rand", "database/sql/...", "io/ioutil", "plugin"}

var impureTime = []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep"}

var pureExceptions = []struct{ file, what, why string }{
	{"ledger/keyfile.go", "os", "key files: the mode of the file is part of the rule"},
	{"ledger/keyfile.go", "crypto/rand", "a new secret"},
	{"export/sqlite.go", "os", "usage.db is a file"},
	{"export/sqlite.go", "database/sql", "usage.db"},
	{"export/sqlitelive.go", "os", "usage.db is a file"},
	{"export/sqlitelive.go", "database/sql", "usage.db"},
	{"export/sqliteread.go", "os", "usage.db is a file"},
	{"export/sqliteread.go", "database/sql", "usage.db"},
	{"export/sqliteread.go", "database/sql/driver", "usage.db"},
	{"projections/store.go", "os", "exit when Pebble says that its log cannot be written"},
	{"projections/store.go", "log/slog", "what Pebble reports, and nothing of the fold"},
}

func excepted(file, what string) bool {
	return slices.ContainsFunc(pureExceptions, func(e struct{ file, what, why string }) bool { return e.file == file && e.what == what })
}

// checkPure looks at imports, calls of package time, and go statements.
func checkPure(list []*source) (violations []string) {
	for _, s := range list {
		if s.test || !slices.Contains(pure, s.dir) {
			continue
		}
		bad := func(at, what string) {
			violations = append(violations, fmt.Sprintf("%s: %s is pure and may not use %s", at, s.dir, what))
		}
		for _, p := range s.imports() {
			if coversAny(impureImports, p) && !excepted(s.path, p) {
				bad(s.path, p)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				if !excepted(s.path, "go") {
					bad(s.at(n.Pos()), "a goroutine")
				}
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(impureTime, n.Sel.Name) {
					bad(s.at(n.Pos()), "time."+n.Sel.Name)
				}
			}
			return true
		})
	}
	return violations
}

func TestImports(t *testing.T) {
	r := load(t)
	report(t, "imports point down the path of an event and never back; the table in imports_test.go says what each package may import", checkImports(r.sources))
	report(t, "few packages know which log, store or library there is, so that each can be exchanged and reviewed in one place", checkSole(r.sources))
	report(t, "the same input gives the same bytes, on every replica and in every simulation: time and randomness are handed in", checkPure(r.sources))
}

// The table itself must not go stale.
func TestImportTable(t *testing.T) {
	r := load(t)
	for _, m := range policy {
		if !r.has(m.pkg) {
			t.Errorf("the table names %s, which is not there", m.pkg)
		}
	}
	for _, e := range pureExceptions {
		if !r.has(e.file) {
			t.Errorf("the exceptions name %s, which is not there", e.file)
		}
	}
}

func TestImportRulesBite(t *testing.T) {
	wrong := []*source{
		parse(t, "ledger/x.go", "package ledger\nimport (\n_ \"github.com/meterseal/meterseal/projections\"\n_ \"github.com/cockroachdb/pebble/v2\"\n)"),
		parse(t, "console/x.go", "package console\nimport _ \"github.com/meterseal/meterseal/events/stream\""),
		parse(t, "console/x_test.go", "package console_test\nimport _ \"github.com/spf13/cobra\""),
		parse(t, "export/x.go", "package export\nimport (\n\"net\"\n\"time\"\n)\nvar _ = time.Now\nvar _ net.Addr\nfunc f() { go f() }"),
		parse(t, "newthing/x.go", "package newthing"),
		parse(t, "cmd/meterseal/x.go", "package main\nimport _ \"github.com/meterseal/meterseal/portal/internal/issue\""),
	}
	bites(t, checkImports(wrong), "ledger (records, tree, checkpoints, proofs) may not import projections", "may not import github.com/cockroachdb/pebble/v2",
		"may not import events/stream", "console/x_test.go: console", "newthing is not in the table")
	bites(t, checkSole(wrong), "ledger/x.go imports github.com/cockroachdb/pebble/v2", "console/x_test.go imports github.com/spf13/cobra", "cmd/meterseal/x.go imports github.com/meterseal/meterseal/portal/internal/issue")
	bites(t, checkPure(wrong), "export/x.go: export is pure and may not use net", "may not use time.Now", "may not use a goroutine")
	right := []*source{
		parse(t, "ledger/x.go", "package ledger\nimport (\n\"time\"\n_ \"github.com/meterseal/meterseal/events\"\n_ \"golang.org/x/mod/sumdb/tlog\"\n)\nvar _ = time.Unix"),
		parse(t, "ledger/x_test.go", "package ledger_test\nimport (\n\"os\"\n_ \"github.com/google/go-cmp/cmp\"\n_ \"github.com/meterseal/meterseal/ledger\"\n)\nvar _ = os.Args"),
	}
	passes(t, checkImports(right))
	passes(t, checkSole(right))
	passes(t, checkPure(right))
}
