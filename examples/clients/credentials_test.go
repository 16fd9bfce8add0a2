package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Where the daemon wants to know who sends, each client shows the credentials of
// its node, and is refused without them or in the name of another node.
func TestCredentials(t *testing.T) {
	s := newSite(t, "meterseal.yaml", "--http-loopback", "token", "--nats-loopback", "credentials")
	files := t.TempDir()
	s.token = strings.TrimSpace(command(t, files, "meterseal", "token", "add", "test", "--rights", "read", "--data", s.dir))
	for _, c := range append([]client{{name: "another"}}, clients...) {
		command(t, files, "meterseal", "node", "add", c.name, "--data", s.dir)
		token := command(t, files, "meterseal", "token", "add", c.name, "--rights", "events", "--node", c.name, "--data", s.dir)
		if err := os.WriteFile(filepath.Join(files, c.name+".token"), []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.start(t)
	of := func(name string) []string {
		return []string{"NATS_CREDS=" + filepath.Join(files, name+".creds"), "METERSEAL_TOKEN_FILE=" + filepath.Join(files, name+".token")}
	}
	each(t, func(t *testing.T, c *client) {
		for range 2 {
			if out, err := c.run(t, s.nats, s.http, "job-17", of(c.name)...); err != nil {
				t.Fatalf("%s: %v\n%s", c.file, err, out)
			}
			s.holds(t, c.name, 3, 30)
		}
		if !c.nats { // over NATS the answer never comes, and the client goes on asking
			if out, err := c.run(t, s.nats, s.http, "job-18"); err == nil || !strings.Contains(out, "not_authenticated") {
				t.Errorf("%s without a token: %v, want not_authenticated; it printed:\n%s", c.file, err, out)
			}
		}
		if !c.nats && !c.modules { // the source of a CloudEvent only counts where the token names no node
			if out, err := c.run(t, s.nats, s.http, "job-18", of("another")...); err == nil || !strings.Contains(out, "wrong_node") {
				t.Errorf("%s with the token of another node: %v, want wrong_node; it printed:\n%s", c.file, err, out)
			}
		}
		s.holds(t, c.name, 3, 30)
	})
}
