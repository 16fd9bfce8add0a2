package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// usageTemplate is cobra's, with examples first and flags within 80 columns.
const usageTemplate = `{{if .HasExample}}Examples:
{{.Example}}

{{end}}Usage:{{if and .Runnable (not .HasAvailableSubCommands)}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsagesWrapped 80 | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Everywhere:
{{.InheritedFlags.FlagUsagesWrapped 80 | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableSubCommands}}

"{{.CommandPath}} COMMAND --help" says more about one.{{end}}
`

// refine gives all commands below cmd one way of saying what is wrong with a
// command line, and groups of commands one way of refusing a word that is none.
func refine(cmd *cobra.Command) {
	cmd.SuggestionsMinimumDistance = 2
	if cmd.HasSubCommands() && cmd.RunE == nil && cmd.Run == nil {
		cmd.Args = cobra.NoArgs
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return argumentFailure(cmd, args, err)
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		refine(c)
	}
}

// argumentFailure says which arguments cmd takes.
func argumentFailure(cmd *cobra.Command, args []string, cause error) error {
	help := fmt.Sprintf("run \"%s --help\"", cmd.CommandPath())
	if cmd.HasSubCommands() && len(args) > 0 {
		for _, s := range cmd.SuggestionsFor(args[0]) {
			help = fmt.Sprintf("did you mean \"%s %s\"? Else %s", cmd.CommandPath(), s, help)
			break
		}
		return Fail(ExitUsage, "", help, "%s has no command %q", cmd.CommandPath(), args[0])
	}
	takes := "takes no arguments"
	if _, names, ok := strings.Cut(cmd.Use, " "); ok {
		takes = "takes " + names
	}
	if len(args) == 0 {
		return Fail(ExitUsage, "", help, "%s %s; nothing is given", cmd.CommandPath(), takes)
	}
	return Fail(ExitUsage, "", help, "%s %s; given: %s", cmd.CommandPath(), takes, strings.Join(args, " "))
}

// flagFailure names the mistake. Of a word that is no command it is not the flag
// behind it.
func flagFailure(cmd *cobra.Command, err error) error {
	if args := cmd.Flags().Args(); cmd.HasSubCommands() && len(args) > 0 {
		return argumentFailure(cmd, args, err)
	}
	return Fail(ExitUsage, "", fmt.Sprintf("run \"%s --help\"", cmd.CommandPath()), "%v", err)
}

// calledAs is how the user called the program of this name, so that the commands
// which it suggests work as they are printed.
func calledAs(name string) string {
	exe, err := os.Executable()
	if err != nil {
		return name
	}
	// "go run" builds into a temporary folder, or keeps the program in its cache.
	if strings.Contains(filepath.ToSlash(exe), "/go-build") {
		return "go run ./cmd/" + name
	}
	if path, err := exec.LookPath(name); err == nil {
		if same, err := os.Stat(path); err == nil {
			if mine, err := os.Stat(exe); err == nil && os.SameFile(same, mine) {
				return name
			}
		}
	}
	return os.Args[0]
}
