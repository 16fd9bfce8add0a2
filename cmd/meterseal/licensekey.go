package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// LicenseConfig is what a site is told about its license. The zero value is an
// evaluation. The vendor's conditions are not in it: those stand in the signed
// license alone (Y-03).
type LicenseConfig struct {
	Key, KeyFile string // the one line of a license key, or the file with it
	SolutionName string
	ProductLine  string // empty: any
	ID, User     string // a user-based license, which has no key
	VendorKeys   []ledger.VKey
}

// given tells whether a license is configured.
func (l *LicenseConfig) given() bool { return l.Key != "" || l.KeyFile != "" || l.ID != "" }

// licenseContradictions are the rules for license.* (P-02, L-04).
func (c *Config) licenseContradictions(at func(key, format string, args ...any)) {
	l := &c.License
	switch {
	case l.Key != "" && l.KeyFile != "":
		at("license.key", "license.key and license.key_file are both set: one is enough")
	case l.ID != "" && (l.Key != "" || l.KeyFile != ""):
		at("license.id", "license.id is set beside a license key: the key names its license")
	}
	switch {
	case l.given() && l.SolutionName == "":
		key := "license.id"
		if l.Key != "" {
			key = "license.key"
		} else if l.KeyFile != "" {
			key = "license.key_file"
		}
		at(key, "%s is set, license.solution_name is not: set both, or neither for evaluation", key)
	case !l.given() && l.SolutionName != "":
		at("license.solution_name", "license.solution_name is set, license.key is not: set both, or neither for evaluation")
	}
	switch {
	case l.User != "" && l.ID == "", l.ID != "" && l.User == "":
		at("license.user", "license.id and license.user belong together")
	case l.ID != "" && len(l.VendorKeys) == 0:
		at("license.id", "license.id needs license.vendor_keys: without a license key nothing else says whose reply to trust")
	}
	if l.ID != "" {
		if err := ledger.CheckLicenseID(l.ID); err != nil {
			at("license.id", "license.id %q is no license id", l.ID)
		}
	}
}

// checkStoreGiven refuses a license in the default folder, which is for
// evaluation only (P-04).
func (c *Config) checkStoreGiven() error {
	if !c.License.given() || c.NATSURL != "" && c.DataDir != "none" || c.DataDir != "none" && c.origin["store.dir"] != "default" {
		return nil
	}
	return cli.Fail(cli.ExitStore, "store_missing", "set store.dir (--data DIR) or store.nats_url; ./meterseal-data is for evaluation only",
		"a license is configured, but no store: usage must be kept where you decided to keep it")
}

func parseVendorKeys(v string) (keys []ledger.VKey, err error) {
	for _, s := range strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune(" ,\n\t", r) }) {
		k, err := ledger.ParseVKey(s)
		if err == nil {
			err = k.CheckRole(ledger.RoleLicense)
		}
		if err != nil {
			return nil, fmt.Errorf("is not a vendor's license key: %.80q", s)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// configured is the license of the configuration with what the site trusts.
type configured struct {
	note    []byte // nil: a user-based license that no reply has brought yet
	license *license.License
	id      string
	trusted []ledger.VKey // the vendor's license keys: never empty
	first   bool          // trusted on first use: nothing was configured, and nothing kept
}

// readLicense reads the license key of the configuration and finds whom to
// trust for it; nil: none is configured. It makes nothing, so that a start that
// is refused for its license leaves no trace.
func readLicense(cfg *Config) (*configured, error) {
	l := &cfg.License
	if !l.given() {
		return nil, nil
	}
	c := &configured{id: l.ID, trusted: l.VendorKeys}
	if len(c.trusted) == 0 {
		kept, err := readVendorKeys(cfg.DataDir)
		if err != nil {
			return nil, err
		}
		c.trusted, c.first = kept, len(kept) == 0
	}
	if l.ID != "" {
		return c, nil
	}
	line := l.Key
	if l.KeyFile != "" {
		b, err := os.ReadFile(l.KeyFile)
		if err != nil {
			return nil, cli.Fail(cli.ExitUsage, "config_invalid", "correct license.key_file", "license.key_file: %v", err)
		}
		line = string(b)
	}
	var err error
	if c.note, err = license.ParseKey(strings.TrimSpace(line)); err != nil {
		return nil, err
	}
	if c.first {
		if c.trusted, err = announced(c.note); err != nil {
			return nil, err
		}
	}
	if c.license, err = license.Verify(c.note, c.trusted, nil); err != nil {
		return nil, err
	}
	c.id = c.license.ID
	if !c.license.Bound() { // what the ledger has no say in, before there is one
		early := license.Site{SolutionName: l.SolutionName, ProductLine: l.ProductLine, Version: version, Trusted: c.trusted, Meter: cfg.meter}
		if _, _, err := early.Accept(c.note); err != nil {
			return nil, err
		}
	}
	if c.first { // only the key that signed it: the others count because of what it says
		c.trusted = signers(c.license, c.trusted)
	}
	return c, nil
}

// announced returns the license keys that a license says are in use. On first
// use they are all there is: docs/decisions/trust-anchor.md.
func announced(note []byte) ([]ledger.VKey, error) {
	l, err := license.Parse(note)
	if err != nil {
		return nil, err
	}
	if len(l.NextLicenseKeys) == 0 {
		return nil, cli.Fail(cli.ExitLicense, license.CodeInvalid, "set license.vendor_keys (--vendor-key) to the vendor's license key",
			"license %s does not say which key has signed it, and none is configured", l.ID)
	}
	return l.NextLicenseKeys, nil
}

// signers returns those of keys that have signed l.
func signers(l *license.License, keys []ledger.VKey) (out []ledger.VKey) {
	for _, k := range keys {
		if _, err := license.Verify(l.Bytes(), []ledger.VKey{k}, nil); err == nil {
			out = append(out, k)
		}
	}
	return out
}

// bound tells whether the configuration has a license for one site, as a reply
// brings it. c may be nil.
func (c *configured) bound() bool { return c != nil && c.license != nil && c.license.Bound() }

// origin returns vendor domain and license id for the origin of a ledger that
// begins now. c may be nil: an evaluation.
func (c *configured) origin(cfg *Config) (domain, licenseID string) {
	domain, licenseID = "eval.invalid", "eval"
	keys := cfg.License.VendorKeys
	if c != nil {
		keys, licenseID = c.trusted, c.id
	}
	if len(keys) > 0 {
		domain, _, _ = strings.Cut(keys[0].Name, "/")
	}
	return domain, licenseID
}

// vendorKeysFile keeps the anchor that was trusted first, beside the site's keys.
const vendorKeysFile = "vendor.keys"

// readVendorKeys returns the kept anchor of a data directory; none: nil.
func readVendorKeys(dir string) ([]ledger.VKey, error) {
	path := filepath.Join(dir, keysDir, vendorKeysFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, keyFailure(err)
	}
	keys, err := parseVendorKeys(string(b))
	if err != nil || len(keys) == 0 {
		return nil, keyFailure(fmt.Errorf("%s holds no vendor key", path))
	}
	return keys, nil
}

// keepVendorKeys keeps the anchor. It is written once, and again only when the
// configuration names another.
func (c *configured) keepVendorKeys(dir string) error {
	var text strings.Builder
	for _, k := range c.trusted {
		text.WriteString(k.String() + "\n")
	}
	folder := filepath.Join(dir, keysDir)
	path := filepath.Join(folder, vendorKeysFile)
	if old, err := os.ReadFile(path); err == nil && string(old) == text.String() {
		return nil
	}
	if err := cli.WriteSynced(path+".new", []byte(text.String())); err != nil {
		return err
	}
	return moveSynced(path+".new", path)
}
