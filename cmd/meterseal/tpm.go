package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/tpm"
	"github.com/meterseal/meterseal/ledger"
)

const (
	siteKeyFile   = "site.key" // or site.key.tpm, sealed
	tpmVariable   = "METERSEAL_TPM_DEVICE"
	defaultDevice = "/dev/tpmrm0" // where commands look that read no configuration
)

// errSealed is met where a sealed key is to be read and no TPM was named.
var errSealed = errors.New("the site key is sealed by a TPM")

// openTPM opens the TPM at a device, nil without one.
func openTPM(device string) (*tpm.TPM, error) {
	if device == "" {
		return nil, nil
	}
	t, err := tpm.Open(device)
	if err != nil {
		return nil, tpmFailure(err)
	}
	return t, nil
}

func tpmFailure(err error) error {
	return cli.Fail(cli.ExitUsage, "tpm_unavailable", "correct tpm.device, and let the daemon's user use it (group tss)", "%v", err)
}

// hasSiteKey tells whether folder holds the site key, in the clear or sealed.
func hasSiteKey(folder string) bool { return hasKeyFile(folder, siteKeyFile) }

func hasKeyFile(folder, name string) bool {
	path := filepath.Join(folder, name)
	return exists(path) || exists(path+tpm.SealedSuffix)
}

// exists is true where it cannot be told: whoever reads the file is told why.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// readKeyFile reads a site key of folder. Of a clear and a sealed one, which a
// crash of keys seal leaves behind, it reads the one that it can.
func readKeyFile(folder, name string, t *tpm.TPM) (*ledger.SecretKey, error) {
	path := filepath.Join(folder, name)
	sealed := path + tpm.SealedSuffix
	if t != nil && exists(sealed) {
		return t.ReadKeyFile(sealed)
	}
	k, err := ledger.ReadKeyFile(path)
	if errors.Is(err, os.ErrNotExist) && exists(sealed) {
		err = fmt.Errorf("%w: %s", errSealed, sealed)
	}
	return k, err
}

// writeKeyFile writes a new site key: with a TPM never in the clear.
func writeKeyFile(folder, name string, t *tpm.TPM, key *ledger.SecretKey) error {
	path := filepath.Join(folder, name)
	if t == nil {
		return ledger.WriteKeyFile(path, key)
	}
	return t.WriteKeyFile(path+tpm.SealedSuffix, key)
}

// withTPM calls f for a command that has no configuration: with the TPM of
// METERSEAL_TPM_DEVICE or that of the machine if the site key in folder is
// sealed, else with none.
func withTPM(folder string, f func(t *tpm.TPM) error) error {
	if !exists(filepath.Join(folder, siteKeyFile+tpm.SealedSuffix)) {
		return f(nil)
	}
	t, err := openTPM(cmp.Or(os.Getenv(tpmVariable), defaultDevice))
	if err != nil {
		return err
	}
	return errors.Join(f(t), t.Close())
}

// readKeys reads the keys of a data directory for a command that has no
// configuration.
func readKeys(dir string) (k *siteKeys, err error) {
	if _, err := formats.Check(dir); err != nil {
		return nil, err
	}
	err = withTPM(filepath.Join(dir, keysDir), func(t *tpm.TPM) (err error) {
		k, err = readKeysWith(dir, t)
		return err
	})
	return k, err
}

// count counts the TPM's counter up and returns the attribute that says so. A
// TPM that fails is logged: its counter says more to the vendor, and no ledger
// ever stops for it.
func (s *site) count() string {
	if s.tpm == nil {
		return ""
	}
	n, err := s.tpm.Increment()
	if err != nil {
		s.log.Warn("count with the tpm", "path", s.cfg.TPMDevice, "err", err)
		return ""
	}
	return " counter=" + strconv.FormatUint(n, 10)
}

// countClose is count for a close, unless it will find nothing to close: a value
// that no record holds looks like a record that is gone.
func (s *site) countClose(now bool) string {
	st := s.store.Status()
	fresh := st.Records != s.store.LastClose()
	for _, n := range st.Nodes {
		fresh = fresh || now && n.Open > 0
	}
	if !fresh {
		return ""
	}
	return s.count()
}

func (a *app) keysSealCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "seal",
		Short: "Seal the site's private key with this machine's TPM",
		Long: `Seal the site's private key with this machine's TPM: keys/site.key becomes
keys/site.key.tpm, which no other machine can read. Start the daemon with
--tpm-device then. Copies of the clear key in backups stay what they are.`,
		Example: "  meterseal keys seal --data ./meterseal-data --tpm-device /dev/tpmrm0",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().String("data", "./meterseal-data", "data directory")
	cmd.Flags().String("tpm-device", "", "TPM 2.0, a device or a unix socket (default $"+tpmVariable+", or "+defaultDevice+")")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		dir, _ := cmd.Flags().GetString("data")
		given, _ := cmd.Flags().GetString("tpm-device")
		device := cmp.Or(given, os.Getenv(tpmVariable), defaultDevice)
		t, err := openTPM(device)
		if err != nil {
			return err
		}
		defer t.Close()
		path := filepath.Join(dir, keysDir, siteKeyFile)
		if hasKeyFile(filepath.Dir(path), nextKeyFile) {
			return cli.Fail(cli.ExitUsage, "rotation_pending", "import the reply to a report with the new key first", "%s is to replace the site key", path+".next")
		}
		if !exists(path) {
			return cli.Fail(cli.ExitHistory, "site_key_missing", `it is made at the first "meterseal serve"; give the right --data`, "no clear site key in %s", dir)
		}
		if err := t.SealKeyFile(path); err != nil {
			return keyFailure(err)
		}
		_, err = fmt.Fprintf(a.Err, "sealed    %s\nnext      %s serve --data %s --tpm-device %s\n", path+tpm.SealedSuffix, a.Called, dir, device)
		return err
	}
	return cmd
}
