package gendocs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// writeReference writes what the pages of the reference hold of the program, in
// Markdown files: commands, settings, and one for each list with keys.
func writeReference(dir string, p Program) error {
	parts := map[string]string{"commands": commands(p.Root), "settings": settings(p.Config.Settings)}
	for _, l := range p.Config.Lists {
		if !l.Map {
			parts[l.Key] = list(l)
		}
	}
	for name, text := range parts {
		if err := os.WriteFile(filepath.Join(dir, name+".md"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// settings is the table of the plain settings. A column that nothing would stand
// in is left out.
func settings(list []Setting) string {
	rows := [][]string{{"key", "flag", "variable", "default", ""}}
	for _, s := range list {
		flag := ""
		if s.Flag != "" {
			flag = code("--" + s.Flag)
		}
		rows = append(rows, []string{code(s.Key), flag, code(s.Variable), code(s.Default), s.text()})
	}
	return table(rows)
}

func list(l List) string {
	rows := [][]string{{"key", "default", ""}}
	for _, k := range l.Keys {
		rows = append(rows, []string{code(k.Key), k.Default, k.text()})
	}
	return table(rows)
}

func (s Setting) text() string {
	if s.Text != "" {
		return s.Text
	}
	return escapes.Replace(s.Doc)
}

// commands says of every command what its help says.
func commands(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("These flags every command takes:\n\n" + flags(root.PersistentFlags()))
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				b.WriteString(command(sub))
				if sub.Name() != "completion" { // what shells want is said by its help
					walk(sub)
				}
			}
		}
	}
	walk(root)
	return b.String()
}

func command(c *cobra.Command) string {
	about := c.Long
	if about == "" {
		about = c.Short + "."
	}
	text := fmt.Sprintf("\n## %s\n\n%s\n", c.CommandPath(), strings.TrimSpace(markdown(about)))
	if c.HasAvailableSubCommands() {
		var below []string
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				name := sub.Name()
				if c.Name() != "completion" {
					name = fmt.Sprintf("[%s](#%s)", name, strings.ReplaceAll(sub.CommandPath(), " ", "-"))
				}
				below = append(below, name)
			}
		}
		text += "\nCommands: " + strings.Join(below, ", ") + "\n"
	} else {
		text += "\n```usage\n" + c.UseLine() + "\n```\n"
	}
	if c.HasExample() {
		text += "\nExamples:\n\n```usage\n" + dedent(c.Example) + "\n```\n"
	}
	if f := flags(c.LocalNonPersistentFlags()); f != "" {
		text += "\n" + f
	}
	return text
}

var inDoc = regexp.MustCompile(`^(.*) \(default (.*)\)$`)

// flags is the table of what of f is shown; empty: nothing. A default stands in the
// flag or, where only the program knows it, at the end of its text.
func flags(f *pflag.FlagSet) string {
	rows := [][]string{{"flag", "default", ""}}
	f.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		byDefault := f.DefValue
		switch byDefault {
		case "false", "0", "[]", "0s":
			byDefault = ""
		}
		if m := inDoc.FindStringSubmatch(usage); m != nil && byDefault == "" {
			usage, byDefault = m[1], m[2]
		}
		rows = append(rows, []string{code(strings.TrimSpace(name + " " + value)), code(byDefault), escapes.Replace(usage)})
	})
	if len(rows) == 1 {
		return ""
	}
	return table(rows)
}

// table is rows as Markdown, the first one its head, without columns that are
// empty in all the others.
func table(rows [][]string) string {
	var b strings.Builder
	kept := make([]bool, len(rows[0]))
	for _, r := range rows[1:] {
		for i, cell := range r {
			kept[i] = kept[i] || cell != ""
		}
	}
	for n, r := range rows {
		b.WriteString("|")
		for i, cell := range r {
			if kept[i] {
				b.WriteString(strings.TrimRight(" "+strings.ReplaceAll(cell, "|", `\|`), " ") + " |")
			}
		}
		b.WriteString("\n")
		if n == 0 {
			for _, k := range kept {
				if k {
					b.WriteString("|---")
				}
			}
			b.WriteString("|\n")
		}
	}
	return b.String()
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

func dedent(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "  ")
	}
	return strings.Join(lines, "\n")
}

var link = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`)

// plain is Markdown of a table as text.
func plain(text string) string {
	return strings.ReplaceAll(link.ReplaceAllString(text, "$1"), "`", "")
}
