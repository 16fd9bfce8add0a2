package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/tpm"
	"github.com/meterseal/meterseal/internal/tpm/tpmtest"
	"github.com/meterseal/meterseal/ledger"
)

// tpmSite is a daemon with a meter and these further settings.
func tpmSite(t *testing.T, settings string) *sessionSite {
	t.Helper()
	dir := t.TempDir()
	s := &sessionSite{t: t, data: filepath.Join(dir, "data"), file: filepath.Join(dir, "meterseal.yaml")}
	s.settings(settings)
	return s
}

func (s *sessionSite) settings(more string) {
	s.t.Helper()
	s.write("meterseal.yaml", "store: {max_size: 1GiB}\nmeters:\n  - {id: logins, aggregation: count}\n"+more)
}

func tpmSettings(s *tpmtest.TPM) string { return fmt.Sprintf("tpm: {device: %q}\n", s.Path) }

// closed counts one use and returns the report that closes it.
func (s *sessionSite) closed(level string, use bool) []byte {
	s.t.Helper()
	if use {
		s.says(cli.ExitOK, "send", "logins", "1", "--server", s.nats, "--node", "n1")
	}
	out := filepath.Join(s.t.TempDir(), "site.usage")
	s.says(cli.ExitOK, "report", "export", "--http", s.http, "--close-now", "--level", level, "--out", out)
	text, err := os.ReadFile(out)
	if err != nil {
		s.t.Fatal(err)
	}
	s.says(cli.ExitOK, "report", "verify", "--site-key", s.key(), out)
	return text
}

func (s *sessionSite) key() string {
	s.t.Helper()
	return strings.TrimSpace(s.says(cli.ExitOK, "keys", "show", "--data", s.data))
}

// refused starts the daemon, which does not start, and returns what it says.
func (s *sessionSite) refused(exit int) string {
	s.t.Helper()
	said := s.says(exit, "serve", "--data", s.data, "--nats", "127.0.0.1:0", "--http", "127.0.0.1:0", "--config", s.file)
	return strings.Join(strings.Fields(said), " ") // without the ends of its lines
}

var counterAttr = regexp.MustCompile(`(?m)^(?:boot|close end) .* counter=([0-9]+)`)

// counters returns the values of a report's boot and close records, in order.
func counters(t *testing.T, report []byte) (list []uint64) {
	t.Helper()
	for _, m := range counterAttr.FindAllSubmatch(report, -1) {
		n, err := strconv.ParseUint(string(m[1]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, n)
	}
	return list
}

// holes counts the values that are missing in between.
func holes(list []uint64) (n uint64) {
	for i := 1; i < len(list); i++ {
		n += list[i] - list[i-1] - 1
	}
	return n
}

// Attack row 6: a daemon and its nodes that are put back leave no trace in any
// file, but the counter of a TPM that was not put back has gone on. Restarts and
// repeated reports by themselves leave no hole.
func TestTPMShowsARollback(t *testing.T) {
	software := tpmtest.New(t)
	t.Setenv(tpmVariable, software.Path) // for commands that read no configuration
	s := tpmSite(t, tpmSettings(software))
	s.start()
	defer func() { s.stop() }()
	first := s.closed("standard", true)
	if again := s.closed("standard", false); !bytes.Equal(first, again) {
		t.Error("a second report without anything new has other bytes")
	}
	s.end()
	s.start()
	honest := counters(t, s.closed("standard", true))
	if len(honest) != 4 || holes(honest) != 0 {
		t.Fatalf("counters of two starts and two closes = %v, want four without a hole", honest)
	}
	s.end()
	kept := filepath.Join(t.TempDir(), "kept")
	if err := os.CopyFS(kept, os.DirFS(s.data)); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.closed("standard", true) // usage that is to disappear: a start and a close
	s.end()
	if err := errors.Join(os.RemoveAll(s.data), os.CopyFS(s.data, os.DirFS(kept)), private(s.data)); err != nil {
		t.Fatal(err)
	}
	s.start()
	after := counters(t, s.closed("standard", true))
	s.end()
	if !slices.Equal(after[:4], honest) || holes(after) != 2 {
		t.Errorf("counters after the ledger was put back = %v, want %v and then a hole of 2", after, honest)
	}
	if got := s.says(cli.ExitOK, "ledger", "check", "--data", s.data); !strings.Contains(got, "ok") {
		t.Errorf("ledger check says\n%s", got)
	}
	s.start()
}

// private gives a copied folder the modes that keys need.
func private(data string) error {
	keys := filepath.Join(data, keysDir)
	list, err := os.ReadDir(keys)
	for _, f := range list {
		err = errors.Join(err, os.Chmod(filepath.Join(keys, f.Name()), 0o600))
	}
	return errors.Join(err, os.Chmod(keys, 0o700))
}

// Attack row 21: with a TPM the key is never in the clear, and a copy of the
// data directory starts nowhere else.
func TestTPMKeepsTheKey(t *testing.T) {
	software := tpmtest.New(t)
	s := tpmSite(t, tpmSettings(software))
	s.start()
	s.end()
	clear, sealed := filepath.Join(s.data, keysDir, siteKeyFile), filepath.Join(s.data, keysDir, siteKeyFile+tpm.SealedSuffix)
	if exists(clear) || !exists(sealed) {
		t.Fatalf("clear key there: %v, sealed key there: %v, want the sealed one alone", exists(clear), exists(sealed))
	}
	s.start() // and again
	s.end()

	s.settings(tpmSettings(tpmtest.New(t)))
	if got := s.refused(cli.ExitHistory); !strings.Contains(got, "sealed by another TPM") || !strings.Contains(got, "[site_key_missing]") {
		t.Errorf("serve with another TPM says\n%s", got)
	}
	s.settings("")
	if got := s.refused(cli.ExitHistory); !strings.Contains(got, "set tpm.device") || !strings.Contains(got, "[site_key_missing]") {
		t.Errorf("serve without a TPM says\n%s", got)
	}
	s.settings(tpmSettings(software))
	software.Stop()
	if got := s.refused(cli.ExitUsage); !strings.Contains(got, "[tpm_unavailable]") {
		t.Errorf("serve while the TPM does not answer says\n%s", got)
	}
	s.settings("tpm: {device: \"/nowhere/tpmrm0\"}\n")
	if got := s.refused(cli.ExitUsage); !strings.Contains(got, "/nowhere/tpmrm0") || !strings.Contains(got, "[tpm_unavailable]") {
		t.Errorf("serve without the device says\n%s", got)
	}
}

// A site with a clear key gets a sealed one and stays the same site; a backup
// with its keys is restored on the same machine.
func TestKeysSeal(t *testing.T) {
	software := tpmtest.New(t)
	s := tpmSite(t, "")
	s.start()
	s.closed("standard", true)
	s.end()
	key := s.key()
	if got := s.says(cli.ExitOK, "keys", "seal", "--data", s.data, "--tpm-device", software.Path); !strings.Contains(got, "--tpm-device "+software.Path) {
		t.Errorf("keys seal says\n%s\nwant the next command", got)
	}
	if exists(filepath.Join(s.data, keysDir, siteKeyFile)) {
		t.Error("keys seal left the clear key")
	}
	if got := s.says(cli.ExitHistory, "keys", "seal", "--data", s.data, "--tpm-device", software.Path); !strings.Contains(got, "[site_key_missing]") {
		t.Errorf("keys seal again says\n%s", got)
	}
	t.Setenv(tpmVariable, software.Path) // from here on also for serve
	if got := s.key(); got != key {
		t.Errorf("keys show = %s, want %s", got, key)
	}
	s.start()
	defer func() { s.stop() }()
	if n := len(counters(t, s.closed("standard", true))); n != 2 {
		t.Errorf("%d records have a counter, want the start and the close since the key is sealed", n)
	}
	backup := filepath.Join(t.TempDir(), "site.backup")
	s.says(cli.ExitOK, "backup", "--http", s.http, "--out", backup, "--with-keys", "--recipient", backupRecipient, "--data", s.data)
	s.end()
	s.data = filepath.Join(t.TempDir(), "restored")
	s.says(cli.ExitOK, "restore", "--from", backup, "--identity-file", backupIdentity(t), "--data", s.data)
	if got := s.key(); got != key {
		t.Errorf("keys show after a restore = %s, want %s", got, key)
	}
	s.start()
}

// A TPM that fails while the daemon runs costs a value, and neither a report nor
// an event.
func TestTPMFailsAtAClose(t *testing.T) {
	software := tpmtest.New(t)
	t.Setenv(tpmVariable, software.Path)
	s := tpmSite(t, tpmSettings(software))
	s.start()
	defer func() { s.stop() }()
	s.closed("standard", true)
	software.Stop()
	s.says(cli.ExitOK, "send", "logins", "1", "--server", s.nats, "--node", "n1")
	s.says(cli.ExitOK, "report", "export", "--http", s.http, "--close-now", "--out", filepath.Join(t.TempDir(), "site.usage"))
	software.Start()
	if list := counters(t, s.closed("standard", true)); len(list) != 3 {
		t.Errorf("counters = %v, want those of the start, the first and the last close", list)
	}
}

// X-10, L-02: bindings are hashes in every report but a detailed one, what is
// absent is left out, and the default reads nothing.
func TestX10Bindings(t *testing.T) {
	const secret = "dongle 17/ü"
	file := filepath.Join(t.TempDir(), "dongle")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := tpmSite(t, fmt.Sprintf("bindings: {names: \"custom, cluster-uid, tpm\", custom_file: %q, cluster_uid: 1b9d6bcd}\n", file))
	s.start()
	defer func() { s.stop() }()
	text := string(s.closed("standard", true))
	domain, _, _ := strings.Cut(s.key(), "/")
	for name, raw := range map[string]string{"custom": secret, "cluster-uid": "1b9d6bcd"} {
		if want := fmt.Sprintf(" bind.%s=%s", name, ledger.BindHash(domain, name, raw)); strings.Count(text, want) != 1 {
			t.Errorf("report has %q %d times, want once", want, strings.Count(text, want))
		}
	}
	for _, bad := range []string{"dongle", "1b9d6bcd", "bind.tpm"} {
		if strings.Contains(text, bad) {
			t.Errorf("a standard report holds %q", bad)
		}
	}
	opened := "\n>> - cluster-uid=1b9d6bcd custom=" + ledger.EscapeValue(secret) + "\n"
	if text := string(s.closed("detailed", false)); strings.Count(text, opened) != 1 {
		t.Errorf("detailed report does not open the bindings with %q:\n%s", opened, text)
	}
	s.end()
	if err := os.WriteFile(file, []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start() // the first start cannot be opened any more, but for what is as it was
	detailed := string(s.closed("detailed", true))
	if strings.Contains(detailed, "dongle") || !strings.Contains(detailed, "\n>> - cluster-uid=1b9d6bcd\n") || !strings.Contains(detailed, "custom=another\n") {
		t.Errorf("detailed report after a change:\n%s", detailed)
	}
	s.end()
	s.settings("")
	s.start()
	if n := strings.Count(string(s.closed("standard", true)), " bind.custom="); n != 2 {
		t.Errorf("%d records bind custom, want 2: a start without the setting reads nothing", n)
	}
}

// Settings of both are checked with their place.
func TestMachineSettings(t *testing.T) {
	for _, c := range []struct{ flag, value, want string }{
		{"--bindings-names", "mac,motherboard", `names "motherboard", want some of machine-id, dmi-uuid`},
		{"--bindings-custom-file", "dongle", "want an absolute path"},
		{"--tpm-device", "tpmrm0", "want an absolute path"},
	} {
		var out bytes.Buffer
		if code := run(context.Background(), systemClock(), []string{"config", "check", c.flag, c.value}, strings.NewReader(""), &out, &out); code != cli.ExitUsage || !strings.Contains(strings.Join(strings.Fields(out.String()), " "), c.want) {
			t.Errorf("config check %s %s: exit %d, %s\nwant %s", c.flag, c.value, code, &out, c.want)
		}
	}
}
