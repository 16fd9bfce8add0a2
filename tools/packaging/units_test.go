package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// exposedMost is the highest exposure that a unit may have, in tenths: the scale of
// "systemd-analyze security" goes to 100.
const exposedMost = "15"

// Y-12: systemd finds nothing wrong with the units, alone and with each drop-in that
// is shipped, and no right in them that the programs could do without.
func TestUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("SKIPPED: systemd-analyze is not installed, so no unit is checked")
	}
	self, err := os.Executable() // verify asks for a program that is there
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		unit, err := os.ReadFile("tools/packaging/linux/" + p.name + ".service")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(unit, []byte("ExecStart=/usr/bin/"+p.name+" serve ")) {
			t.Fatalf("%s does not start /usr/bin/%s serve", unit, p.name)
		}
		unit = bytes.ReplaceAll(unit, []byte("/usr/bin/"+p.name+" "), []byte(self+" "))
		dropins, err := filepath.Glob("tools/packaging/linux/dropins/" + p.name + "/*.conf")
		if err != nil || len(dropins) == 0 {
			t.Fatalf("no drop-ins of %s: %v", p.name, err)
		}
		for _, dropin := range append([]string{""}, dropins...) {
			path := filepath.Join(t.TempDir(), p.name+".service")
			if err := os.WriteFile(path, unit, 0o600); err != nil {
				t.Fatal(err)
			}
			if dropin != "" {
				text, err := os.ReadFile(dropin)
				if err != nil {
					t.Fatal(err)
				}
				// Behind the unit, where systemd reads it.
				text = append(append(unit[:len(unit):len(unit)], '\n'), text...)
				if err := os.WriteFile(path, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
				t.Errorf("systemd-analyze verify %s %s: %v %s", p.name, dropin, err, out)
			}
			if out, err := exec.Command(analyze, "--offline=yes", "security", "--threshold="+exposedMost, path).CombinedOutput(); err != nil {
				t.Errorf("%s %s is exposed more than %s tenths: %v\n%s", p.name, dropin, exposedMost, err, out)
			} else {
				lines := strings.Split(strings.TrimSpace(string(out)), "\n")
				t.Logf("%s %s", filepath.Base(dropin), lines[len(lines)-1])
			}
		}
	}
}
