package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/portal"
)

func (a *app) acceptCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "accept FILE...",
		Short: "Take usage reports in; write the reply to each",
		Long: `Verify usage reports, book what is new, and write the reply to carry back: FILE
with the ending .reply, in the folder --out. Each file stands for itself. It
names its ledger; --cluster is what the ledger was called when it was chosen.
A file of QR parts, one a line, is the report that they carry.
The same file again books nothing and gives the same reply.

A refused report that can be tied to a ledger gets a reply too: it says why, and
the site shows it. Exit code: 0 all accepted, 3 one was refused, 1 one could not
be read, 8 one needs a newer program.`,
		Example: "  meterseal-vendor accept --out replies first.usage\n  meterseal-vendor accept --out replies *.usage --json",
		Args:    cobra.MinimumNArgs(1),
	}
	dataFlags(cmd)
	acceptFlags(cmd)
	cmd.Flags().String("out", ".", "folder for the replies")
	cmd.Flags().Bool("force", false, "write over files that are no replies of the same ledger")
	cli.OutputFlags(cmd)
	cmd.RunE = a.with(a.acceptFiles)
	return cmd
}

// acceptFlags say who brings a report, and what they think it is.
func acceptFlags(cmd *cobra.Command) {
	cmd.Flags().String("cluster", "", "label or origin of the ledger that was chosen")
	cmd.Flags().String("customer", "", "id or name: licenses of others are refused")
	cmd.Flags().String("user", "", "who activates, for licenses without a key")
}

func acceptOptions(cmd *cobra.Command, p *portal.Portal) (o portal.AcceptOptions, err error) {
	o.Ledger, _ = cmd.Flags().GetString("cluster")
	o.User, _ = cmd.Flags().GetString("user")
	o.Actor = who()
	o.Customer, err = customerFlag(cmd, p)
	return o, err
}

// taken is what became of one file.
type taken struct {
	File string `json:"file"`
	// Reply is the path of the reply; empty: there is none.
	Reply string `json:"reply,omitempty"`
	// Error is our own, or the disk's: nothing of the file was booked, or only its
	// reply could not be written.
	Error *cli.Failure `json:"error,omitempty"`
	*portal.Answer
}

// exit is the exit code that the file alone would have.
func (t *taken) exit() int {
	switch {
	case t.Error != nil:
		return t.Error.Exit
	case t.Refusal != nil:
		return refusalFailure(t.Refusal).Exit
	}
	return cli.ExitOK
}

func (a *app) acceptFiles(cmd *cobra.Command, p *portal.Portal, args []string) error {
	if _, err := cli.OutputForm(cmd); err != nil {
		return err
	}
	o, err := acceptOptions(cmd, p)
	if err != nil {
		return err
	}
	out, _ := cmd.Flags().GetString("out")
	force, _ := cmd.Flags().GetBool("force")
	files, written := []*taken{}, map[string]bool{}
	for _, path := range args {
		t := &taken{File: path}
		files = append(files, t)
		if t.Answer, err = a.acceptFile(cmd, p, path, o); err == nil && t.Answer.Reply != nil {
			to := filepath.Join(out, replyName(path))
			if written[to] { // files of one name, from two folders
				to = filepath.Join(out, t.ReplyName)
			}
			if err = a.writeReply(to, force, t.Answer); err == nil {
				t.Reply, written[to] = to, true
			}
		}
		if err != nil {
			t.Error = describeError(err)
			if t.Answer != nil && t.Error.Hint == "" {
				t.Error.Hint = `what it brought is booked: accept it again, or "` + programName + ` site reply"`
			}
		}
		if cmd.Context().Err() != nil {
			break
		}
	}
	return a.printTaken(cmd, files)
}

func (a *app) acceptFile(cmd *cobra.Command, p *portal.Portal, path string, o portal.AcceptOptions) (*portal.Answer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	if head, _ := in.Peek(8); !export.IsParts(head) { // too short: Accept says so
		return p.Accept(cmd.Context(), in, o)
	}
	report, err := export.ReadParts(in)
	if err != nil {
		return nil, err
	}
	return p.Accept(cmd.Context(), bytes.NewReader(report), o)
}

// replyName is FILE.usage, packed or not, with the ending .reply.
func replyName(path string) string {
	name := filepath.Base(path)
	for _, ending := range []string{".age", ".zst", ".usage"} {
		name = strings.TrimSuffix(name, ending)
	}
	return name + ".reply"
}

// writeReply writes a reply over an earlier one of the same ledger, and over
// nothing else unless force is set: the portal gives an earlier one again.
func (a *app) writeReply(path string, force bool, answer *portal.Answer) error {
	if old, err := os.ReadFile(path); err == nil && !force {
		if r, err := export.ParseReply(old); err == nil && r.Origin == answer.Origin {
			force = true
		}
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return a.writeDocument(path, force, answer.Reply)
}

// printTaken prints a row for each file. The exit code is that of the worst.
func (a *app) printTaken(cmd *cobra.Command, files []*taken) error {
	t := cli.NewTable("file", "site", "verdict", "#new_records", "reply")
	exit := cli.ExitOK
	for _, f := range files {
		if e := f.exit(); exit == cli.ExitOK || e == cli.ExitError {
			exit = e
		}
		addTaken(t, f)
	}
	if err := a.list(cmd, map[string]any{"files": files}, t); err != nil {
		return err
	}
	if exit != cli.ExitOK {
		return &cli.Failure{Exit: exit}
	}
	return nil
}

// addTaken adds the row of a file, and what there is to say about it.
func addTaken(t *cli.Table, f *taken) {
	name := filepath.Base(f.File)
	if f.Answer == nil {
		t.Add(name, "", "not read", "-", "-")
	} else {
		verdict, fresh := f.Code, cli.Grouped(f.Size-f.Base)
		switch {
		case f.Refusal != nil:
			verdict, fresh = "refused", "-"
		case f.Base >= f.Size:
			fresh = "nothing new"
		}
		reply := f.Reply
		if reply == "" {
			reply = "-"
		}
		site := f.Label
		if site == "" {
			site = f.LedgerID
		}
		t.Add(name, site, verdict, fresh, reply)
	}
	if f.Error != nil {
		note := f.Error.Message
		if f.Error.Hint != "" {
			note += "; " + f.Error.Hint
		}
		if f.Error.Code != "" {
			note += " [" + f.Error.Code + "]"
		}
		t.Note(note)
	}
	if f.Answer == nil {
		return
	}
	if e := f.Refusal; e != nil {
		t.Note(fmt.Sprintf("%s: %s. Fixed by: %s; %s", e.Code, e.Message, e.FixBy, e.Hint))
	}
	for _, q := range f.Findings {
		if f.Refusal != nil && q.Code == f.Refusal.Code {
			continue // said already, and no question
		}
		t.Note(fmt.Sprintf("the site is asked: record %s, %s: %s", cli.Grouped(q.Record), q.Code, q.Detail))
	}
	for _, alarm := range f.Alarms {
		t.Note("alert: " + alarm)
	}
	switch f.LicenseStatus {
	case portal.LicensePending:
		t.Note(`the license waits for approval: "` + programName + ` site approve ` + f.LedgerID + `"`)
	case portal.LicenseRefused:
		t.Note("the reply has no license: it is suspended, revoked, or its contract is over")
	}
	if f.LicenseStatus != portal.LicenseRefused && (f.LicenseEnd != nil || f.NextReportBy != nil) {
		end, due := "never", "never"
		if f.LicenseEnd != nil {
			end = day(*f.LicenseEnd, end)
		}
		if f.NextReportBy != nil {
			due = day(*f.NextReportBy, due)
		}
		t.Note("license ends " + end + ", next report due " + due)
	}
	if f.Final {
		t.Note("the ledger has ended; its activation is free")
	}
}
