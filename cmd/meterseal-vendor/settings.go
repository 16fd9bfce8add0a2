package main

import (
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
)

func (a *app) settingsCommand() *cobra.Command {
	show := &cobra.Command{Use: "show", Short: "Name, colours and reminders", Args: cobra.NoArgs, RunE: a.with(a.showSettings)}
	set := &cobra.Command{
		Use:     "set",
		Short:   "Change name, colours, logo or reminders",
		Example: "  meterseal-vendor settings set --name 'Vendor Ltd' --accent '#1d5fa8'\n  meterseal-vendor settings set --logo logo.png --remind-to ops@vendor.example",
		Args:    cobra.NoArgs,
		RunE:    a.with(a.setSettings),
	}
	f := set.Flags()
	f.String("name", "", "name of the vendor, on pages and in mails")
	f.String("domain", "", "name under which customers know the portal")
	f.String("contact", "", "how customers reach the vendor")
	f.String("accent", "", "colour of links and buttons, #rrggbb")
	f.String("accent-dark", "", "the same in the dark theme")
	f.String("logo", "", "PNG, JPEG or WebP file; none: takes it away")
	f.Bool("remind-customers", true, "reminders go to the users of the customer")
	f.StringSlice("remind-to", nil, "they go to these addresses too; none: to nobody")
	mails := &cobra.Command{Use: "mails", Short: "Reminders that were written", Args: cobra.NoArgs, RunE: a.with(a.listMails)}
	mails.Flags().String("state", "", "pending, sent or failed (default all)")
	return catalog("settings", "How the portal looks, and whom it reminds", mails, show, set)
}

func (a *app) showSettings(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	s, err := p.Settings(cmd.Context())
	if err != nil {
		return err
	}
	logo := "none"
	if s.LogoType != "" {
		logo = s.LogoType
	}
	return a.pairs(cmd, s, "name", s.Name, "domain", s.Domain, "contact", s.Contact, "accent", s.Accent, "accent dark", s.AccentDark, "logo", logo,
		"remind customers", strconv.FormatBool(s.RemindCustomers), "remind to", strings.Join(s.RemindTo, " "))
}

func (a *app) setSettings(cmd *cobra.Command, p *portal.Portal, args []string) error {
	s, err := p.Settings(cmd.Context())
	if err != nil {
		return err
	}
	f := cmd.Flags()
	for name, to := range map[string]*string{"name": &s.Name, "domain": &s.Domain, "contact": &s.Contact, "accent": &s.Accent, "accent-dark": &s.AccentDark} {
		if f.Changed(name) {
			*to, _ = f.GetString(name)
		}
	}
	if f.Changed("remind-customers") {
		s.RemindCustomers, _ = f.GetBool("remind-customers")
	}
	if f.Changed("remind-to") {
		if s.RemindTo, _ = f.GetStringSlice("remind-to"); len(s.RemindTo) == 1 && s.RemindTo[0] == "none" {
			s.RemindTo = nil
		}
	}
	if f.Changed("logo") {
		path, _ := f.GetString("logo")
		if s.LogoType, s.Logo, err = readLogo(path); err != nil {
			return err
		}
	}
	if err := p.SetSettings(cmd.Context(), s, who()); err != nil {
		return err
	}
	return a.showSettings(cmd, p, args)
}

func (a *app) listMails(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	state, _ := cmd.Flags().GetString("state")
	page, err := p.Mails(cmd.Context(), portal.ListOptions{State: state, Limit: 500})
	if err != nil {
		return err
	}
	t := cli.NewTable("written", "to", "state", "subject")
	for _, m := range page.Items {
		t.Add(ledger.FormatDate(m.Created), m.Address, m.State, m.Subject)
		if m.Error != "" {
			t.Note(m.Error)
		}
	}
	return a.list(cmd, map[string]any{"mails": page.Items, "total": page.Total}, t)
}

// readLogo reads a picture; its type is what its bytes say.
func readLogo(path string) (kind string, b []byte, err error) {
	if path == "none" {
		return "", nil, nil
	}
	if b, err = os.ReadFile(path); err != nil {
		return "", nil, cli.Fail(cli.ExitUsage, "config_invalid", "name a picture, or none", "%v", err)
	}
	return http.DetectContentType(b), b, nil
}
