// Package gendocs writes what a package has beside a program, from the program's
// own commands and settings: man pages, completion of shells, the JSON schema of
// its configuration; and what the reference of the documentation takes from there.
//
// Only programs that were built with the tag gendocs import it: the released ones
// print help and nothing else.
package gendocs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

// A Program is what its files are made of.
type Program struct {
	Root     *cobra.Command
	Version  string
	Released string // the day that the pages carry, 2006-01-02
	Config   *Config
	Pages    []Page // more pages of section 5
}

// A Page is a page of the documentation that is a man page too.
type Page struct {
	Name   string // meterseal-report
	About  string // a few words, in lower case
	Source string // Markdown file
}

// Write makes the folders man, completion, schema and reference below dir.
func Write(dir string, p Program) error {
	for _, step := range []struct {
		folder string
		write  func(dir string, p Program) error
	}{{"reference", writeReference}, {"man/man1", writeCommands}, {"man/man5", writeConfig}, {"man/man5", writePages}, {"completion", writeCompletion}, {"schema", writeSchema}} {
		into := filepath.Join(dir, filepath.FromSlash(step.folder))
		if err := os.MkdirAll(into, 0o755); err != nil {
			return err
		}
		if err := step.write(into, p); err != nil {
			return fmt.Errorf("%s of %s: %w", step.folder, p.Root.Name(), err)
		}
	}
	return nil
}

// writeCommands writes a page of section 1 for each command.
func writeCommands(dir string, p Program) error {
	day, err := time.Parse(time.DateOnly, p.Released)
	if err != nil {
		return err
	}
	prepare(p.Root)
	return doc.GenManTree(p.Root, &doc.GenManHeader{Section: "1", Date: &day, Source: "Meterseal " + p.Version, Manual: "Meterseal"}, dir)
}

// writePages writes pages of section 5 from the documentation.
func writePages(dir string, p Program) error {
	for _, page := range p.Pages {
		text, err := os.ReadFile(page.Source)
		if err != nil {
			return err
		}
		_, body, _ := strings.Cut(string(text), "\n") // its title
		head := fmt.Sprintf("%% \"%s\" \"5\" \"%s\" \"Meterseal %s\" \"Meterseal\"\n# NAME\n\n%s - %s\n\n# DESCRIPTION\n\n",
			strings.ToUpper(page.Name), p.Released, p.Version, page.Name, page.About)
		if err := os.WriteFile(filepath.Join(dir, page.Name+".5"), md2man.Render([]byte(head+body)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes the texts of cmd and of all below it Markdown, which is what the
// pages are made of.
func prepare(cmd *cobra.Command) {
	cmd.DisableAutoGenTag = true
	cmd.Short, cmd.Long = markdown(cmd.Short), markdown(cmd.Long)
	escape := func(f *pflag.Flag) { f.Usage = markdown(f.Usage) }
	cmd.LocalNonPersistentFlags().VisitAll(escape)
	cmd.PersistentFlags().VisitAll(escape)
	for _, c := range cmd.Commands() {
		prepare(c)
	}
}

var escapes = strings.NewReplacer(`\`, `\\`, "<", `\<`, "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`)

// markdown is text as help prints it, as Markdown: what is indented stays as it is.
func markdown(text string) string {
	var b strings.Builder
	code := false
	for line := range strings.Lines(text) {
		indented := strings.HasPrefix(line, "  ")
		if indented != code && strings.TrimSpace(line) != "" {
			b.WriteString("\n")
			code = indented
		}
		if indented {
			b.WriteString("    " + line)
		} else {
			b.WriteString(escapes.Replace(line))
		}
	}
	return b.String()
}

// writeCompletion writes what four shells read.
func writeCompletion(dir string, p Program) error {
	name := p.Root.Name()
	for _, shell := range []struct {
		file  string
		write func(*bytes.Buffer) error
	}{
		{name + ".bash", func(b *bytes.Buffer) error { return p.Root.GenBashCompletionV2(b, true) }},
		{"_" + name, func(b *bytes.Buffer) error { return p.Root.GenZshCompletion(b) }},
		{name + ".fish", func(b *bytes.Buffer) error { return p.Root.GenFishCompletion(b, true) }},
		{name + ".ps1", func(b *bytes.Buffer) error { return p.Root.GenPowerShellCompletionWithDesc(b) }},
	} {
		var b bytes.Buffer
		if err := shell.write(&b); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, shell.file), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
