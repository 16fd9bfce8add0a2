package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/meterseal/meterseal/internal/cli"
)

// nextVersion is the version that is upgraded to.
const nextVersion = "1.0.1"

// The program works in the root of the repository.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		panic(err)
	}
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// built holds the packages of both versions, made once for all tests.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// packages returns the folder with the packages of this version and, in next, of
// the next, for this machine's architecture.
func packages(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED: packages are built and installed without -short")
	}
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "packages"); built.err != nil {
			return
		}
		key := filepath.Join(built.dir, "key")
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "releases@meterseal.example", "-f", key).CombinedOutput(); err != nil {
			built.err = fmt.Errorf("ssh-keygen: %w %s", err, out)
			return
		}
		if built.err = run(filepath.Join(built.dir, "now"), []string{"amd64"}, cli.Version, key); built.err == nil {
			built.err = runNext(filepath.Join(built.dir, "next"))
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir
}

// runNext makes deb and rpm of the site in the next version.
func runNext(out string) error {
	r, err := newRelease(out, nextVersion)
	if err != nil {
		return err
	}
	defer os.RemoveAll(r.work)
	return r.packages("amd64", programs[:1])
}

// countOne declares a meter in the configuration, as an operator would.
const countOne = `printf 'meters:\n  - {id: documents.processed, unit: document, aggregation: count}\n' >> /etc/meterseal/meterseal.yaml`

// Y-12, X-13, O-22: the deb is installed without a network, configured, started from where
// it put the program as the user that it made, upgraded, removed and purged. What
// was counted survives all of it, unless its deletion is asked for.
func TestDeb(t *testing.T) {
	m := newMachine(t, packages(t))
	m.refuses("ip route get 192.0.2.1")
	m.do("dpkg -i /shared/now/meterseal_*.deb /shared/now/meterseal-vendor_*.deb")
	checkInstalled(m)
	m.refuses("pidof meterseal meterseal-vendor") // installing starts nothing
	m.do(countOne)
	m.says("meterseal config check --config /etc/meterseal/meterseal.yaml")
	countsOne(m, "a", "1")

	m.says("dpkg -i /shared/next/meterseal_*.deb 2>&1", "Unpacking meterseal (1.0.1-1) over (1.0.0-1)")
	m.says("meterseal version", "meterseal "+nextVersion)
	m.says("cat /etc/meterseal/meterseal.yaml", "documents.processed, unit")
	countsOne(m, "b", "2")

	m.do("dpkg -r meterseal")
	m.refuses("test -e /usr/bin/meterseal")
	m.says("cat /etc/meterseal/meterseal.yaml", "documents.processed, unit")
	m.do("test -s /var/lib/meterseal/keys/site.key")
	m.says("dpkg -P meterseal", "/var/lib/meterseal is kept: it is evidence")
	m.refuses("test -e /etc/meterseal")
	m.do("test -s /var/lib/meterseal/keys/site.key")

	m.do("dpkg -i /shared/next/meterseal_*.deb && " + countOne)
	countsOne(m, "c", "3") // the same ledger goes on
	m.says("METERSEAL_PURGE_DATA=1 dpkg -P meterseal", "/var/lib/meterseal is deleted")
	m.refuses("test -e /var/lib/meterseal")
	m.do("dpkg -P meterseal-vendor && test ! -e /var/lib/meterseal-vendor") // nothing was in it
}

// The same with rpm, whose erase keeps data as well.
func TestRPM(t *testing.T) {
	if _, err := exec.LookPath("rpm"); err != nil {
		t.Skip("SKIPPED: rpm is not installed, so no rpm was")
	}
	m := newMachine(t, packages(t))
	// Debian's rpm asks for a second yes, and knows no package that gives /bin/sh.
	const rpm = "rpm --force-debian --nodeps "
	m.do(rpm + "-i /shared/now/meterseal-1*.rpm /shared/now/meterseal-vendor-*.rpm")
	checkInstalled(m)
	m.do(countOne)
	countsOne(m, "a", "1")
	m.do(rpm + "-U /shared/next/meterseal-1*.rpm")
	m.says("meterseal version", "meterseal "+nextVersion)
	m.says("cat /etc/meterseal/meterseal.yaml", "documents.processed, unit")
	countsOne(m, "b", "2")
	m.says(rpm+"-e meterseal 2>&1", "/var/lib/meterseal is kept")
	m.refuses("test -e /usr/bin/meterseal")
	m.do("test -s /var/lib/meterseal/keys/site.key")
}

// The same from the tarball, whose checksums and signature are checked before, as
// the page says.
func TestTarball(t *testing.T) {
	m := newMachine(t, packages(t))
	m.do(`cd /tmp && tar xzf /shared/now/meterseal-*.tar.gz && mv meterseal-*/ m && cd m && sha256sum --quiet --check SHA256SUMS`)
	m.do(`cd /shared/now && sha256sum --quiet --check SHA256SUMS`)
	verify := `printf 'releases@meterseal.example %s\n' "$(cut -d' ' -f1,2 /shared/key.pub)" >/tmp/signers && cd /tmp/m &&
		ssh-keygen -Y verify -f /tmp/signers -I releases@meterseal.example -n meterseal-release -s SHA256SUMS.sig <SHA256SUMS`
	m.says(verify, "Good")
	m.do("echo >>/tmp/m/SHA256SUMS")
	m.refuses(verify)
	m.do("cd /tmp/m && ./install.sh --prefix /opt/meterseal && ln -s /opt/meterseal/bin/meterseal /usr/local/bin/")
	m.says("stat -c '%U %G %a' /etc/meterseal/meterseal.yaml /var/lib/meterseal", "root meterseal 640", "meterseal meterseal 700")
	m.do(countOne)
	m.do("systemctl --root=/ is-enabled meterseal 2>&1 | grep -qx -e linked -e disabled")
	stop := m.serve("/opt/meterseal/lib/systemd/system/meterseal.service")
	m.do("meterseal send documents.processed --node n1 --id a")
	stop()
	m.do("cd /tmp/m && ./install.sh --prefix /opt/meterseal") // again: an upgrade
	m.says("cat /etc/meterseal/meterseal.yaml", "documents.processed, unit")
	m.says("sh /opt/meterseal/share/meterseal/uninstall.sh", "/var/lib/meterseal is kept")
	m.says("find /opt/meterseal -type f | wc -l", "0\n")
	m.do("test -s /var/lib/meterseal/keys/site.key")
	m.says("cd /tmp/m && ./uninstall.sh --purge-data", "/var/lib/meterseal and /etc/meterseal are deleted")
	m.refuses("test -e /var/lib/meterseal")
}

// checkInstalled looks at what a package of both programs put in place.
func checkInstalled(m *machine) {
	m.t.Helper()
	m.says("meterseal version", "meterseal "+cli.Version)
	m.says("meterseal-vendor version", cli.Version)
	for _, p := range programs {
		m.says("stat -c '%U %G %a' /etc/"+p.name, "root "+p.name+" 750")
		m.says("stat -c '%U %G %a' /etc/"+p.name+"/"+p.config, "root "+p.name+" 640")
		m.says("stat -c '%U %G %a' /var/lib/"+p.name, p.name+" "+p.name+" 700")
		m.says("getent passwd "+p.name, ":/var/lib/"+p.name+":/usr/sbin/nologin")
		m.do("test -s /usr/lib/systemd/system/" + p.name + ".service")
		m.do("test -s /usr/share/doc/" + p.name + "/LICENSES/github.com/spf13/cobra/LICENSE.txt")
		m.do("test -s /usr/share/doc/" + p.name + "/docs/architecture.md")
		m.do("test -s /usr/share/" + p.name + "/" + p.schema)
		m.do("test -s /usr/share/man/man1/" + p.name + ".1.gz")
		m.says("bash -c '. /usr/share/bash-completion/completions/"+p.name+"; complete -p "+p.name+"'", "__start_"+p.name)
	}
	m.do("cd /usr/share/man && test -s man1/meterseal-report-export.1.gz && test -s man5/meterseal.yaml.5.gz && test -s man5/meterseal-report.5.gz")
}

// countsOne starts the daemon, publishes an event of one document, and wants so many
// in all, before and after a stop.
func countsOne(m *machine, id, want string) {
	m.t.Helper()
	stop := m.serve("/usr/lib/systemd/system/meterseal.service")
	defer stop()
	// It listens as the package configures it, on loopback alone.
	const listening = `cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == "0A" {print $2}' | `
	m.do(listening + "grep -q ^0100007F:21B9") // 127.0.0.1:8633
	m.refuses(listening + "grep -v ^0100007F:")
	m.do("meterseal send documents.processed --node n1 --id " + id)
	out := m.do("meterseal usage --window total -o csv")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); !strings.Contains(lines[len(lines)-1], ","+want) {
		m.t.Errorf("meterseal usage: got\n%s\nwant %s documents", out, want)
	}
}
