package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
)

func (a *app) reportCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "report", Short: "Write, read and verify usage reports"}
	cmd.AddCommand(a.reportExportCommand(), a.reportShowCommand(), a.reportVerifyCommand(), a.reportOpenCommand())
	return cmd
}

func (a *app) reportExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the signed usage report, the one file that leaves the site",
		Long: `Write the signed usage report of all closed windows since the last accepted
checkpoint. Nothing is removed and no total changes; with nothing new the same
bytes come again. Read it before you carry it: it is plain text.`,
		Example: `  meterseal report export --out site.usage
  meterseal report export --level detailed --out site.usage
  meterseal report export --quiet --out /srv/outbox/
  meterseal report show site.usage`,
		Args: cobra.NoArgs,
	}
	httpFlags(cmd)
	f := cmd.Flags()
	f.StringP("out", "o", "", `file to write, "-" for stdout; empty or a folder: its own name`)
	f.Uint64("from", 0, "begin at this accepted size, when a receipt was lost; 0: the whole ledger (default where the last receipt ended)")
	f.Uint64("until", 0, "end at this size of an earlier close (default: close now, and end there)")
	f.String("level", "", "standard (no user data), pseudonymous or detailed (default usage.level)")
	f.Bool("close-now", false, "close the open windows first (for tests and demonstrations)")
	f.Bool("zstd", false, "compress the file (adds .zst to its own name)")
	f.StringArray("seal-to", nil, "encrypt to this age recipient; may repeat")
	f.String("message", "", "why, for the site's log; never in the file")
	f.Bool("force", false, "replace a file of other content")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		q := url.Values{}
		if v, _ := f.GetString("level"); v != "" {
			level, err := export.ParseLevel(v)
			if err != nil {
				return cli.Fail(cli.ExitUsage, "config_invalid", "leave it out for usage.level", "--level %s is none of standard, pseudonymous, detailed", v)
			}
			q.Set("level", level.String())
		}
		if v, _ := f.GetString("message"); v != "" {
			q.Set("message", v)
		}
		if from, _ := f.GetUint64("from"); f.Changed("from") {
			q.Set("from", fmt.Sprint(from))
		}
		if until, _ := f.GetUint64("until"); f.Changed("until") {
			q.Set("until", fmt.Sprint(until))
		}
		if now, _ := f.GetBool("close-now"); now {
			q.Set("close_now", "true")
		}
		var wrap export.WrapOptions
		wrap.Zstd, _ = f.GetBool("zstd")
		recipients, _ := f.GetStringArray("seal-to")
		if wrap.Recipients, err = export.ParseRecipients(recipients); err != nil {
			return cli.Fail(cli.ExitUsage, "config_invalid", "a recipient begins with age1", "%v", err)
		}
		out, _ := f.GetString("out")
		force, _ := f.GetBool("force")
		return a.exportReport(cmd.Context(), c, q, out, wrap, force)
	}
	return cmd
}

// exportReport asks the daemon for the report and writes it whole or not at all.
func (a *app) exportReport(ctx context.Context, c *httpClient, q url.Values, out string, wrap export.WrapOptions, force bool) error {
	resp, err := c.do(ctx, "POST", "/v1/report", q, "", nil)
	if err != nil {
		return err
	}
	return a.saveReport(resp, out, wrap, force)
}

// saveReport writes the report in an answer of the daemon.
func (a *app) saveReport(resp *http.Response, out string, wrap export.WrapOptions, force bool) (err error) {
	defer resp.Body.Close()
	if out == "" || isFolder(out) {
		_, p, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition"))
		name := filepath.Base(p["filename"])
		if err != nil || name == "." {
			return errors.New("the daemon named no file; use --out FILE")
		}
		out = filepath.Join(out, name+wrap.Suffix())
	}
	text, file, size := sha256.New(), sha256.New(), int64(0)
	write := func(to io.Writer) error {
		w, err := export.Wrap(io.MultiWriter(to, file), wrap)
		if err != nil {
			return err
		}
		size, err = io.Copy(io.MultiWriter(w, text), resp.Body)
		if err = errors.Join(err, w.Close()); err != nil {
			return fmt.Errorf("write %s: %w", out, err)
		}
		return nil
	}
	if out == "-" {
		return write(a.Out)
	}
	if err := cli.WriteFile(out, force, write); err != nil {
		return err
	}
	return a.describeExport(out, size, text.Sum(nil), file.Sum(nil))
}

// isFolder tells whether --out names a folder: one that is there, or by its end.
func isFolder(path string) bool {
	if path != "" && os.IsPathSeparator(path[len(path)-1]) {
		return true
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// describeExport says what the file is; to cron, with --quiet, nothing.
func (a *app) describeExport(path string, size int64, text, file []byte) error {
	if a.Quiet {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := a.Err
	var hidden unopened
	o := export.VerifyOptions{TrustFile: true, Visit: hidden.record, VisitEvent: hidden.event}
	if r, err := export.VerifyReport(f, o); err == nil {
		fmt.Fprintf(w, "sealed    windows up to %s, records %s to %s\n", r.Until.Format("2006-01-02 15:04 UTC"), cli.Grouped(r.BaseSize), cli.Grouped(r.Size-1))
		what := map[export.Level]string{export.Standard: "totals and hashes, no user data", export.Pseudonymous: "events without names", export.Detailed: "every event with all that is known of it"}
		fmt.Fprintf(w, "level     %s: %s\n", r.Level, what[r.Level])
		if r.Level > export.Standard && hidden.records > 0 {
			fmt.Fprintf(w, "          but for %s: raw events pruned [pruned],\n          or the keys of their months destroyed [key_destroyed]\n", cli.Plural(hidden.records, "record"))
		}
	}
	fmt.Fprintf(w, "wrote     %s   %s\n", path, cli.ByteSize(size))
	fmt.Fprintf(w, "sha256    %x\n", text)
	if string(text) != string(file) {
		fmt.Fprintf(w, "  of file %x\n", file)
	}
	fmt.Fprintf(w, "next      read it, then carry it to your vendor:\n          %s report show %s\n", a.Called, path)
	return nil
}

// unopened counts the records with events that a report does not show.
type unopened struct{ records uint64 }

func (u *unopened) record(v *export.Visited) error {
	switch kind, _, _ := bytes.Cut(v.Line, []byte(" ")); string(kind) {
	case "usage", "late", "adjust":
		u.records++
	}
	return nil
}

func (u *unopened) event(e export.VisitedEvent) error {
	if e.Pos == 0 && e.Line != "" {
		u.records--
	}
	return nil
}

func (a *app) reportShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Show what a report says, in reading order; needs no key",
		Example: `  meterseal report show site.usage
  meterseal report show site.usage --format lines | less
  meterseal report show site.usage --format csv > usage.csv
  meterseal report show site.usage --format sqlite -o usage.db
  meterseal report show site.usage --format png -o site`,
		Args: cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	f.String("format", "text", strings.Join(showFormats, ", "))
	f.StringP("out", "o", "-", `file to write, "-" for stdout`)
	f.Bool("force", false, "replace a file of other content")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		format, _ := f.GetString("format")
		out, _ := f.GetString("out")
		force, _ := f.GetBool("force")
		if !slices.Contains(showFormats, format) {
			return cli.Fail(cli.ExitUsage, "config_invalid", "use "+strings.Join(showFormats, ", "), "--format %s is no format", format)
		}
		in, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer in.Close()
		o := export.VerifyOptions{TrustFile: true}
		switch {
		case format == formatParts, format == formatQR, format == formatPNG:
			return a.showParts(in, format, out, force)
		case format == "sqlite" && out == "-":
			return cli.Fail(cli.ExitUsage, "config_invalid", "give -o usage.db", "a database is not written to stdout")
		case format == "sqlite":
			err = cli.PlaceFile(out, force, func(tmp string) error {
				_, err := export.WriteSQLite(cmd.Context(), tmp, in, o)
				return err
			})
		case out == "-":
			err = showReport(a.Out, in, format, o)
		default:
			err = cli.WriteFile(out, force, func(w io.Writer) error { return showReport(w, in, format, o) })
		}
		var doc *export.Error
		if errors.As(err, &doc) {
			return documentFailure(args[0], doc)
		}
		return err
	}
	return cmd
}

var showFormats = []string{"text", "lines", "json", "csv", "sqlite", formatParts, formatQR, formatPNG}

func showReport(w io.Writer, in io.Reader, format string, o export.VerifyOptions) error {
	if format == "csv" {
		_, err := export.WriteCSV(w, in, nil, o)
		return err
	}
	if format == "lines" {
		_, err := export.WriteExplained(w, in, o)
		return err
	}
	r, err := export.VerifyReport(in, o)
	if err != nil {
		return err
	}
	if format == "json" {
		return export.WriteJSON(w, r)
	}
	return export.WriteText(w, r)
}

func (a *app) reportVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Verify a usage report or usage.db, or the vendor's reply",
		Long: `Verify from the file and public keys alone: signature, every record, root,
totals, numbering, coverage, account. Of a reply: the vendor's receipt, and the
totals that the vendor states. Exit code 0 when it holds; 3 when it does not,
and the first bad record is named where one can be.`,
		Example: `  meterseal report verify --site-key "$(cat site.pub)" site.usage
  meterseal report verify --site-key KEY --base site.usage next.usage
  meterseal report verify --vendor-key KEY --site-key KEY site.reply`,
		Args: cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	f.StringArray("site-key", nil, "the site's public key (vkey), or @FILE with it; may repeat")
	f.StringArray("receipt-key", nil, "the vendor's receipt key; may repeat")
	f.StringArray("vendor-key", nil, "of a reply: the vendor's license key, or its receipt and reply keys; may repeat")
	f.StringArray("base", nil, "FILE with a checkpoint that was accepted before, or the report that ends with it; may repeat")
	f.String("origin", "", "the ledger that it must be of")
	f.Bool("json", false, "the report or reply as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if reply, err := isReply(args[0]); err != nil {
			return err
		} else if reply {
			return a.verifyReply(cmd, args[0])
		}
		o, err := verifyOptions(cmd)
		if err != nil {
			return err
		}
		r, err := verifyFile(cmd.Context(), args[0], o)
		asJSON, _ := f.GetBool("json")
		switch {
		case !asJSON:
			err = errors.Join(export.WriteVerified(a.Out, r, err), err)
		case err == nil:
			err = export.WriteJSON(a.Out, r)
		}
		var doc *export.Error
		if errors.As(err, &doc) {
			return documentFailure(args[0], doc)
		}
		if err != nil {
			return err
		}
		if r.Verdict == export.Reject {
			code := r.Decisive().Code
			return cli.Fail(cli.ExitDocument, code, export.Hint(code), "%s: the site signed what does not add up", filepath.Base(args[0]))
		}
		return nil
	}
	return cmd
}

// siteKey reads --site-key: a public key, or @FILE with one.
func siteKey(value string) (key string, v note.Verifier, err error) {
	key = value
	if file, ok := strings.CutPrefix(value, "@"); ok {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", nil, err
		}
		key = string(b)
	}
	key = strings.TrimSpace(key)
	if v, err = ledger.ParseVerifier(key, ledger.RoleSite); err != nil {
		return "", nil, cli.Fail(cli.ExitUsage, "config_invalid", `"meterseal keys show" prints it at the site`, "--site-key is no site key: %v", err)
	}
	return key, v, nil
}

// siteKeyFlags reads all --site-key flags.
func siteKeyFlags(cmd *cobra.Command) (keys []string, err error) {
	values, _ := cmd.Flags().GetStringArray("site-key")
	for _, k := range values {
		if k, _, err = siteKey(k); err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func verifyOptions(cmd *cobra.Command) (o export.VerifyOptions, err error) {
	f := cmd.Flags()
	if o.SiteKeys, err = siteKeyFlags(cmd); err != nil {
		return o, err
	}
	if len(o.SiteKeys) == 0 {
		return o, cli.Fail(cli.ExitUsage, "config_invalid", `"meterseal keys show" prints it at the site`, "--site-key is missing: without the key nothing is proven")
	}
	o.ReceiptKeys, _ = f.GetStringArray("receipt-key")
	o.Origin, _ = f.GetString("origin")
	bases, _ := f.GetStringArray("base")
	v, err := ledger.ParseVerifier(o.SiteKeys[0], ledger.RoleSite)
	if err != nil {
		return o, err
	}
	for _, path := range bases {
		base, err := readBase(cmd.Context(), path, o, v)
		if err != nil {
			return o, err
		}
		o.Accepted = append(o.Accepted, base)
	}
	return o, nil
}

// readBase reads a checkpoint: a signed note, or that of an earlier report, which
// has to verify but for what it continues in turn.
func readBase(ctx context.Context, path string, o export.VerifyOptions, site note.Verifier) (ledger.Checkpoint, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return ledger.Checkpoint{}, err
	}
	cp, err := ledger.ParseCheckpoint(b, site)
	if err == nil {
		return cp.Checkpoint, nil
	}
	o.TrustFile = true
	r, notReport := verifyFile(ctx, path, o)
	var doc *export.Error
	switch {
	case notReport == nil && r.Verdict == export.Reject:
		code := r.Decisive().Code
		return ledger.Checkpoint{}, cli.Fail(cli.ExitDocument, code, export.Hint(code), "%s: the site signed what does not add up", filepath.Base(path))
	case notReport == nil:
		return r.New, nil
	case errors.As(notReport, &doc) && doc.Code != export.CodeNotAReport:
		return ledger.Checkpoint{}, documentFailure(path, doc)
	}
	return ledger.Checkpoint{}, cli.Fail(cli.ExitDocument, "signature/invalid", "give an earlier report, or the note of its checkpoint", "%s: %v", path, err)
}

// verifyFile verifies a .usage file or a usage.db.
func verifyFile(ctx context.Context, path string, o export.VerifyOptions) (*export.Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, 16)
	n, _ := io.ReadFull(f, head)
	if export.IsSQLite(head[:n]) {
		return export.VerifySQLite(ctx, path, o)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return export.VerifyReport(f, o)
}

func (a *app) reportOpenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "open",
		Short: "Disclose single events under the root that was reported",
		Long: `Write an opening: one event of a record with the proofs that it stands under
the first checkpoint that the vendor gave a receipt for, or the newest signed
one while there is none. So a disputed event can be shown months later without
showing any other. With --http the running daemon is asked; else it must be
stopped, or a copy of its data be used.`,
		Example: `  meterseal report open --record 12 --event 0 --out event.opening`,
		Args:    cobra.NoArgs,
	}
	openingFlags(cmd)
	f := cmd.Flags()
	f.StringP("out", "o", "-", `file to write, "-" for stdout`)
	f.Bool("force", false, "replace a file of other content")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		force, _ := f.GetBool("force")
		out, _ := f.GetString("out")
		return a.open(cmd, func(b []byte) error {
			if out == "-" {
				_, err := a.Out.Write(b)
				return err
			}
			return cli.WriteFile(out, force, func(w io.Writer) error {
				_, err := w.Write(b)
				return err
			})
		})
	}
	return cmd
}
