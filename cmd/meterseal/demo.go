package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/examples/traces"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
)

const demoMeter = "documents.processed"

func (a *app) demoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See the whole job done on two months of real traffic",
		Long: `Run a site on two months of real web traffic: every request to the NASA Kennedy
Space Center server in July and August 1995 is one processed document. Three
nodes publish 3,461,610 events over NATS, each acknowledged after its fsync; the
ledger closes its windows; a signed report is written, verified from file and
public key alone, and a copy with one digit changed is refused. The vendor's
program, beside this one or built from the checkout, takes the report in, and
its reply brings a receipt and a renewed license.`,
		Example: "  meterseal demo\n  meterseal demo --dir ./my-demo",
		Args:    cobra.NoArgs,
	}
	dir := cmd.Flags().String("dir", "./meterseal-demo", "folder for the demo's files; an earlier demo in it is replaced")
	nodes := cmd.Flags().Int("nodes", 3, "nodes that publish")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		d := &demo{app: a, dir: *dir, nodes: *nodes}
		return d.run(cmd.Context())
	}
	return cmd
}

// demo is one run of the demonstration.
type demo struct {
	*app
	dir    string
	nodes  int
	report string
	key    string
	vendor *demoVendor // nil: its program was not found
	reply  string
}

// demoMarker tells a folder of the demo from one that somebody needs.
const demoMarker = ".meterseal-demo"

func (d *demo) run(ctx context.Context) error {
	abs, err := filepath.Abs(d.dir)
	if err != nil {
		return err
	}
	d.dir = abs
	if err := d.prepare(); err != nil {
		return err
	}
	cfg := &Config{
		SiteName: "demo", DataDir: filepath.Join(d.dir, "data"), MaxSizeBytes: 8 << 30, HTTP: ListenConfig{Address: "127.0.0.1:0"}, NATS: ListenConfig{Address: "127.0.0.1:0"},
		Future: 5 * time.Minute, Retention: 90 * 24 * time.Hour, LogFormat: "text", LogLevel: "warn",
		Meters: []events.Meter{{ID: demoMeter, Unit: "document", Aggregation: events.Count, Description: "Documents worked on"}},
	}
	for _, s := range settings {
		if strings.HasPrefix(s.key, "windows.") || s.key == "events.id_horizon" {
			if err := s.set(cfg, s.value); err != nil {
				return err
			}
		}
	}
	cfg.Fold.Trace = true
	if d.vendor, err = d.findVendor(ctx); err != nil {
		return err
	}
	if d.vendor != nil {
		cfg.License = LicenseConfig{KeyFile: filepath.Join(d.dir, "demo.key"), SolutionName: demoSolution}
		if err := d.vendor.issue(ctx, cfg.License.KeyFile); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready, served := make(chan *running, 1), make(chan error, 1)
	go func() { served <- d.serve(ctx, cfg, func(r *running) { ready <- r }) }()
	select {
	case err := <-served:
		return err
	case r := <-ready:
		err := d.tell(ctx, r)
		cancel()
		if err := errors.Join(err, <-served); err != nil {
			return err
		}
	}
	d.next()
	return nil
}

func (d *demo) prepare() error {
	if list, err := os.ReadDir(d.dir); err == nil && len(list) > 0 {
		if _, err := os.Stat(filepath.Join(d.dir, demoMarker)); err != nil {
			return cli.Fail(cli.ExitUsage, "file_exists", "choose another --dir", "%s holds files that are not of a demo", d.dir)
		}
		if err := d.notServed(); err != nil {
			return err
		}
		if err := os.RemoveAll(d.dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.dir, demoMarker), nil, 0o600)
}

// notServed refuses to remove the data of an earlier demo while a daemon runs on
// it, as the end of the demo suggests.
func (d *demo) notServed() error {
	data := filepath.Join(d.dir, "data")
	if !hasHistory(data) {
		return nil
	}
	str, err := openStreamAtRest(context.Background(), data)
	if err != nil {
		if codeOf(err) == "store_in_use" {
			return cli.Fail(cli.ExitStore, "store_in_use", "stop that daemon, or choose another --dir", "a daemon runs on the earlier demo in %s", data)
		}
		return nil // it is damaged, and goes
	}
	return str.Close()
}

// tell does the job, step by step.
func (d *demo) tell(ctx context.Context, r *running) error {
	fmt.Fprintf(d.Out, "1. A site starts\n")
	fmt.Fprintf(d.Out, "   %s  http://%s\n\n", r.natsURL(), r.httpAddr)

	fmt.Fprintf(d.Out, "2. %d nodes publish every request to NASA's web server, July and August 1995\n", d.nodes)
	res, err := d.publish(ctx, r)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.Out, "   %s events in %.1f s: %s/s, each acknowledged after its fsync\n\n", cli.Grouped(res.Stored), res.Seconds, cli.Grouped(int64(res.PerSecond)))
	if res.Stored != traces.NASARequests {
		return fmt.Errorf("stored %d of %d events: duplicates %d, refused %v", res.Stored, traces.NASARequests, res.Duplicates, res.Refused)
	}

	client := &httpClient{base: "http://" + r.httpAddr, timeout: time.Minute, http: http.DefaultClient}
	fmt.Fprintf(d.Out, "3. Usage per day\n")
	if err := d.usage(ctx, client); err != nil {
		return err
	}

	fmt.Fprintf(d.Out, "4. The signed usage report, the one file that leaves the site\n")
	d.report, d.key = filepath.Join(d.dir, "site.usage"), r.site.keys.vkey().String()
	quiet := *d.app
	quiet.Err = io.Discard
	if err := quiet.exportReport(ctx, client, url.Values{"close_now": {"true"}}, d.report, export.WrapOptions{}, false); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.dir, "site.pub"), []byte(d.key+"\n"), 0o600); err != nil {
		return err
	}
	st, err := os.Stat(d.report)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.Out, "   site.usage, %s of plain text\n\n", cli.ByteSize(st.Size()))

	if err := d.verify(ctx); err != nil {
		return err
	}
	if err := d.tamper(ctx); err != nil {
		return err
	}
	if d.vendor == nil {
		fmt.Fprintf(d.Out, "7. The vendor's part is left out: meterseal-vendor is not beside this program\n\n")
		return nil
	}
	if err := d.accept(ctx); err != nil {
		return err
	}
	return d.importReply(ctx, client)
}

func (d *demo) publish(ctx context.Context, r *running) (*replayResult, error) {
	start, err := time.Parse(time.RFC3339, traces.NASAStart)
	if err != nil {
		return nil, err
	}
	o := replayOptions{server: r.natsURL(), format: "counts", start: start, meters: []replayMeter{{id: demoMeter}}, window: 8192}
	for i := range d.nodes {
		o.nodes = append(o.nodes, fmt.Sprintf("n%d", i+1))
	}
	return d.replay(ctx, traceFile{name: traces.NASA, open: func() (io.ReadCloser, error) { return traces.Files.Open(traces.NASA) }}, o)
}

func (d *demo) usage(ctx context.Context, c *httpClient) error {
	var days usageAnswer
	if err := c.getJSON(ctx, "/v1/usage", url.Values{"window": {"day"}}, &days); err != nil {
		return err
	}
	sum, most := int64(0), int64(1)
	for _, r := range days.Rows {
		sum += r.Quantity
		most = max(most, r.Quantity)
	}
	for i, r := range days.Rows {
		if i == 5 && len(days.Rows) > 8 {
			fmt.Fprintf(d.Out, "   ...\n")
		}
		if i < 5 || i >= len(days.Rows)-2 {
			fmt.Fprintf(d.Out, "   %s  %9s  %s\n", r.Start.Format("2006-01-02"), cli.Grouped(r.Quantity), strings.Repeat("#", int(40*r.Quantity/most)))
		}
	}
	fmt.Fprintf(d.Out, "   %d days     %9s  in all\n\n", len(days.Rows), cli.Grouped(sum))
	if sum != traces.NASARequests {
		return fmt.Errorf("the days hold %d events, the trace %d", sum, traces.NASARequests)
	}
	return nil
}

func (d *demo) verify(ctx context.Context) error {
	fmt.Fprintf(d.Out, "5. Verified from the file and the site's public key alone\n")
	started := time.Now()
	r, err := verifyFile(ctx, d.report, export.VerifyOptions{SiteKeys: []string{d.key}})
	if err != nil {
		return err
	}
	fmt.Fprintf(d.Out, "   %s: signature, %s records, root, totals, numbering, coverage in %d ms\n", r.Verdict, cli.Grouped(r.Records), time.Since(started).Milliseconds())
	for _, t := range r.Totals {
		fmt.Fprintf(d.Out, "   %s: %s\n", t.Meter, cli.Grouped(t.Value))
	}
	fmt.Fprintln(d.Out)
	return nil
}

// tamper changes one digit of a usage record in the middle of a copy.
func (d *demo) tamper(ctx context.Context) error {
	fmt.Fprintf(d.Out, "6. The same file with one digit changed\n")
	b, err := os.ReadFile(d.report)
	if err != nil {
		return err
	}
	at := len(b)/2 + bytes.Index(b[len(b)/2:], []byte("\nusage ")) + 1
	line, _, _ := strings.Cut(string(b[at:]), "\n")
	rec, err := ledger.ParseRecord(line)
	if err != nil {
		return err
	}
	u, ok := rec.(*ledger.Usage)
	if !ok {
		return fmt.Errorf("no usage record in the middle of %s", d.report)
	}
	value := at + strings.Index(line, fmt.Sprintf(" %d %d ", u.Count, u.Value)) + len(fmt.Sprintf(" %d ", u.Count))
	old := string(b[value])
	b[value] = '0' + (b[value]-'0'+1)%10
	copied := filepath.Join(d.dir, "tampered.usage")
	if err := os.WriteFile(copied, b, 0o600); err != nil {
		return err
	}
	fmt.Fprintf(d.Out, "   %s -> %s in %.60s...\n", old, b[value:value+1], line)
	_, err = verifyFile(ctx, copied, export.VerifyOptions{SiteKeys: []string{d.key}})
	var refused *export.Error
	if !errors.As(err, &refused) {
		return fmt.Errorf("the tampered copy was not refused: %w", err)
	}
	fmt.Fprintf(d.Out, "   %s\n\n", cli.Wrap(fmt.Sprintf("refused: %s [%s]", refused, refused.Code), cli.Columns-3, "     "))
	return nil
}

// next says where the files are and what to try: commands that work as printed.
func (d *demo) next() {
	dir := d.dir
	if wd, err := os.Getwd(); err == nil {
		if r, err := filepath.Rel(wd, dir); err == nil && len(r) < len(dir) {
			dir = r
		}
	}
	dir = shellWord(dir)
	fmt.Fprintf(d.Out, `Files are in %s:
  site.usage      the signed report     site.pub  the site's public key
  tampered.usage  the changed copy      data/     what the site keeps
`, dir)
	serve := "serve --data " + dir + "/data --clock trace --meter " + demoMeter + ":count:0:document"
	if d.vendor != nil {
		serve += " --license-key-file " + dir + "/demo.key --solution-name " + demoSolution
		fmt.Fprint(d.Out, `  replies/        what came back        vendor/   what the vendor keeps
  demo.key        the license key
`)
	}
	fmt.Fprint(d.Out, "\nTry next:\n")
	for _, c := range []string{
		"report show " + dir + "/site.usage",
		"report verify --site-key @" + dir + "/site.pub " + dir + "/tampered.usage",
		"ledger check --data " + dir + "/data",
		serve,
	} {
		fmt.Fprintln(d.Out, commandLines(d.Called+" "+c))
	}
	fmt.Fprintf(d.Out, "and, while that runs, in another terminal:\n%s\n", commandLines(d.Called+" usage --window month"))
	if d.vendor != nil {
		fmt.Fprintf(d.Out, "What the vendor bills:\n%s\n", commandLines(d.vendor.name(d.Called, dir)+" statement --data "+dir+"/vendor"))
	}
}

// commandLines indents a command and breaks it as a shell allows.
func commandLines(c string) string {
	return strings.ReplaceAll("  "+cli.Wrap(c, cli.Columns-4, "\x00"), "\n\x00", " \\\n      ")
}

// shellWord quotes a path if a shell would take it apart.
func shellWord(s string) string {
	if strings.ContainsAny(s, " \t\"'$&|;<>()*?[]{}~`\\!#") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}
