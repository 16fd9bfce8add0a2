package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

func (a *app) importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE...",
		Short: "Take the vendor's reply into use: receipt, license, or why not",
		Long: `Take replies of the vendor into use, as files or a folder of them; a license, a
license key, or the parts that a QR reader gave, one a line. Each file is
checked by itself, the newest one that verifies wins, and every file that is not
used is named with the reason. What is imported is in force at once, without a
restart. A refused import changes nothing.

Exit code: 0 in force; 3 refused, or the vendor rejected the report; 7 the
ledger is not the one that the vendor accepted; 8 a newer program is needed.`,
		Example: `  meterseal import replies/first.reply
  meterseal import --dry-run /media/usb
  meterseal import --code
  meterseal status`,
		Args: func(cmd *cobra.Command, args []string) error {
			if typed, _ := cmd.Flags().GetBool("code"); typed {
				return nil
			}
			return cobra.MinimumNArgs(1)(cmd, args)
		},
	}
	httpFlags(cmd)
	cli.FormFlags(cmd)
	typed := cmd.Flags().Bool("code", false, "type the vendor's confirmation code, or the parts of a QR reader, row by row")
	cmd.Flags().Bool("dry-run", false, "check, and say what would change")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		dry, _ := cmd.Flags().GetBool("dry-run")
		if *typed {
			f, err := a.importCode(cmd.Context(), c, args, dry)
			if err != nil {
				return err
			}
			return a.printImports([]*importFile{f}, form)
		}
		files, err := importFiles(args)
		if err != nil {
			return err
		}
		for _, f := range files {
			f.send(cmd.Context(), c, dry)
		}
		return a.printImports(files, form)
	}
	return cmd
}

// importFile is a file that was named, and what became of it.
type importFile struct {
	Name string `json:"file"`
	*console.Imported
	Err *cli.Failure `json:"error,omitempty"`

	doc    []byte
	newest uint64 // serial and size together say which document is newer
	serial uint64
	query  url.Values

	inFolder bool // nobody named it
	other    bool // likewise, and no document of ours
}

// importFiles reads the files, newest first, so that the older ones are told
// apart from those that do not verify.
func importFiles(args []string) ([]*importFile, error) {
	var files []*importFile
	for _, path := range args {
		info, err := os.Stat(path)
		if err != nil {
			return nil, cli.Fail(cli.ExitUsage, "", "give the path of a reply, or of a folder with replies", "%v", err)
		}
		if !info.IsDir() {
			files = append(files, readImport(path, false))
			continue
		}
		list, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if e.Type().IsRegular() {
				files = append(files, readImport(filepath.Join(path, e.Name()), true))
			}
		}
	}
	slices.SortStableFunc(files, func(a, b *importFile) int {
		return cmp.Or(cmp.Compare(b.serial, a.serial), cmp.Compare(b.newest, a.newest))
	})
	return files, nil
}

func readImport(path string, inFolder bool) *importFile {
	f := &importFile{Name: filepath.Base(path), inFolder: inFolder}
	in, err := os.Open(path)
	if err == nil {
		defer in.Close()
		var text io.Reader
		if text, _, err = export.Unwrap(in, export.UnwrapOptions{}); err == nil {
			f.doc, err = io.ReadAll(io.LimitReader(text, ledger.ReplyBytesMax+1))
		}
	}
	if err == nil && export.IsParts(f.doc) {
		f.doc, err = export.ReadParts(bytes.NewReader(f.doc))
	}
	if err == nil && export.IsReply(f.doc) {
		var r *export.Reply
		if r, err = export.ParseReply(f.doc); err == nil {
			f.order(r)
		}
	}
	if err != nil {
		f.fail(err)
		return f
	}
	if l, err := license.Parse(f.doc); err == nil {
		f.serial = l.Serial
		return f
	}
	known := export.IsReply(f.doc) || bytes.HasPrefix(f.doc, []byte("ms")) // of any version
	if !known {
		f.other = inFolder
		what := "it is neither a reply nor a license"
		if bytes.HasPrefix(f.doc, []byte("meterseal-report/")) {
			what = "this is a usage report, the file that goes to the vendor"
		}
		f.fail(&export.Error{Code: export.CodeNotAReply, Record: -1, Message: what})
	}
	return f
}

// order finds out which of several replies is the newest.
func (f *importFile) order(r *export.Reply) {
	if cp, err := r.Checkpoint(); err == nil {
		f.newest = cp.Size
	}
	if r.License != nil {
		if l, err := license.Parse(r.License); err == nil {
			f.serial = l.Serial
		}
	}
}

func (f *importFile) fail(err error) {
	f.Err = describeError(err)
	f.Err.Exit = importExit(f.Err.Code, f.Err.Exit)
}

// importExit is the exit code of an import that was refused.
func importExit(code string, exit int) int {
	switch {
	case code == "upgrade_needed", code == export.CodeTooNew:
		return cli.ExitVersion
	case code == license.CodeLedgerBehind, code == license.CodeLedgerOff:
		return cli.ExitHistory
	case code == "", code == "daemon_unreachable", code == "internal_error", code == "config_invalid", code == "busy":
		return exit
	case strings.HasPrefix(code, "store_"):
		return cli.ExitStore
	}
	return cli.ExitDocument
}

// send hands the document to the daemon.
func (f *importFile) send(ctx context.Context, c *httpClient, dry bool) {
	if f.Err != nil {
		return
	}
	q := f.query
	if q == nil {
		q = url.Values{}
	}
	if dry {
		q.Set("dry_run", "true")
	}
	resp, err := c.do(ctx, "POST", "/v1/reply", q, "text/plain", bytes.NewReader(f.doc))
	if err != nil {
		f.fail(err)
		return
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&f.Imported); err != nil {
		f.fail(fmt.Errorf("read answer of %s: %w", c.base, err))
	}
}

// needless tells whether f is no reason for concern beside a file that is in force:
// an earlier one, or from a courier's folder one that is for another site.
func (f *importFile) needless() bool {
	return f.Err.Code == license.CodeSuperseded || f.inFolder && f.Err.Code == license.CodeWrongSiteKey
}

// printImports says what became of each file. What a file in force makes needless
// is no failure.
func (a *app) printImports(files []*importFile, form string) error {
	if form == "json" {
		if err := cli.PrintJSON(a.Out, map[string]any{"files": files}); err != nil {
			return err
		}
	} else {
		for _, f := range files {
			f.print(a.Out)
		}
	}
	inForce := slices.ContainsFunc(files, func(f *importFile) bool { return f.Imported != nil && f.Reject == nil })
	var worst *cli.Failure
	for _, f := range files {
		switch {
		case f.Err != nil && !f.other && !(inForce && f.needless()):
			worst = f.Err
		case f.Imported != nil && f.Reject != nil:
			worst = &cli.Failure{Code: f.Reject.Code, Message: f.Name + ": the vendor did not accept the report: " + f.Reject.Message, Hint: f.Reject.How, Exit: cli.ExitDocument}
		default:
			continue
		}
		if f.Err != nil {
			worst.Message = f.Name + ": " + worst.Message
		}
		break
	}
	if worst == nil && !inForce {
		return cli.Fail(cli.ExitDocument, export.CodeNotAReply, "choose the .reply file that the vendor gave", "none of the files is a reply")
	}
	if worst == nil {
		return nil
	}
	return worst
}

func (f *importFile) print(w io.Writer) {
	line := func(format string, args ...any) {
		fmt.Fprintln(w, cli.Wrap(fmt.Sprintf("%-14s %s", f.Name, fmt.Sprintf(format, args...)), cli.Columns, "               "))
	}
	if f.Err != nil {
		line("not used: %s [%s]", f.Err.Message, f.Err.Code)
		return
	}
	i := f.Imported
	would := ""
	if i.DryRun {
		would = "would be "
	}
	by, vendor := "", cmp.Or(i.Vendor, "the vendor")
	if i.Issued != nil {
		by = " on " + i.Issued.Format(time.DateOnly)
	}
	switch {
	case i.Reject != nil:
		line("%s did not accept the report%s", vendor, by)
		for _, x := range [][2]string{{"why", i.Reject.Message}, {"fixed by", i.Reject.FixBy}, {"how", i.Reject.How}} {
			fmt.Fprintln(w, cli.Wrap(fmt.Sprintf("  %-12s %s", x[0], x[1]), cli.Columns, "               "))
		}
		return
	case i.Already:
		line("in force already: nothing to do")
		return
	case i.Kind == "license", i.Result == string(export.ResultRefresh):
		line("%simported: a license", would)
	case i.License == nil && i.Pending:
		line("%saccepted by %s%s; the license is pending, a reply with it follows", would, vendor, by)
	case i.TotalsEqual != nil && *i.TotalsEqual:
		line("%saccepted by %s%s; totals equal ours", would, vendor, by)
	default:
		line("%saccepted by %s%s", would, vendor, by)
	}
	for _, d := range i.TotalsDiffer {
		fmt.Fprintln(w, cli.Wrap(fmt.Sprintf("  %-12s %s", "differs", d), cli.Columns, "               "))
	}
	if i.Refused {
		fmt.Fprintf(w, "  %-12s none: the vendor says that it is suspended, revoked, or over\n", "license")
	}
	if l := i.License; l != nil {
		fmt.Fprintf(w, "  %-12s serial %s, ends %s\n", "license", changed(l.WasSerial, &l.Serial, func(n uint64) string { return fmt.Sprint(n) }), changed(l.WasEnds, l.Ends, day))
		if l.ReportBy != nil || l.WasReportBy != nil {
			fmt.Fprintf(w, "  %-12s %s\n", "report due", changed(l.WasReportBy, l.ReportBy, day))
		}
		if l.State != string(license.StateActive) {
			fmt.Fprintf(w, "  %-12s %s\n", "state", l.State)
		}
	}
	for _, x := range i.Explain {
		fmt.Fprintf(w, "  %-12s the vendor asks about %s\n", "explain", x)
	}
	if i.KeyRotated {
		fmt.Fprintf(w, "  %-12s the new site key alone counts now\n", "key")
	}
	if i.Final {
		fmt.Fprintf(w, "  %-12s the vendor has the last report: the license is free\n", "final")
	}
}

func day(t time.Time) string { return t.Format(time.DateOnly) }

// changed writes "old -> new", or the new value alone.
func changed[T any](old, new *T, spell func(T) string) string {
	text := "never"
	if new != nil {
		text = spell(*new)
	}
	if old == nil || spell(*old) == text {
		return text
	}
	return spell(*old) + " -> " + text
}

// ask reads one line of the terminal; without one the flag has to say it.
func (a *app) ask(question, flag string) (string, error) {
	if !isTerminal(a.In) {
		return "", cli.Fail(cli.ExitUsage, "config_invalid", "add "+flag, "nobody is there to be asked: %s", question)
	}
	fmt.Fprintf(a.Err, "%s: ", question)
	var b strings.Builder
	buf := make([]byte, 1)
	for {
		n, err := a.In.Read(buf)
		if n == 1 && buf[0] != '\n' {
			b.WriteByte(buf[0])
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return strings.TrimRight(b.String(), "\r"), nil
	}
}
