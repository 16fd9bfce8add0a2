package main

import (
	"context"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/portal"
)

// changeCommand makes the command for a change that takes the license alone.
func (a *app) changeCommand(verb, short string, change func(*portal.Portal, context.Context, string, string) (*portal.Change, error)) *cobra.Command {
	cmd := &cobra.Command{
		Use:   verb + " ID",
		Short: short,
		Long: short + `.

Offline it takes effect when a site imports its reply, or when the license there
ends. --out writes a reply for each active site.`,
		Example: "  meterseal-vendor license " + verb + " L-1 --out replies",
		Args:    cobra.ExactArgs(1),
	}
	replyFlags(cmd)
	cmd.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		c, err := change(p, cmd.Context(), args[0], who())
		return a.changed(cmd, c, err)
	})
	return cmd
}

func (a *app) creditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "credit SITE METER AMOUNT",
		Short: "Give an amount back to the current period of a limit",
		Long: `Give an amount back to the current period of a meter's limit, at one site. The
ledger keeps what was used. The reply that brings it is written to --out.`,
		Example: "  meterseal-vendor license credit 'plant north' render.pages 500 \\\n      --reason 'double import' --out replies",
		Args:    cobra.ExactArgs(3),
	}
	cmd.Flags().String("reason", "", "why, for the audit log")
	replyFlags(cmd)
	cmd.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		amount, err := strconv.ParseUint(args[2], 10, 63)
		if err != nil || amount == 0 {
			return cli.Fail(cli.ExitUsage, portal.CodeBadRequest, "give it in the meter's smallest unit", "amount %q is no whole number above 0", args[2])
		}
		l, err := ledgerOf(cmd, p, args[0])
		if err != nil {
			return err
		}
		reason, _ := cmd.Flags().GetString("reason")
		r, err := p.Credit(cmd.Context(), l.Origin, args[1], amount, reason, who())
		if err != nil {
			return err
		}
		if err := a.writeReplies(cmd, []portal.Refresh{*r}); err != nil {
			return err
		}
		return a.pairs(cmd, r, "site", r.Label, "credit", cli.Grouped(amount)+" "+args[1], "serial", strconv.FormatUint(r.Serial, 10))
	})
	return cmd
}

func (a *app) releaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release SITE",
		Short: "Free the activation of a lost site, without its last report",
		Long: `Free the activation of a site that was lost. Later reports of it are refused
with ledger/superseded; a site that can still report frees it itself, with its
last report. Who released it and why goes to the audit log.`,
		Example: "  meterseal-vendor license release 'plant north' --reason 'burnt down'",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().String("reason", "", "what happened")
	cmd.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		return a.endSite(cmd, p, args[0], p.ReleaseLedger)
	})
	return cmd
}

// endSite ends a ledger, with its reason, by what staff decided.
func (a *app) endSite(cmd *cobra.Command, p *portal.Portal, name string, end func(ctx context.Context, origin, reason, actor string) error) error {
	reason, _ := cmd.Flags().GetString("reason")
	if reason == "" {
		return cli.Fail(cli.ExitUsage, portal.CodeBadRequest, "give --reason", "somebody will ask why")
	}
	l, err := ledgerOf(cmd, p, name)
	if err != nil {
		return err
	}
	if err := end(cmd.Context(), l.Origin, reason, who()); err != nil {
		return err
	}
	if l, err = p.Ledger(cmd.Context(), l.Origin); err != nil {
		return err
	}
	return a.pairs(cmd, l, "site", l.Label, "ledger", l.Origin, "state", l.State, "registration", l.Registration, "license", l.License)
}

func (a *app) codeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "code ID [FILE]",
		Short: "Activate by typed codes, where no file may leave a site",
		Long: `Without FILE, make an initialization code for a license: it serves once, within
seven days. The site turns it into an activation code ("meterseal license
activate --code"). With FILE, or - for stdin, read that activation code and
print the confirmation code, which the site imports ("meterseal import --code").`,
		Example: "  meterseal-vendor license code L-1\n  meterseal-vendor license code L-1 activation.txt",
		Args:    cobra.RangeArgs(1, 2),
	}
	cmd.Flags().Bool("qr", false, "print the code as a QR drawing too")
	cmd.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		if len(args) == 1 {
			c, err := p.NewCode(cmd.Context(), args[0], who())
			if err != nil {
				return err
			}
			a.say("valid until %s", both(c.Expires))
			return a.printCode(cmd, c, c.Code)
		}
		text, err := a.readAll(args[1])
		if err != nil {
			return err
		}
		c, err := p.ActivateByCode(cmd.Context(), args[0], text, portal.AcceptOptions{Actor: who()})
		if err != nil {
			return err
		}
		a.say("site %s, license %s", c.Origin, c.LicenseStatus)
		return a.printCode(cmd, c, c.Confirmation)
	})
	return cmd
}

func (a *app) readAll(path string) (string, error) {
	if path != "-" {
		b, err := os.ReadFile(path)
		return string(b), err
	}
	var b strings.Builder
	_, err := io.Copy(&b, io.LimitReader(a.In, 64<<10))
	return b.String(), err
}

// printCode prints a typed code as it stands, or v as JSON.
func (a *app) printCode(cmd *cobra.Command, v any, code string) error {
	form, err := cli.OutputForm(cmd)
	if err != nil {
		return err
	}
	if form == "json" {
		return cli.PrintJSON(a.Out, v)
	}
	if code == "" {
		return nil
	}
	if _, err := a.Out.Write([]byte(strings.TrimSuffix(code, "\n") + "\n")); err != nil {
		return err
	}
	if qr, _ := cmd.Flags().GetBool("qr"); qr {
		return export.WriteQRText(a.Out, strings.TrimSuffix(code, "\n"), false)
	}
	return nil
}
