package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// ActivationCode is console.Licensing: what this site answers to the vendor's
// initialization code where no file may leave (L-13).
func (l licensing) ActivationCode(ctx context.Context, init string) (string, error) {
	code, err := export.ParseInitializationCode(init)
	if err != nil {
		return "", err
	}
	open, err := l.openRecord(ctx)
	if err != nil {
		return "", err
	}
	c, err := export.NewActivationCode(open, code)
	if err != nil {
		return "", &console.Problem{Status: 409, Code: license.CodeInvalid, Message: err.Error(), Hint: "carry the first report as a file"}
	}
	return c.String(), nil
}

// openRecord returns the first record of a ledger that can still be activated by
// codes: one that began under a license key and is not bound yet.
func (l licensing) openRecord(ctx context.Context) (*ledger.Open, error) {
	t := l.terms.Load()
	refuse := func(why string) error {
		return &console.Problem{Status: 409, Code: license.CodeInvalid, Message: why, Hint: "carry the first report as a file, and import the reply"}
	}
	switch {
	case t.license == nil:
		return nil, refuse("codes are for a license key, and none is configured")
	case t.license.Bound():
		return nil, refuse("license " + t.license.ID + " is bound to this site already")
	case !t.license.Codes:
		return nil, refuse("license " + t.license.ID + " does not allow codes")
	}
	if _, err := l.store.Sync(ctx); err != nil { // the ledger may have opened just now
		return nil, err
	}
	line, err := l.store.Record(0)
	if err != nil {
		return nil, err
	}
	rec, err := ledger.ParseRecord(line)
	if err != nil {
		return nil, err
	}
	open, ok := rec.(*ledger.Open)
	if o, err := ledger.ParseOrigin(l.keys.origin()); !ok || err != nil || o.License != t.license.ID {
		return nil, refuse("this ledger began before the license came, so the vendor cannot know its origin from a code")
	}
	return open, nil
}

// confirmed returns the bound license that a confirmation code completes.
func (l licensing) confirmed(ctx context.Context, code string) ([]byte, error) {
	c, err := export.ParseConfirmationCode(code)
	if err != nil {
		return nil, err
	}
	open, err := l.openRecord(ctx)
	if err != nil {
		return nil, err
	}
	t := l.terms.Load()
	return t.license.Confirm(open, uint64(c.Serial), c.Issued, c.End, c.Signature[:], t.trusted)
}

// ImportCode is console.Licensing.
func (l licensing) ImportCode(ctx context.Context, code string, dryRun bool) (console.Imported, error) {
	note, err := l.confirmed(ctx, code)
	if err != nil {
		return console.Imported{}, err
	}
	return l.Import(ctx, note, dryRun)
}

// activateByCode prints the activation code for what the vendor shows.
func (a *app) activateByCode(ctx context.Context, c *httpClient, init string) error {
	if err := export.KindInitialize.CheckRow(1, init); err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"code": init})
	if err != nil {
		return err
	}
	resp, err := c.do(ctx, "POST", "/v1/activation", nil, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Code string `json:"code"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("read answer of %s: %w", c.base, err)
	}
	if _, err := io.WriteString(a.Out, answer.Code); err != nil {
		return err
	}
	if !a.Quiet {
		fmt.Fprintf(a.Err, "next      type these rows at your vendor's, then his answer here:\n          %s import --code\n", a.Called)
	}
	return nil
}

// importCode reads what the vendor answered, row by row, and takes it into use:
// the rows of a confirmation code, or the parts of a reply as QR readers give them.
func (a *app) importCode(ctx context.Context, c *httpClient, rows []string, dry bool) (*importFile, error) {
	next := a.rowReader(rows)
	first, err := next(1, export.KindConfirm.Rows())
	if err != nil {
		return nil, err
	}
	if export.IsParts([]byte(strings.TrimSpace(first))) {
		doc, err := joinParts(first, next)
		if err != nil {
			return nil, err
		}
		f := &importFile{Name: "parts", doc: doc}
		f.send(ctx, c, dry)
		return f, nil
	}
	code := first
	for n := 1; ; n++ {
		row := code[strings.LastIndexByte(code, '\n')+1:]
		if err := export.KindConfirm.CheckRow(n, row); err != nil {
			return nil, err
		}
		if n == export.KindConfirm.Rows() {
			break
		}
		if row, err = next(n+1, export.KindConfirm.Rows()); err != nil {
			return nil, err
		}
		code += "\n" + row
	}
	f := &importFile{Name: "code", doc: []byte(code + "\n"), query: url.Values{"code": {"true"}}}
	f.send(ctx, c, dry)
	return f, nil
}

// joinParts reads parts until none is missing.
func joinParts(first string, next func(n, of int) (string, error)) ([]byte, error) {
	var j export.Joiner
	for row := first; ; {
		if err := j.Add(row); err != nil {
			return nil, err
		}
		missing := j.Missing()
		if len(missing) == 0 {
			return j.Document()
		}
		var err error
		if row, err = next(missing[0], j.Total()); err != nil {
			return nil, err
		}
	}
}

// rowReader returns what gives one row after the other: those of the command
// line, else those that are typed.
func (a *app) rowReader(rows []string) func(n, of int) (string, error) {
	if len(rows) > 0 {
		return func(n, of int) (string, error) {
			if len(rows) == 0 {
				return "", cli.Fail(cli.ExitUsage, "", "give every row", "row %d of %d is missing", n, of)
			}
			row := rows[0]
			rows = rows[1:]
			return row, nil
		}
	}
	in, terminal := bufio.NewScanner(a.In), isTerminal(a.In)
	return func(n, of int) (string, error) {
		for {
			if terminal {
				fmt.Fprintf(a.Err, "row %d of %d: ", n, of)
			}
			if !in.Scan() {
				return "", cli.Fail(cli.ExitUsage, "", "type every row, or give them as arguments", "row %d of %d is missing", n, of)
			}
			row := strings.TrimSpace(in.Text())
			if row == "" {
				continue
			}
			if err := export.KindConfirm.CheckRow(n, row); err != nil && terminal && !export.IsParts([]byte(row)) {
				fmt.Fprintf(a.Err, "%v; type it again\n", err)
				continue
			}
			return row, nil
		}
	}
}
