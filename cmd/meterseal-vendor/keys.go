package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/portal"
)

func (a *app) keysCommand() *cobra.Command {
	list := &cobra.Command{
		Use:     "list",
		Short:   "The public halves of the vendor's keys",
		Example: "  meterseal-vendor keys list --role license",
		Args:    cobra.NoArgs,
	}
	announce := &cobra.Command{
		Use:   "announce",
		Short: "Make the next key of a role, which licenses list from now on",
		Long: `Make the next key of a role. Every license that is signed from now on lists it,
and it signs nothing before "keys rotate". The license key announces the next
one by its signature, so no site has to be told in another way.`,
		Example: "  meterseal-vendor keys announce --role license --label 2027",
		Args:    cobra.NoArgs,
	}
	rotate := &cobra.Command{
		Use:   "rotate",
		Short: "Let the announced key of a role sign from now on",
		Long: `Let the announced key of a role sign. It is refused with key_not_announced while
there is an active site whose reports do not yet show a license that lists it:
that site could not verify what it signs. --force does it all the same.`,
		Example: "  meterseal-vendor keys rotate --role license",
		Args:    cobra.NoArgs,
	}
	revoke := &cobra.Command{
		Use:     "revoke KEY",
		Short:   "End a key: licenses say from now on that nothing of it counts",
		Example: "  meterseal-vendor keys revoke vendor.example/license/2026",
		Args:    cobra.ExactArgs(1),
	}
	for _, c := range []*cobra.Command{list, announce, rotate, revoke} {
		dataFlags(c)
	}
	for _, c := range []*cobra.Command{list, announce, rotate} {
		c.Flags().String("role", "", "license, receipt or reply")
	}
	cli.OutputFlags(list)
	for _, c := range []*cobra.Command{announce, rotate, revoke} {
		cli.FormFlags(c)
	}
	announce.Flags().String("label", "", "last part of the key's name (default the year)")
	rotate.Flags().Bool("force", false, "also where a site was not told yet")
	list.RunE = a.with(a.listKeys)
	announce.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, _ []string) error {
		role, _ := cmd.Flags().GetString("role")
		label, _ := cmd.Flags().GetString("label")
		if label == "" {
			label = strconv.Itoa(a.now().UTC().Year())
		}
		k, err := p.AddKey(cmd.Context(), role, label, who())
		return a.showKey(cmd, k, err)
	})
	rotate.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, _ []string) error {
		role, _ := cmd.Flags().GetString("role")
		force, _ := cmd.Flags().GetBool("force")
		k, err := p.PromoteKey(cmd.Context(), role, force, who())
		return a.showKey(cmd, k, err)
	})
	revoke.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		k, err := p.RevokeKey(cmd.Context(), args[0], who())
		return a.showKey(cmd, k, err)
	})
	return group("keys", "The vendor's keys", list, announce, rotate, revoke)
}

func (a *app) listKeys(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	role, _ := cmd.Flags().GetString("role")
	t := cli.NewTable("role", "state", "key")
	keys := []portal.Key{}
	for _, k := range p.Keys() {
		if role == "" || role == k.Role {
			keys = append(keys, k)
			t.Add(k.Role, k.State, k.VKey)
		}
	}
	return a.list(cmd, map[string]any{"keys": keys}, t)
}

func (a *app) showKey(cmd *cobra.Command, k portal.Key, err error) error {
	if err != nil {
		return err
	}
	return a.pairs(cmd, k, "role", k.Role, "state", k.State, "key", k.VKey)
}
