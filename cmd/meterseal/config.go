package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/exporter"
	"github.com/meterseal/meterseal/internal/machine"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// Config is everything that a site can be told. A setting comes from its flag,
// else its variable, else the file, else its default; config show says which.
type Config struct {
	SiteName                 string
	DataDir                  string // absolute; "none": no store
	NATSURL                  string
	SyncAlways               bool // the server at NATSURL has sync_interval: always
	MaxSizeBytes             int64
	StartWait                time.Duration
	HTTP, NATS               ListenConfig
	MaxConnections, NodeRate int
	Future                   time.Duration
	Retention                time.Duration
	SpoolMaxAge              time.Duration // nodes are told
	Fold                     projections.Settings
	DocumentMeter            string
	Level                    export.Level // of reports that ask for none, and of the live copy
	Keeping                  events.Keeping
	Database                 string // absolute; "": no live copy
	WriteInterval            uint64 // events between two steps of it
	OpenMeter                bool   // serve the ingest route of OpenMeter
	TPMDevice                string // "": no TPM is asked
	Bindings                 machine.Options
	Meters                   []events.Meter
	Pools                    []license.Pool // of floating seats; they count while there is no license
	Variables                ledger.Attrs   // device variables, by name
	Exports                  []exporter.Job
	Inbox                    exporter.Inbox // its folder is absolute; "": none
	MetricsAddress           string         // a listener of its own for /metrics; "": none
	NodeSeriesMax            int            // series of /metrics that carry the name of a node
	DebugAddress             string         // a listener for profiles; "": none
	LogFormat                string
	LogLevel                 string
	License                  LicenseConfig
	Hold                     bool // a refused start stays up for status and health

	path   string            // of the file; "": none
	values map[string]string // as given, by key
	origin map[string]string // where a value came from, by key
}

// setting is one plain key a.b with its flag --a-b (or short name) and variable
// METERSEAL_A_B.
type setting struct {
	key, flag, value, doc string
	set                   func(c *Config, v string) error
}

func (s setting) flagName() string {
	if s.flag != "" {
		return s.flag
	}
	return strings.NewReplacer(".", "-", "_", "-").Replace(s.key)
}

func (s setting) variable() string {
	return "METERSEAL_" + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

func text(p func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error { *p(c) = v; return nil }
}

func yesNo(p func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, v string) error {
		*p(c) = v == "true"
		if v != "true" && v != "false" {
			return fmt.Errorf("is %q, want true or false", v)
		}
		return nil
	}
}

func count(p func(*Config) *int) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil {
			return fmt.Errorf("is %q, want a whole number", v)
		}
		*p(c) = int(n)
		return nil
	}
}

func oneOf(p func(*Config) *string, words ...string) func(*Config, string) error {
	return func(c *Config, v string) error {
		if !slices.Contains(words, v) {
			return fmt.Errorf("is %q, want %s", v, strings.Join(words, " or "))
		}
		*p(c) = v
		return nil
	}
}

func truth(p func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, v string) error {
		*p(c) = v == "true"
		if v != "true" && v != "false" {
			return fmt.Errorf("is %q, want true or false", v)
		}
		return nil
	}
}

func span(p func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, v string) error {
		d, err := parseDuration(v)
		if err != nil {
			return err
		}
		*p(c) = d
		return nil
	}
}

func address(p func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		host, port, err := net.SplitHostPort(v)
		if err != nil || port == "" {
			return fmt.Errorf("is %q, want HOST:PORT", v)
		}
		if host == "" {
			return fmt.Errorf("is %q, want HOST:PORT; 0.0.0.0 is every address", v)
		}
		*p(c) = v
		return nil
	}
}

// loopback is an address that only programs of this machine reach; empty: none.
func loopback(p func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		*p(c) = v
		if v == "" {
			return nil
		}
		if err := address(p)(c, v); err != nil {
			return err
		}
		if l := (ListenConfig{Address: v}); l.beyondLoopback() {
			return fmt.Errorf("is %q, want a loopback address such as 127.0.0.1:9190: nobody is asked who they are there", v)
		}
		return nil
	}
}

// settings lists every plain key in the order of the documentation.
var settings = []setting{
	{"site.name", "", "", "label of this site; the ledger's identity is its key", text(func(c *Config) *string { return &c.SiteName })},
	{"store.dir", "data", "./meterseal-data", `folder of everything that is kept; "none": no store`, text(func(c *Config) *string { return &c.DataDir })},
	{"store.nats_url", "nats-url", "", "use this NATS server instead of the embedded one", text(func(c *Config) *string { return &c.NATSURL })},
	{"store.sync_always", "", "false", "the server at nats_url has sync_interval: always, which cannot be seen from here", truth(func(c *Config) *bool { return &c.SyncAlways })},
	{"store.max_size", "", "200GiB", "raw events kept at most, within what the disk has; then 503 store_full, nothing is dropped", func(c *Config, v string) (err error) {
		c.MaxSizeBytes, err = cli.ParseSize(v)
		return err
	}},
	{"store.start_wait", "", "30s", "how long a start waits for the store", span(func(c *Config) *time.Duration { return &c.StartWait })},
	{"license.key", "", "", "the license key, one line ms1.…", text(func(c *Config) *string { return &c.License.Key })},
	{"license.key_file", "", "", "file with the license key", text(func(c *Config) *string { return &c.License.KeyFile })},
	{"license.solution_name", "solution-name", "", "name of the solution; must equal that in the license, byte for byte", text(func(c *Config) *string { return &c.License.SolutionName })},
	{"license.product_line", "", "", "product line of what is installed here; a license of another one is refused. Empty: any", text(func(c *Config) *string { return &c.License.ProductLine })},
	{"license.id", "", "", "license of a user-based activation, which has no key", text(func(c *Config) *string { return &c.License.ID })},
	{"license.user", "", "", "the user of it", text(func(c *Config) *string { return &c.License.User })},
	{"license.vendor_keys", "vendor-key", "", "the vendor's license keys (vkeys, separated by spaces); empty: that of the first license", func(c *Config, v string) (err error) {
		c.License.VendorKeys, err = parseVendorKeys(v)
		return err
	}},
	{"http.listen", "http", "127.0.0.1:8633", "address of the HTTP API", address(func(c *Config) *string { return &c.HTTP.Address })},
	{"http.tls.cert_file", "", "", "certificate of the HTTP API (PEM); read again on SIGHUP", text(func(c *Config) *string { return &c.HTTP.CertFile })},
	{"http.tls.key_file", "", "", "its private key", text(func(c *Config) *string { return &c.HTTP.KeyFile })},
	{"http.insecure", "", "false", "allow http.listen beyond this machine without TLS: something else encrypts", yesNo(func(c *Config) *bool { return &c.HTTP.Insecure })},
	{"http.loopback", "", "open", "open: programs of this machine need no token; token: they do", func(c *Config, v string) error {
		c.HTTP.LoopbackNeedsProof = v == "token"
		return oneOf(func(*Config) *string { return new(string) }, "open", "token")(c, v)
	}},
	{"http.names", "", "", "further host names under which browsers ask for the console where a proxy does TLS; separated by spaces", func(c *Config, v string) error {
		c.HTTP.Names = strings.Fields(v)
		return nil
	}},
	{"nats.listen", "nats", "127.0.0.1:4222", "address of the embedded NATS server", address(func(c *Config) *string { return &c.NATS.Address })},
	{"nats.tls.cert_file", "", "", "certificate of the NATS server (PEM); read again on SIGHUP", text(func(c *Config) *string { return &c.NATS.CertFile })},
	{"nats.tls.key_file", "", "", "its private key", text(func(c *Config) *string { return &c.NATS.KeyFile })},
	{"nats.tls.client_ca_file", "", "", "who issues client certificates of nodes; their common name is the node", text(func(c *Config) *string { return &c.NATS.ClientCAFile })},
	{"nats.insecure", "", "false", "allow nats.listen beyond this machine without TLS: something else encrypts", yesNo(func(c *Config) *bool { return &c.NATS.Insecure })},
	{"nats.loopback", "", "open", "open: programs of this machine need no credentials; credentials: they do", func(c *Config, v string) error {
		c.NATS.LoopbackNeedsProof = v == "credentials"
		return oneOf(func(*Config) *string { return new(string) }, "open", "credentials")(c, v)
	}},
	{"nats.max_connections", "", "10000", "connections of the NATS server in all", count(func(c *Config) *int { return &c.MaxConnections })},
	{"events.node_rate", "", "0", "events a second that one node may send, then it is busy; 0: any number", count(func(c *Config) *int { return &c.NodeRate })},
	{"events.future", "", "5m", "how far ahead the time of an event may be", span(func(c *Config) *time.Duration { return &c.Future })},
	{"events.id_horizon", "", "35d", "how long event ids are remembered", span(func(c *Config) *time.Duration { return &c.Fold.Horizon })},
	{"events.retention", "", "90d", "how long raw events are kept at least", span(func(c *Config) *time.Duration { return &c.Retention })},
	{"nodes.spool_max_age", "", "30d", "how old an event may get in the spool of a node before the node warns", span(func(c *Config) *time.Duration { return &c.SpoolMaxAge })},
	{"windows.length", "", "15m", "span over which usage is summed; divides 24 h, fixed for a ledger", span(func(c *Config) *time.Duration { return &c.Fold.Window })},
	{"windows.lateness", "", "10m", "how long after its end a window stays open", span(func(c *Config) *time.Duration { return &c.Fold.Lateness })},
	{"usage.document_meter", "", "", "meter of GET /usageReport; empty: documentsProcessed, else documents.processed", text(func(c *Config) *string { return &c.DocumentMeter })},
	{"usage.level", "", "STANDARD", "what reports show of single events: STANDARD (no user data), PSEUDONYMOUS or DETAILED", func(c *Config, v string) (err error) {
		if c.Level, err = export.ParseLevel(v); err != nil {
			return fmt.Errorf("is %q, want STANDARD, PSEUDONYMOUS or DETAILED", v)
		}
		return nil
	}},
	{"usage.user", "", "keep", "what is stored of users: keep, hash or omit", keeping(func(c *Config) *events.Keep { return &c.Keeping.User })},
	{"usage.host", "", "keep", "what is stored of hosts: keep, hash or omit", keeping(func(c *Config) *events.Keep { return &c.Keeping.Host })},
	{"usage.ip", "", "keep", "what is stored of addresses: keep, hash or omit", keeping(func(c *Config) *events.Keep { return &c.Keeping.IP })},
	{"usage.database", "", "", "file that is kept as an SQLite copy of the unreported records; empty: none", text(func(c *Config) *string { return &c.Database })},
	{"usage.write_interval", "", "1000", "events after which usage.database is written again", func(c *Config, v string) (err error) {
		if c.WriteInterval, err = strconv.ParseUint(v, 10, 32); err != nil || c.WriteInterval == 0 {
			return fmt.Errorf("is %q, want a number of events, 1 or more", v)
		}
		return nil
	}},
	{"inbox.folder", "", "", "folder that replies are taken from; empty: none", text(func(c *Config) *string { return &c.Inbox.Folder })},
	{"inbox.every", "", "10s", "how often it is looked at; a file that changed since then waits", func(c *Config, v string) error {
		if err := span(func(c *Config) *time.Duration { return &c.Inbox.Every })(c, v); err != nil {
			return err
		}
		if c.Inbox.Every < time.Second {
			return fmt.Errorf("is %q, want 1s or more", v)
		}
		return nil
	}},
	{"compat.openmeter", "", "true", "take CloudEvents of OpenMeter's SDKs at POST /api/v1/events", truth(func(c *Config) *bool { return &c.OpenMeter })},
	{"tpm.device", "", "", "TPM 2.0 that seals the site key and counts starts, a device (/dev/tpmrm0) or a unix socket; empty: none", absolutePath(func(c *Config) *string { return &c.TPMDevice })},
	{"bindings.names", "", "", "what of this machine goes into boot records, as hashes: names with commas between them", bindingNames},
	{"bindings.cluster_uid", "", "", "the binding cluster-uid, or the absolute path of a file with it", text(func(c *Config) *string { return &c.Bindings.ClusterUID })},
	{"bindings.custom_file", "", "", "file whose text is the binding custom", absolutePath(func(c *Config) *string { return &c.Bindings.Custom })},
	{"clock", "", "wall", "wall, or trace: time follows replayed data", func(c *Config, v string) error {
		c.Fold.Trace = v == "trace"
		if v != "wall" && v != "trace" {
			return fmt.Errorf("is %q, want wall or trace", v)
		}
		return nil
	}},
	{"on_refusal", "", "exit", "what a start that is refused does: exit, or hold: serve status and health only", func(c *Config, v string) error {
		c.Hold = v == "hold"
		if v != "exit" && v != "hold" {
			return fmt.Errorf("is %q, want exit or hold", v)
		}
		return nil
	}},
	{"metrics.listen", "", "", "one more address for GET /metrics, of this machine only; no token is asked there. Empty: none", loopback(func(c *Config) *string { return &c.MetricsAddress })},
	{"metrics.node_series_max", "", "1000", "nodes that /metrics names at most", count(func(c *Config) *int { return &c.NodeSeriesMax })},
	{"debug.listen", "", "", "address for profiles of the program, of this machine only (/debug/pprof/). Empty: none", loopback(func(c *Config) *string { return &c.DebugAddress })},
	{"log.format", "", "text", "text or json", oneOf(func(c *Config) *string { return &c.LogFormat }, "text", "json")},
	{"log.level", "", "info", "debug, info, warn or error", oneOf(func(c *Config) *string { return &c.LogLevel }, "debug", "info", "warn", "error")},
}

// configFlags adds a flag for each setting, --config, --meter,
// --seats and --variable.
func configFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.String("config", "", "configuration file (YAML)")
	f.StringArray("meter", nil, "declare a meter ID:AGGREGATION[:SCALE[:UNIT]]; may repeat")
	f.StringArray("seats", nil, "declare a pool of floating seats ID:COUNT[:LEASE]; may repeat")
	f.StringArray("variable", nil, "tell the vendor a device variable NAME=VALUE; may repeat")
	for _, s := range settings {
		doc := s.doc
		if s.value != "" {
			doc += " (default " + s.value + ")"
		}
		f.String(s.flagName(), "", doc)
	}
}

// loadConfig reads file, variables and flags of cmd. It returns every mistake
// at once, as config_invalid.
func loadConfig(cmd *cobra.Command) (*Config, error) {
	c := &Config{values: map[string]string{}, origin: map[string]string{}}
	var problems []string
	var file yamlFile
	if path, _ := cmd.Flags().GetString("config"); path != "" {
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		c.path = abs
		if file, err = readYAML(abs); err != nil {
			return nil, configFailure(err.Error())
		}
		problems = append(problems, file.unknown(abs)...)
	}
	for _, s := range settings {
		v, where := s.value, "default"
		if n, ok := file.plain[s.key]; ok {
			v, where = n.value, fmt.Sprintf("%s:%d:%d", c.path, n.line, n.column)
		}
		if e, ok := os.LookupEnv(s.variable()); ok {
			v, where = e, s.variable()
		}
		if cmd.Flags().Changed(s.flagName()) {
			v, _ = cmd.Flags().GetString(s.flagName())
			where = "--" + s.flagName()
		}
		c.values[s.key], c.origin[s.key] = v, where
		if err := s.set(c, v); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %s %v", where, s.key, err))
		}
	}
	problems = append(problems, c.loadMeters(cmd, file)...)
	problems = append(problems, c.loadPools(cmd, file)...)
	problems = append(problems, c.loadVariables(cmd, file)...)
	problems = append(problems, c.loadExports(file)...)
	problems = append(problems, c.contradictions()...)
	slices.SortStableFunc(problems, func(a, b string) int { return cmp.Compare(c.lineOf(a), c.lineOf(b)) })
	if len(problems) > 0 {
		return nil, configFailure(problems...)
	}
	if err := c.makeAbsolute(); err != nil {
		return nil, err
	}
	return c, nil
}

// lineOf returns the line of the file that a mistake is about, so that mistakes
// come in the order of the file; 0: it is not about the file.
func (c *Config) lineOf(problem string) int {
	rest, ok := strings.CutPrefix(problem, c.path+":")
	if c.path == "" || !ok {
		return 0
	}
	line, _, _ := strings.Cut(rest, ":")
	n, _ := strconv.Atoi(line)
	return n
}

// plain is the text of an error of a package without its code, which the
// command line shows with the hint.
func plain(err error) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "config_invalid: "), "malformed: ")
}

// configFailure lists every mistake at once.
func configFailure(problems ...string) error {
	f := &cli.Failure{Code: "config_invalid", Message: problems[0], Hint: "correct it, then try again", Exit: cli.ExitUsage}
	if len(problems) > 1 {
		f.Message, f.Errors = fmt.Sprintf("the configuration has %d mistakes", len(problems)), problems
		f.Hint = "correct what is named above, then try again"
	}
	return f
}

// makeAbsolute counts relative paths of the file from its folder (Y-12).
func (c *Config) makeAbsolute() (err error) {
	if c.DataDir != "none" {
		if c.DataDir, err = c.absolute("store.dir", c.DataDir); err != nil {
			return err
		}
	}
	if c.Database != "" {
		if c.Database, err = c.absolute("usage.database", c.Database); err != nil {
			return err
		}
	}
	if c.Inbox.Folder != "" {
		if c.Inbox.Folder, err = c.absolute("inbox.folder", c.Inbox.Folder); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		key  string
		path *string
	}{
		{"license.key_file", &c.License.KeyFile},
		{"http.tls.cert_file", &c.HTTP.CertFile}, {"http.tls.key_file", &c.HTTP.KeyFile},
		{"nats.tls.cert_file", &c.NATS.CertFile}, {"nats.tls.key_file", &c.NATS.KeyFile}, {"nats.tls.client_ca_file", &c.NATS.ClientCAFile},
	} {
		if *f.path == "" {
			continue
		}
		given := strings.ReplaceAll(*f.path, "${CREDENTIALS_DIRECTORY}", os.Getenv("CREDENTIALS_DIRECTORY"))
		if *f.path, err = c.absolute(f.key, given); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) absolute(key, path string) (string, error) {
	if c.path != "" && strings.HasPrefix(c.origin[key], c.path) && !filepath.IsAbs(path) {
		return filepath.Join(filepath.Dir(c.path), path), nil
	}
	return filepath.Abs(path)
}

// contradictions names settings that cannot work together (Y-13), each where it
// was given.
func (c *Config) contradictions() []string {
	var out []string
	at := func(key, format string, args ...any) {
		where := ""
		if from := c.origin[key]; from != "default" {
			where = from + ": "
		}
		out = append(out, where+fmt.Sprintf(format, args...))
	}
	if err := c.Fold.Validate(); err != nil && c.Fold.Window != 0 && c.Fold.Horizon != 0 {
		text := plain(err)
		key, _, _ := strings.Cut(text, " ")
		at(key, "%s", text)
	}
	if c.Retention < c.Fold.Horizon && c.Retention != 0 {
		key := "events.retention"
		if c.origin[key] == "default" {
			key = "events.id_horizon"
		}
		at(key, "events.retention %s is below events.id_horizon %s: repeated events could not be compared", c.values["events.retention"], c.values["events.id_horizon"])
	}
	if c.SpoolMaxAge >= c.Fold.Horizon && c.Fold.Horizon != 0 {
		key := "nodes.spool_max_age"
		if c.origin[key] == "default" {
			key = "events.id_horizon"
		}
		at(key, "nodes.spool_max_age %s is not below events.id_horizon %s: nodes would warn too late, their events would be quarantined", c.values["nodes.spool_max_age"], c.values["events.id_horizon"])
	}
	c.licenseContradictions(at)
	c.HTTP.contradictions("http", at)
	c.NATS.contradictions("nats", at)
	if c.Future < 0 || c.Future > 24*time.Hour {
		at("events.future", "events.future %s is not 0 s to 24 h", c.values["events.future"])
	}
	return out
}

func (c *Config) loadMeters(cmd *cobra.Command, file yamlFile) []string {
	var problems []string
	for _, m := range file.meters {
		meter, errs := m.meter(c.path)
		problems = append(problems, errs...)
		c.Meters = append(c.Meters, meter)
	}
	flags, _ := cmd.Flags().GetStringArray("meter")
	for _, v := range flags {
		m, err := events.ParseMeterFlag(v)
		if err != nil {
			problem := "--meter " + v + ": " + plain(err)
			var e *events.Error
			if errors.As(err, &e) && e.Hint != "" {
				problem += "; " + e.Hint
			}
			problems = append(problems, problem)
			continue
		}
		c.Meters = append(c.Meters, m)
	}
	if len(problems) == 0 {
		if _, err := events.NewMeters(c.Meters); err != nil {
			problems = append(problems, plain(err))
		}
	}
	return problems
}

// nearest returns " (did you mean x?)" for the closest of words.
func nearest(word string, words []string) string {
	best, cost := "", 4
	for _, w := range words {
		if d := editDistance(word, w); d < cost {
			best, cost = w, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := prev
			if a[i] != b[j] {
				cost = 1 + min(prev, row[j], row[j+1])
			}
			prev, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// parseDuration reads Go's durations and days: 35d.
func parseDuration(v string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(v, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 36500 {
			return 0, fmt.Errorf("is %q, want a duration like 90s, 36h, 35d", v)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		return 0, fmt.Errorf("is %q, want a duration like 90s, 36h, 35d", v)
	}
	return d, nil
}
