package main

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/portal"
)

func (a *app) siteCommand() *cobra.Command {
	list := &cobra.Command{
		Use:     "list",
		Short:   "Every site with its clusters: state, accepted size, both dates",
		Example: "  meterseal-vendor site list\n  meterseal-vendor site list --due 30d",
		Args:    cobra.NoArgs,
		RunE:    a.with(a.listSites),
	}
	list.Flags().String("due", "", "only what has to report or be renewed within this span, and what to send")
	show := &cobra.Command{
		Use:     "show SITE",
		Short:   "One ledger, and the chain of its accepted checkpoints",
		Example: "  meterseal-vendor site show 'plant north'",
		Args:    cobra.ExactArgs(1),
		RunE:    a.with(a.showSite),
	}
	label := &cobra.Command{Use: "label SITE LABEL", Short: "Change what people call a ledger", Args: cobra.ExactArgs(2)}
	label.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		l, err := ledgerOf(cmd, p, args[0])
		if err != nil {
			return err
		}
		if err := p.LabelLedger(cmd.Context(), l.Origin, args[1], who()); err != nil {
			return err
		}
		return a.showSite(cmd, p, []string{l.Origin})
	})
	reject := &cobra.Command{Use: "reject SITE", Short: "Refuse an activation that waits, which frees it", Args: cobra.ExactArgs(1)}
	reject.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		return a.endSite(cmd, p, args[0], p.RejectLedger)
	})
	revoke := &cobra.Command{Use: "revoke SITE", Short: "End a site key, as after a theft: later reports are key/revoked", Args: cobra.ExactArgs(1)}
	revoke.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		return a.endSite(cmd, p, args[0], p.RevokeLedger)
	})
	for _, c := range []*cobra.Command{reject, revoke} {
		c.Flags().String("reason", "", "what happened")
	}
	return catalog("site", "Sites and their ledgers", list, show, label, a.approveCommand(), a.replyCommand(), reject, revoke)
}

func (a *app) listSites(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	if due, _ := cmd.Flags().GetString("due"); due != "" {
		return a.listDue(cmd, p, due)
	}
	all, err := p.Sites(cmd.Context())
	if err != nil {
		return err
	}
	t := cli.NewTable("license", "site", "registration", "#size", "report_by", "end")
	for _, s := range all {
		for _, l := range s.Ledgers {
			t.Add(s.License, l.Label, l.Registration, cli.Grouped(l.Size), day(l.ReportBy, "-"), endOf(l))
		}
		if s.Registration == "partially_licensed" {
			t.Note("license " + s.License + " is partially_licensed: some of its clusters are not")
		}
	}
	return a.list(cmd, map[string]any{"sites": all}, t)
}

// endOf is the end of the newest license of a ledger.
func endOf(l *portal.Ledger) string {
	if l.Serial == 0 {
		return "-"
	}
	return day(l.LicenseEnd, "never")
}

// listDue lists what has to happen within a span (O-31).
func (a *app) listDue(cmd *cobra.Command, p *portal.Portal, due string) error {
	within, err := span(due)
	if err != nil {
		return cli.Fail(cli.ExitUsage, portal.CodeBadRequest, "write it as 30d", "--due %s: %v", due, err)
	}
	all, err := p.Reminders(cmd.Context(), within)
	if err != nil {
		return err
	}
	t := cli.NewTable("what", "customer", "site", "report_by", "end", "send")
	for _, r := range all {
		t.Add(r.Code, r.Customer, r.Label, day(r.ReportBy, "-"), day(r.End, "never"), r.File+"*.usage")
	}
	return a.list(cmd, map[string]any{"reminders": all}, t)
}

func (a *app) showSite(cmd *cobra.Command, p *portal.Portal, args []string) error {
	l, err := ledgerOf(cmd, p, args[0])
	if err != nil {
		return err
	}
	receipts, err := p.Receipts(cmd.Context(), l.Origin)
	if err != nil {
		return err
	}
	missing, err := p.MissingRecords(cmd.Context(), l.Origin)
	if err != nil {
		return err
	}
	v := map[string]any{"ledger": l, "receipts": receipts, "missing": missing}
	pairs := []string{"site", l.Label, "ledger", l.Origin, "license", l.License, "state", l.State, "registration", l.Registration, "approval", l.Approval,
		"supersedes", l.Supersedes, "activated", both(l.Activated), "ended", dateOr(l.Ended, both), "reported until", dateOr(l.Until, both),
		"report by", dateOr(l.ReportBy, both), "license end", both(l.LicenseEnd),
		"serial", fmt.Sprintf("%d given, %d in force at the last report", l.Serial, l.InForce)}
	for _, k := range l.Keys {
		pairs = append(pairs, "key", k)
	}
	for _, k := range l.RotatedKeys {
		pairs = append(pairs, "earlier key", k)
	}
	for _, name := range slices.Sorted(maps.Keys(l.Variables)) {
		pairs = append(pairs, "variable", fmt.Sprintf("%s = %q", name, l.Variables[name]))
	}
	for _, m := range missing {
		pairs = append(pairs, "missing", fmt.Sprintf("records %d to %d: send their report again", m[0], m[1]-1))
	}
	if err := a.pairs(cmd, v, pairs...); err != nil {
		return err
	}
	if form, err := cli.OutputForm(cmd); err != nil || form == "json" {
		return err
	}
	t := cli.NewTable("#size", "root", "receipt", "report")
	for _, r := range receipts {
		t.Add(cli.Grouped(r.Size), r.Root[:min(12, len(r.Root))], r.Time.UTC().Format("2006-01-02 15:04"), r.ReportID)
	}
	return t.Print(a.Out, "table", true)
}

func (a *app) approveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "approve SITE",
		Short:   "Give a ledger that waits its license, in its reply made again",
		Example: "  meterseal-vendor site approve 'plant north' --out plant.reply",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().String("out", "", "file for the reply, or - for stdout")
	cmd.Flags().Bool("force", false, "write over files of other content")
	cmd.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		l, err := ledgerOf(cmd, p, args[0])
		if err != nil {
			return err
		}
		answer, err := p.ApproveLedger(cmd.Context(), l.Origin, who())
		if err != nil {
			return err
		}
		out, _ := cmd.Flags().GetString("out")
		force, _ := cmd.Flags().GetBool("force")
		if len(answer.Reply) == 0 {
			a.say("activated by code: the same activation code, typed again, gets its confirmation")
			out = ""
		}
		if out == "-" {
			return a.writeDocument(out, force, answer.Reply)
		}
		if out != "" {
			if err := a.writeReply(out, force, answer); err != nil {
				return err
			}
			a.say("wrote %s", out)
		}
		return a.pairs(cmd, answer, "site", answer.Label, "license", answer.License, "status", answer.LicenseStatus, "reply", answer.ReplyName)
	})
	return cmd
}

func (a *app) replyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reply SITE",
		Short: "The newest reply of a ledger again, as file, parts or QR codes",
		Long: `Write the newest reply of a ledger again. --format file writes it as it is;
parts writes numbered lines of text of at most 2 kB, each of which fits a QR
code; terminal draws those; png writes one picture each to the folder --out.`,
		Example: "  meterseal-vendor site reply 'plant north' --out again.reply\n  meterseal-vendor site reply 'plant north' --format png --out qr",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().String("format", "file", "file, parts, terminal or png")
	cmd.Flags().String("out", "-", "file, or folder for png; - for stdout")
	cmd.Flags().Bool("force", false, "write over files of other content")
	cmd.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		l, err := ledgerOf(cmd, p, args[0])
		if err != nil {
			return err
		}
		reply, name, err := p.NewestReply(cmd.Context(), l.Origin)
		if err != nil {
			return err
		}
		return a.writeAgain(cmd, reply, name)
	})
	return cmd
}

// writeAgain writes a reply in the form that is asked for.
func (a *app) writeAgain(cmd *cobra.Command, reply []byte, name string) error {
	format, _ := cmd.Flags().GetString("format")
	out, _ := cmd.Flags().GetString("out")
	force, _ := cmd.Flags().GetBool("force")
	if format == "file" {
		return a.writeDocument(out, force, reply)
	}
	parts, err := export.SplitParts(reply)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	switch format {
	case "parts":
		b.WriteString(strings.Join(parts, "\n") + "\n")
	case "terminal":
		for i, part := range parts {
			fmt.Fprintf(&b, "part %d of %d\n", i+1, len(parts))
			if err := export.WriteQRText(&b, part, false); err != nil {
				return err
			}
		}
	case "png":
		if out == "-" {
			return cli.Fail(cli.ExitUsage, "config_invalid", "give --out FOLDER", "pictures are written to a folder")
		}
		for i, part := range parts {
			b.Reset()
			if err := export.WriteQRPNG(&b, part, 4); err != nil {
				return err
			}
			path := filepath.Join(out, strings.TrimSuffix(name, ".reply")+"-"+strconv.Itoa(i+1)+".png")
			if err := a.writeDocument(path, force, b.Bytes()); err != nil {
				return err
			}
			a.say("wrote %s", path)
		}
		return nil
	default:
		return cli.Fail(cli.ExitUsage, "config_invalid", "use file, parts, terminal or png", "--format %s is no format", format)
	}
	return a.writeDocument(out, force, b.Bytes())
}
