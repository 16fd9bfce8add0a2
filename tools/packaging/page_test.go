package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// O-22: every command of the pages about installing and upgrading works as it is written, on a machine without a
// network that has nothing but the folder that was carried in. Each way to install
// begins on a machine of its own, after the check of the files.
func TestInstallPage(t *testing.T) {
	dir := packages(t)
	sections := consoles(t, "docs/how-to/install.md")
	ways := [][]string{
		{"Check what you were given", "Debian, Ubuntu", "What is where", "Upgrading", "Removing"},
		{"Check what you were given", "Anything else"},
	}
	ran := map[string]bool{"Red Hat, SUSE and their relatives": true} // Debian's rpm wants more words: TestRPM
	for _, way := range ways {
		p := &operator{machine: newMachine(t, dir), dir: "/"}
		p.do(`ln -s /shared/now /media/meterseal && printf 'releases@meterseal.example %s\n' "$(cut -d' ' -f1,2 /shared/key.pub)" >/root/meterseal.signers`)
		for _, section := range way {
			if section == "Removing" { // what is removed was upgraded before
				p.dir = "/shared/next"
				for _, line := range consoles(t, "docs/how-to/upgrade.md")[""] {
					p.types(line)
				}
				p.says("meterseal version", nextVersion)
			}
			for _, line := range sections[section] {
				p.types(line)
			}
			ran[section] = true
		}
	}
	for section, lines := range sections {
		if !ran[section] {
			t.Errorf("nobody runs the commands under %q: %q", section, lines)
		}
	}
}

// An operator types the commands of a page. There is no systemd in the copy of a
// machine: what systemctl would start is started from its unit.
type operator struct {
	*machine
	dir  string
	stop func()
}

func (p *operator) types(line string) {
	p.t.Helper()
	switch {
	case strings.HasPrefix(line, "systemctl enable --now "), strings.HasPrefix(line, "systemctl start "):
		f := strings.Fields(line)
		p.do("systemctl --root=/ enable " + f[len(f)-1])
		p.stop = p.serve("/usr/lib/systemd/system/" + f[len(f)-1] + ".service")
	case strings.HasPrefix(line, "systemctl restart "):
		p.stop()
		p.stop = p.serve("/usr/lib/systemd/system/meterseal.service")
	case strings.HasPrefix(line, "systemctl disable --now "):
		p.stop()
		p.do("systemctl --root=/ disable " + strings.Fields(line)[3])
	case strings.HasPrefix(line, "cd "):
		p.dir = strings.TrimSpace(p.do("cd " + p.dir + " && " + line + " && pwd"))
	default:
		p.do("cd " + p.dir + " && " + line)
	}
}

var heredoc = regexp.MustCompile(`<<(\w+)`)

// consoles returns the commands in the console blocks of a page, by the heading above
// them. What a here-document holds belongs to its command.
func consoles(t *testing.T, page string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string][]string{}
	heading, inside, until := "", false, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		commands := sections[heading]
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case !inside:
			if h, ok := strings.CutPrefix(line, "## "); ok {
				heading = h
			}
		case until != "":
			commands[len(commands)-1] += "\n" + line
			if line == until {
				until = ""
			}
		case strings.HasPrefix(line, "$ "):
			sections[heading] = append(commands, line[2:])
			if m := heredoc.FindStringSubmatch(line); m != nil {
				until = m[1]
			}
		}
	}
	return sections
}
