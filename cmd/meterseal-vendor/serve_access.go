package main

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/portal/gate"
)

// readAccess reads what of serve's flags says who can reach the portal, and refuses
// what would let everybody on the way read passwords, or on this machine keys.
func (s *server) readAccess(cmd *cobra.Command) error {
	f := cmd.Flags()
	public, _ := f.GetString("public-url")
	s.gate.PublicURL = strings.TrimSuffix(public, "/")
	s.gate.Now, s.gate.Log = s.now, s.log
	proxies, _ := f.GetStringSlice("trusted-proxy")
	for _, text := range proxies {
		p, err := parseNet(text)
		if err != nil {
			return cli.Fail(cli.ExitUsage, "config_invalid", "give an address, or a net as 10.0.0.0/8", "--trusted-proxy %s", text)
		}
		s.gate.TrustedProxies = append(s.gate.TrustedProxies, p)
	}
	if s.d.MaxSize != "" {
		most, err := cli.ParseSize(s.d.MaxSize)
		if err != nil {
			return cli.Fail(cli.ExitUsage, "config_invalid", "correct it, then try again", "%s: max_size %v", filepath.Join(s.d.dir, settingsFile), err)
		}
		s.gate.BodyBytesMax = most + formBytes
	}
	s.gate.SecondFactor = s.d.SecondFactor
	if err := errors.Join(s.readTLS(cmd), s.readOIDC()); err != nil {
		return err
	}
	behind, _ := f.GetBool("behind-proxy")
	if behind && !strings.HasPrefix(s.gate.PublicURL, "https://") {
		return cli.Fail(cli.ExitUsage, "config_invalid", "give --public-url https://NAME", "--behind-proxy without the name under which the proxy speaks TLS: cookies would not be bound to it")
	}
	if s.tls == nil && !behind && !loopback(s.listen) {
		return cli.Fail(cli.ExitUsage, "tls_missing", "give --tls-cert and --tls-key; or --behind-proxy, if a proxy speaks TLS with the browsers",
			"%s is not loopback, and passwords would cross the network in the clear", s.listen)
	}
	return s.checkPrivate()
}

// formBytes is what a form may have around the report that is uploaded with it.
const formBytes = 1 << 20

func parseNet(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

// loopback tells whether only this machine can reach an address.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

func (s *server) readTLS(cmd *cobra.Command) error {
	cert, _ := cmd.Flags().GetString("tls-cert")
	key, _ := cmd.Flags().GetString("tls-key")
	if cert == "" && key == "" {
		return nil
	}
	if err := private(key); err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return cli.Fail(cli.ExitUsage, "config_invalid", "give both --tls-cert and --tls-key, PEM files that belong together", "%v", err)
	}
	s.tls = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	return nil
}

// readOIDC reads what vendor.yaml says of a provider that vouches for users.
func (s *server) readOIDC() error {
	switch {
	case s.d.OIDCIssuer == "" && s.d.OIDCClientID == "" && s.d.OIDCSecretFile == "":
		return nil
	case s.d.OIDCIssuer == "" || s.d.OIDCClientID == "" || s.d.OIDCSecretFile == "" || s.gate.PublicURL == "":
		return cli.Fail(cli.ExitUsage, "config_invalid", "give oidc_issuer, oidc_client_id and oidc_secret_file, and --public-url", "a provider of sign-ins is named in part")
	}
	if err := private(s.d.OIDCSecretFile); err != nil {
		return err
	}
	secret, err := firstLine(s.d.OIDCSecretFile)
	s.gate.OIDC = &gate.OIDC{Issuer: s.d.OIDCIssuer, ClientID: s.d.OIDCClientID, ClientSecret: secret}
	return err
}

// checkPrivate refuses to serve with keys that others on this machine can read.
func (s *server) checkPrivate() error {
	paths, err := filepath.Glob(filepath.Join(s.d.dir, "keys", "*"))
	if err != nil {
		return err
	}
	for _, p := range append(paths, filepath.Join(s.d.dir, passphraseFile), s.d.PassphraseFile, s.d.DSNFile) {
		if err := private(p); err != nil {
			return err
		}
	}
	return nil
}

// private refuses a file that others can read; one that is not there is none.
func private(path string) error {
	if path == "" {
		return nil
	}
	i, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if i.Mode().IsRegular() && i.Mode().Perm()&0o077 != 0 {
		return cli.Fail(cli.ExitUsage, "key_file_open", "chmod 600 "+path, "others on this machine can read %s (mode %04o)", path, i.Mode().Perm())
	}
	return nil
}
