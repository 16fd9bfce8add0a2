package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// databaseFiles are the SQLite database in the folder, and what SQLite keeps
// beside it.
var databaseFiles = []string{"portal.db", "portal.db-wal", "portal.db-shm"}

func (a *app) rebuildCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rebuild [REPLY...]",
		Short: "Make the database again from the files that were kept",
		Long: `Fill an empty database from the files of the folder, and from replies that
customers still hold. Every report is verified again, and only what the vendor's
own keys have signed is believed. Alerts and the audit log are not in the files.

--replace sets an SQLite database that is there aside, and compares the balances
of the new one with it. For PostgreSQL, give the address of an empty database.

Exit code: 0 made, and equal where there was something to compare; 7 balances
differ; 1 there is a database already.`,
		Example: "  meterseal-vendor rebuild --data V --replace\n  meterseal-vendor rebuild --data V from-customers/*.reply",
		Args:    cobra.ArbitraryArgs,
	}
	dataFlags(cmd)
	cli.FormFlags(cmd)
	cmd.Flags().Bool("replace", false, "set the SQLite database that is there aside")
	cmd.RunE = a.rebuild
	return cmd
}

func (a *app) rebuild(cmd *cobra.Command, args []string) error {
	d, err := dataOf(cmd)
	if err != nil {
		return err
	}
	o, err := a.options(d)
	if err != nil {
		return err
	}
	var before *balances
	aside := ""
	if replace, _ := cmd.Flags().GetBool("replace"); replace {
		if o.DSN != "" {
			return cli.Fail(cli.ExitUsage, "config_invalid", "give --dsn of an empty database instead", "--replace is for SQLite")
		}
		if before, aside, err = a.setAside(cmd.Context(), o); err != nil {
			return err
		}
	}
	p, found, err := portal.Rebuild(cmd.Context(), o, args)
	if err != nil {
		if aside != "" {
			err = errors.Join(err, moveDatabase(o.Dir, aside, ""))
		}
		var refused *portal.Error
		if errors.As(err, &refused) && refused.Code == portal.CodeState {
			return cli.Fail(cli.ExitError, refused.Code, "--replace sets it aside; for PostgreSQL give --dsn of an empty database", "%s", refused.Message)
		}
		return err
	}
	defer p.Close()
	return a.printRebuilt(cmd, p, found, before, aside)
}

// setAside reads the balances of the SQLite database and renames it.
func (a *app) setAside(ctx context.Context, o portal.Options) (*balances, string, error) {
	p, err := portal.Open(ctx, o)
	if err != nil {
		return nil, "", err
	}
	before, err := balancesOf(ctx, p)
	if err = errors.Join(err, p.Close()); err != nil {
		return nil, "", err
	}
	aside := ".before-" + a.now().UTC().Format("20060102T150405Z")
	return before, aside, moveDatabase(o.Dir, "", aside)
}

// moveDatabase renames the files of the database: their names get another
// ending.
func moveDatabase(dir, from, to string) error {
	for _, name := range databaseFiles {
		path := filepath.Join(dir, name)
		if from != "" { // back again, over what was begun
			if err := os.Remove(path + to); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		if err := os.Rename(path+from, path+to); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return cli.SyncFolder(dir)
}

// balances are what a rebuilt database must have again, a line each.
type balances struct{ lines []string }

func balancesOf(ctx context.Context, p *portal.Portal) (*balances, error) {
	b := &balances{}
	ledgers, err := p.Ledgers(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, l := range ledgers {
		b.lines = append(b.lines, fmt.Sprintf("ledger %s: %s, %d records, root %s", l.Origin, l.State, l.Size, l.Root))
	}
	rows, err := p.Statement(ctx, time.Unix(0, 0), time.Unix(1<<40, 0), portal.StatementFilter{Period: license.ResetDaily})
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		b.lines = append(b.lines, fmt.Sprintf("%s, %s on %s: %d in %d events, adjusted %d, late %d, over %d", r.Ledger, r.Meter, r.From.Format(time.DateOnly),
			r.Quantity, r.Events, r.Adjusted, r.Late, r.Over))
	}
	slices.Sort(b.lines)
	return b, nil
}

// without returns the lines of b that other does not have.
func (b *balances) without(other *balances) []string {
	return slices.DeleteFunc(slices.Clone(b.lines), func(line string) bool {
		_, found := slices.BinarySearch(other.lines, line)
		return found
	})
}

func (a *app) printRebuilt(cmd *cobra.Command, p *portal.Portal, found *portal.Rebuilt, before *balances, aside string) error {
	v := map[string]any{"rebuilt": found}
	compared, old := "", ""
	var differ []string
	if before != nil {
		after, err := balancesOf(cmd.Context(), p)
		if err != nil {
			return err
		}
		for _, line := range before.without(after) {
			differ = append(differ, "was "+line)
		}
		for _, line := range after.without(before) {
			differ = append(differ, "is "+line)
		}
		compared, old = "equal to those before, "+cli.Plural(len(after.lines), "number"), databaseFiles[0]+aside
		if len(differ) > 0 {
			compared = cli.Plural(len(differ), "difference")
		}
		v["differences"], v["set_aside"] = differ, old
	}
	err := a.pairs(cmd, v, "licenses", cli.Grouped(found.Licenses), "ledgers", cli.Grouped(found.Ledgers), "reports", cli.Grouped(found.Reports),
		"without file", strings.Join(found.WithoutFile, ", "), "not used", strings.Join(found.Unused, ", "), "balances", compared, "set aside", old)
	if err != nil || len(differ) == 0 {
		return err
	}
	return &cli.Failure{Code: "balances_differ", Message: "the database that was made again has other balances", Errors: differ,
		Hint: "keep " + old + "; reports whose file or reply is lost are sent again", Exit: cli.ExitHistory}
}
