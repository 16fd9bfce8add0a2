package doctest

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// programs returns a folder for PATH with what the pages call.
func programs(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED: pages are typed in the run without the race detector, which does not look into other programs")
	}
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// built makes that folder, once; TestMain removes it.
var built = sync.OnceValues(func() (string, error) {
	bin, err := os.MkdirTemp("", "doctest")
	if err != nil {
		return "", err
	}
	binFolder = bin
	cmd := exec.Command("go", "build", "-o", bin+string(filepath.Separator), "./cmd/meterseal", "./cmd/meterseal-vendor") //nolint:gosec // our own
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	for _, name := range []string{"nats", "go"} {
		if err := os.Symlink(self, filepath.Join(bin, name)); err != nil {
			return "", err
		}
	}
	return bin, nil
})

var binFolder string // empty: nothing was built

// goCommand stands in for the go tool in the shells of pages, where compiling
// everything again for each page would take minutes: `go build` and `go run` of
// our programs give those that were built, `go tool task` looks that there is
// such a task, and `go test` that there is such a package.
func goCommand(args []string) int {
	bin := filepath.Dir(os.Args[0])
	if !filepath.IsAbs(os.Args[0]) {
		if p, err := exec.LookPath("go"); err == nil {
			bin = filepath.Dir(p)
		}
	}
	ours := regexp.MustCompile(`^\./cmd/(meterseal|meterseal-vendor)$`)
	switch {
	case len(args) == 4 && args[0] == "build" && args[1] == "-o" && ours.MatchString(args[3]):
		if err := os.Symlink(filepath.Join(bin, filepath.Base(args[3])), args[2]); err != nil && !os.IsExist(err) {
			return failed(err)
		}
		return 0
	case len(args) >= 2 && args[0] == "run" && ours.MatchString(args[1]):
		cmd := exec.Command(filepath.Join(bin, filepath.Base(args[1])), args[2:]...) //nolint:gosec // our own
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return failed(err)
		}
		return 0
	case len(args) >= 2 && args[0] == "run" || len(args) >= 2 && args[0] == "test":
		for _, a := range args[1:] {
			if p, ok := strings.CutPrefix(a, "./"); ok {
				if _, err := os.Stat(filepath.Join(os.Getenv("REPOSITORY"), strings.TrimSuffix(p, "/..."))); err != nil {
					return failed(err)
				}
			}
		}
		return 0
	case len(args) >= 2 && args[0] == "tool" && args[1] == "task":
		if len(args) == 2 {
			return 0
		}
		text, err := os.ReadFile(filepath.Join(os.Getenv("REPOSITORY"), "Taskfile.yml"))
		if err != nil {
			return failed(err)
		}
		if !regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(args[2]) + `:`).Match(text) {
			return failed(fmt.Errorf("there is no task %s", args[2]))
		}
		return 0
	}
	return failed(fmt.Errorf("go %q: the test of pages does not know this", args))
}

// natsCommand is as much of the command line program of NATS as the pages use:
// `nats pub` and `nats req`, with what a client on the wire would do.
func natsCommand(args []string) int {
	flags := flag.NewFlagSet("nats", flag.ContinueOnError)
	server := flags.String("server", nats.DefaultURL, "")
	creds := flags.String("creds", "", "")
	inbox := flags.String("inbox-prefix", "", "")
	ca := flags.String("tlsca", "", "")
	i := slices.IndexFunc(args, func(a string) bool { return slices.Contains([]string{"pub", "publish", "req", "request"}, a) })
	if i < 0 {
		return failed(fmt.Errorf("nats %q: pub or req", args))
	}
	verb := args[i]
	words := slices.Concat(args[:i], args[i+1:])
	var rest []string
	for len(words) > 0 {
		if err := flags.Parse(words); err != nil {
			return 2
		}
		if words = flags.Args(); len(words) > 0 {
			rest, words = append(rest, words[0]), words[1:]
		}
	}
	if len(rest) != 2 {
		return failed(fmt.Errorf("nats %s SUBJECT BODY, not %q", verb, rest))
	}
	options := []nats.Option{nats.Timeout(5 * time.Second)}
	if *creds != "" {
		options = append(options, nats.UserCredentials(*creds))
	}
	if *inbox != "" {
		options = append(options, nats.CustomInboxPrefix(*inbox))
	}
	if *ca != "" {
		options = append(options, nats.RootCAs(*ca))
	}
	nc, err := nats.Connect(*server, options...)
	if err != nil {
		return failed(err)
	}
	defer nc.Close()
	if strings.HasPrefix(verb, "pub") {
		if err := nc.Publish(rest[0], []byte(rest[1])); err != nil {
			return failed(err)
		}
		if err := nc.FlushTimeout(5 * time.Second); err != nil {
			return failed(err)
		}
		return 0
	}
	m, err := nc.Request(rest[0], []byte(rest[1]), 10*time.Second)
	if err != nil {
		return failed(err)
	}
	fmt.Println(string(m.Data))
	var refused struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(m.Data, &refused) == nil && refused.Error != nil {
		return 1
	}
	return 0
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}
