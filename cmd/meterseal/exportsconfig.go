package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/exporter"
	"github.com/meterseal/meterseal/internal/mailer"
)

// exportKeys are the keys of an element of exports.
var exportKeys = []string{"name", "schedule", "zone", "folder", "level", "mode", "keep", "one_way", "command", "command_time",
	"wrap.zstd", "wrap.age", "mail.relay", "mail.from", "mail.to", "mail.user", "mail.password_file", "mail.ca_file", "mail.insecure"}

// exportLists are those of them that hold lists.
var exportLists = []string{"command", "mail.to"}

var exportName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// commandTime is how long the command of an export may run by default.
const commandTime = 5 * time.Minute

// loadExports reads the list exports of the file.
func (c *Config) loadExports(file yamlFile) (problems []string) {
	folders := map[string]string{}
	for _, y := range file.exports {
		r := exportReader{c: c, y: y}
		j := r.job()
		problems = append(problems, r.problems...)
		if j.Name == "" || j.Folder == "" {
			continue
		}
		if slices.ContainsFunc(c.Exports, func(o exporter.Job) bool { return o.Name == j.Name }) {
			problems = append(problems, r.at("name", "stands twice"))
		}
		if other, taken := folders[j.Folder]; taken {
			problems = append(problems, r.at("folder", "is that of export "+other+" too: give each its own"))
		}
		folders[j.Folder] = j.Name
		c.Exports = append(c.Exports, j)
	}
	return problems
}

// exportReader reads one export and collects every mistake with its place.
type exportReader struct {
	c        *Config
	y        yamlMeter
	problems []string
}

// at is a mistake of a key, where it stands, or where the export begins.
func (r *exportReader) at(key, problem string) string {
	where, ok := r.y.fields[key]
	if list := r.y.lists[key]; !ok && len(list) > 0 {
		where, ok = list[0], true
	}
	if !ok {
		for _, v := range r.y.fields {
			if where.line == 0 || v.line < where.line {
				where = v
			}
		}
	}
	return fmt.Sprintf("%s:%d:%d: export %s: %s %s", r.c.path, where.line, where.column, r.y.fields["name"].value, key, problem)
}

func (r *exportReader) bad(key, format string, args ...any) {
	r.problems = append(r.problems, r.at(key, fmt.Sprintf(format, args...)))
}

// text returns a plain value; def if it is not given.
func (r *exportReader) text(key, def string) string {
	if v, ok := r.y.fields[key]; ok {
		return v.value
	}
	return def
}

// words returns a list, or one plain value as a list of one.
func (r *exportReader) words(key string) (out []string) {
	for _, v := range r.y.lists[key] {
		out = append(out, v.value)
	}
	if v, ok := r.y.fields[key]; ok {
		out = append(out, v.value)
	}
	return out
}

func (r *exportReader) yes(key string) bool {
	v := r.text(key, "false")
	if v != "true" && v != "false" {
		r.bad(key, "is %q, want true or false", v)
	}
	return v == "true"
}

// path is a path that counts from the file's folder.
func (r *exportReader) path(key string) string {
	p := r.text(key, "")
	if p == "" {
		return ""
	}
	p = strings.ReplaceAll(p, "${CREDENTIALS_DIRECTORY}", os.Getenv("CREDENTIALS_DIRECTORY"))
	if !filepath.IsAbs(p) {
		p = filepath.Join(filepath.Dir(r.c.path), p)
	}
	return filepath.Clean(p)
}

func (r *exportReader) job() (j exporter.Job) {
	r.unknown()
	if j.Name = r.text("name", ""); !exportName.MatchString(j.Name) {
		r.bad("name", "is %q, want a-z 0-9 _ -, up to 32", j.Name)
	}
	zone, err := time.LoadLocation(r.text("zone", "UTC"))
	if err != nil || r.text("zone", "UTC") == "" {
		r.bad("zone", "is %q, want a time zone such as Europe/Berlin", r.text("zone", ""))
		zone = time.UTC
	}
	if j.Schedule, err = exporter.ParseSchedule(r.text("schedule", ""), zone); err != nil && r.y.lists["schedule"] == nil {
		r.bad("schedule", "%v", err)
	}
	if j.Folder = r.path("folder"); j.Folder == "" {
		r.bad("folder", "is missing: where the files are written")
	}
	if j.Folder != "" && j.Folder == r.c.inboxFolder() {
		r.bad("folder", "is that of the inbox too: give each its own")
	}
	j.Level = r.c.Level
	if v := r.text("level", ""); v != "" {
		if j.Level, err = export.ParseLevel(v); err != nil {
			r.bad("level", "is %q, want standard, pseudonymous or detailed", v)
		}
	}
	mode, err := strconv.ParseUint(r.text("mode", "0600"), 8, 32)
	if j.Mode = uint32(mode); err != nil || mode&^0o777 != 0 || mode&0o400 == 0 || mode&0o022 != 0 {
		r.bad("mode", "is %q, want 0600, 0640 or 0644", r.text("mode", ""))
	}
	if j.Keep, err = strconv.Atoi(r.text("keep", "0")); err != nil || j.Keep < 0 {
		r.bad("keep", "is %q, want how many files stay; 0: all", r.text("keep", ""))
	}
	j.Command, j.CommandTime = r.words("command"), commandTime
	if v := r.text("command_time", ""); v != "" {
		if j.CommandTime, err = parseDuration(v); err != nil || j.CommandTime <= 0 {
			r.bad("command_time", "is %q, want a duration like 90s", v)
		}
	}
	j.Wrap, j.Mail = r.wrap(), r.mail()
	if j.OneWay = r.yes("one_way"); j.OneWay {
		for key, given := range map[string]bool{"mail.relay": j.Mail != nil, "keep": j.Keep > 0} {
			if given {
				r.bad(key, "does not go with one_way: nothing is read back from its folder")
			}
		}
	}
	slices.Sort(r.problems)
	return j
}

// inboxFolder is where the inbox will be, once paths are absolute.
func (c *Config) inboxFolder() string {
	if c.Inbox.Folder == "" {
		return ""
	}
	p, _ := c.absolute("inbox.folder", c.Inbox.Folder)
	return filepath.Clean(p)
}

// unknown names keys that mean nothing, and lists where a value is wanted.
func (r *exportReader) unknown() {
	for key := range r.y.fields {
		if !slices.Contains(exportKeys, key) {
			r.bad(key, "is an unknown key%s", nearest(key, exportKeys))
		}
	}
	for key := range r.y.lists {
		switch {
		case !slices.Contains(exportKeys, key):
			r.bad(key, "is an unknown key%s", nearest(key, exportKeys))
		case !slices.Contains(exportLists, key):
			r.bad(key, "is a list, want a value")
		}
	}
}

// wrap reads the recipients of encryption too, so that a mistake in their file is
// found before the first report.
func (r *exportReader) wrap() (o export.WrapOptions) {
	o.Zstd = r.yes("wrap.zstd")
	file := r.path("wrap.age")
	if file == "" {
		return o
	}
	b, err := os.ReadFile(file)
	if err != nil {
		r.bad("wrap.age", "cannot be read: %v", err)
		return o
	}
	var lines []string
	for line := range bytes.Lines(b) {
		if l := strings.TrimSpace(string(line)); l != "" && !strings.HasPrefix(l, "#") {
			lines = append(lines, l)
		}
	}
	if o.Recipients, err = export.ParseRecipients(lines); err != nil || len(lines) == 0 {
		r.bad("wrap.age", "holds no recipients (age1…, one a line): %v", err)
	}
	return o
}

func (r *exportReader) mail() *exporter.Mail {
	given := slices.ContainsFunc(exportKeys, func(key string) bool {
		return strings.HasPrefix(key, "mail.") && (r.text(key, "") != "" || r.y.lists[key] != nil)
	})
	if !given {
		return nil
	}
	m := &exporter.Mail{To: r.words("mail.to"), Relay: mailer.Relay{Host: r.text("mail.relay", ""), From: r.text("mail.from", ""),
		User: r.text("mail.user", ""), Insecure: r.yes("mail.insecure")}}
	if err := (mailer.Relay{Host: m.Relay.Host, From: "a@example.com"}).Check(); err != nil {
		r.bad("mail.relay", "%v", err)
	}
	if err := (mailer.Relay{Host: "relay:25", From: m.Relay.From}).Check(); err != nil {
		r.bad("mail.from", "%v", err)
	}
	if len(m.To) == 0 {
		r.bad("mail.to", "is missing: who gets the reports")
	}
	for _, to := range m.To {
		if err := mailer.CheckAddress(to); err != nil {
			r.bad("mail.to", "%v", err)
		}
	}
	if file := r.path("mail.password_file"); file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			r.bad("mail.password_file", "cannot be read: %v", err)
		}
		m.Relay.Password = strings.TrimSpace(string(b))
	} else if m.Relay.User != "" {
		r.bad("mail.user", "has no password: give mail.password_file")
	}
	if file := r.path("mail.ca_file"); file != "" {
		pool, err := readAuthorities(file)
		if err != nil {
			r.bad("mail.ca_file", "%v", err)
		}
		m.Relay.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return m
}
