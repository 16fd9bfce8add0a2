package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/cli"
)

func (a *app) supportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "support",
		Short: "Write a bundle for whoever you ask for help",
		Long: `Write a tar.gz of text files that help somebody whom you ask: state, settings,
metrics, the newest lines of the log, versions. It holds no secret, no event and
no name of a person, machine, node or meter: those have other names in it. Read
it before it leaves, with --preview.`,
		Example: `  meterseal support --preview
  meterseal support --out support.tar.gz`,
		Args: cobra.NoArgs,
	}
	httpFlags(cmd)
	f := cmd.Flags()
	f.StringP("out", "o", "", "file to write")
	f.Bool("force", false, "replace a file of other content")
	f.Bool("preview", false, "print every file with its size instead, and write nothing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		out, _ := f.GetString("out")
		preview, _ := f.GetBool("preview")
		if (out == "") != preview {
			return cli.Fail(cli.ExitUsage, "config_invalid", "give --out support.tar.gz, or --preview to read it first", "give one of --out and --preview")
		}
		resp, err := c.do(cmd.Context(), "POST", "/v1/support", nil, "", nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if preview {
			return a.previewSupport(resp.Body)
		}
		force, _ := f.GetBool("force")
		size := int64(0)
		err = cli.WriteFile(out, force, func(w io.Writer) error {
			size, err = io.Copy(w, resp.Body)
			return err
		})
		if err == nil {
			fmt.Fprintf(a.Err, "wrote     %s  %s\nnext      read it: %s support --preview\n", out, cli.ByteSize(size), a.Called)
		}
		return err
	}
	return cmd
}

// previewSupport prints what a bundle holds.
func (a *app) previewSupport(in io.Reader) error {
	z, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(a.Out, "==== %s  %s\n", h.Name, cli.ByteSize(h.Size))
		if _, err := io.Copy(a.Out, t); err != nil {
			return err
		}
		fmt.Fprintln(a.Out)
	}
}

// supporter writes the support bundle of a daemon.
type supporter struct {
	*running
	cfg *Config
}

// write is console.Options.Support.
func (p supporter) write(w io.Writer) error {
	names := p.names()
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	build, _ := debug.ReadBuildInfo()
	var stacks strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 1); err != nil {
		return err
	}
	for _, f := range []struct{ name, text string }{
		{"README.txt", supportReadme},
		{"status.json", p.statusText(names)},
		{"settings.txt", p.settingsText()},
		{"metrics.txt", p.metricsText(names)},
		{"log.txt", p.recent.text()},
		{"version.txt", "meterseal " + version + "\n" + build.String()},
		{"goroutines.txt", stacks.String()},
	} {
		if err := t.WriteHeader(&tar.Header{Name: f.name, Mode: 0o600, Size: int64(len(f.text))}); err != nil {
			return err
		}
		if _, err := io.WriteString(t, f.text); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}

const supportReadme = `A support bundle of a Meterseal site. It holds no secret, no event, and no name of
a person, machine, node, meter, pool or export: node-1 is the same node in every
file. Lines of the log show only what can name nobody.

status.json     checks, license state and dates, counts
settings.txt    each setting, where it comes from, and its value if it says nothing of people
metrics.txt     /metrics
log.txt         newest lines of the log, what errors quote left out
version.txt     program and modules
goroutines.txt  what the program does now
`

// names gives nodes, meters, pools and exports other names, by label and name.
func (p supporter) names() map[[2]string]string {
	out, st := map[[2]string]string{}, p.site.store.Status()
	add := func(label, name string) { out[[2]string{label, name}] = fmt.Sprintf("%s-%d", label, len(out)+1) }
	for _, n := range st.Nodes {
		add("node", n.Name)
	}
	for _, m := range st.Meters {
		add("meter", m.Meter.ID)
	}
	for _, x := range p.site.store.Pools() {
		add("pool", x.Name)
	}
	for _, j := range p.cfg.Exports {
		add("export", j.Name)
	}
	return out
}

// textAnswer keeps an answer.
type textAnswer struct {
	strings.Builder
	header http.Header
}

// Header is http.ResponseWriter.
func (a *textAnswer) Header() http.Header { return a.header }

// WriteHeader is http.ResponseWriter.
func (a *textAnswer) WriteHeader(int) {}

var namingLabel = regexp.MustCompile(`\b(node|meter|pool|export)="((?:[^"\\]|\\.)*)"`)

// metricsText is /metrics with other names. A name that is not known has none.
func (p supporter) metricsText(names map[[2]string]string) string {
	page := textAnswer{header: http.Header{}}
	p.metrics.ServeHTTP(&page, &http.Request{Method: http.MethodGet, Header: http.Header{}})
	return namingLabel.ReplaceAllStringFunc(page.String(), func(s string) string {
		m := namingLabel.FindStringSubmatch(s)
		other := names[[2]string{m[1], m[2]}]
		if other == "" {
			other = "…"
		}
		return m[1] + `="` + other + `"`
	})
}

// statusText is what status says, but for what names somebody.
func (p supporter) statusText(names map[[2]string]string) string {
	type node struct {
		Name                                              string
		Accepted, Counted, Duplicate, Rejected, Open, Seq uint64
		LastHeard                                         string
	}
	type meter struct {
		Name, Aggregation string
		Scale             int
		Events            uint64
	}
	l, st := licensing{p.site}.License(), p.site.store.Status()
	out := struct {
		Checks                []console.HealthCheck
		State, Code           string
		Enforcement, Type     string
		Ends, ReportBy        any
		Records, Cursor       uint64
		Boots, Closes, IDs    uint64
		Restores              int
		Opened, ClosedUntil   string
		Rejected              map[string]uint64
		Nodes                 []node
		Meters                []meter
		WindowLength, Horizon string
	}{Checks: p.site.health(), State: string(l.State), Code: l.Code, Enforcement: string(l.Enforcement), Type: l.Type, Ends: l.Ends, ReportBy: l.ReportBy,
		Records: st.Records, Cursor: st.Cursor.Seq, Boots: st.Boots, Closes: st.Closes, IDs: st.IDs, Restores: len(st.Restores),
		Opened: st.Opened.String(), ClosedUntil: st.ClosedUntil.String(), Rejected: st.Rejected,
		WindowLength: st.Settings.Window.String(), Horizon: st.Settings.Horizon.String()}
	for i := range out.Checks { // words can name nodes and exports
		if n := out.Checks[i].Name; n != "stream" && n != "disk" && n != "backup" && n != "count" && n != "peers" {
			out.Checks[i].Words, out.Checks[i].Hint = "", ""
		}
	}
	for _, n := range st.Nodes {
		out.Nodes = append(out.Nodes, node{names[[2]string{"node", n.Name}], n.Accepted, n.Counted, n.Duplicate, n.Rejected, n.Open, n.Next, n.LastHeard.String()})
	}
	for _, m := range st.Meters {
		out.Meters = append(out.Meters, meter{names[[2]string{"meter", m.Meter.ID}], m.Meter.Aggregation.String(), m.Meter.Scale, m.Events})
	}
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(b) + "\n"
}

// plainSettings are those whose value is a number, a span or one of a few words:
// only these are shown.
var plainSettings = []string{"store.sync_always", "store.max_size", "store.start_wait", "http.insecure", "http.loopback", "nats.insecure", "nats.loopback", "nats.max_connections",
	"events.node_rate", "events.future", "events.id_horizon", "events.retention", "nodes.spool_max_age", "windows.length", "windows.lateness", "usage.level", "usage.user",
	"usage.host", "usage.ip", "usage.write_interval", "compat.openmeter", "clock", "on_refusal", "metrics.node_series_max", "log.format", "log.level"}

// settingsText lists every setting with its origin.
func (p supporter) settingsText() string {
	var b strings.Builder
	for _, s := range settings {
		value, origin := p.cfg.values[s.key], p.cfg.origin[s.key]
		if value != "" && !slices.Contains(plainSettings, s.key) {
			value = "… (is set)"
		}
		if rest, ok := strings.CutPrefix(origin, p.cfg.path+":"); ok && p.cfg.path != "" {
			origin = "file:" + rest
		}
		fmt.Fprintf(&b, "%-28s %-16s %s\n", s.key, value, origin)
	}
	fmt.Fprintf(&b, "%-28s %d\n%-28s %d\n%-28s %d\n", "meters", len(p.cfg.Meters), "seats", len(p.cfg.Pools), "exports", len(p.cfg.Exports))
	return b.String()
}
