package crashtest_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/crashtest"
)

const programVar = "CRASHTEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programVar) != "" {
		os.Exit(program(os.Args[1]))
	}
	os.Exit(m.Run())
}

// program counts its starts in a file, listens, says where and waits for SIGTERM.
func program(dir string) int {
	starts, _ := os.ReadFile(filepath.Join(dir, "starts"))
	starts = append(starts, '.')
	if err := os.WriteFile(filepath.Join(dir, "starts"), starts, 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(conn, "%d\n", len(starts))
			conn.Close()
		}
	}()
	fmt.Fprintln(os.Stderr, "warming up")
	fmt.Printf("{\"msg\":\"ready\",\"http\":%q}\n", listener.Addr())
	if err := os.WriteFile(filepath.Join(dir, "addr"), []byte(listener.Addr().String()+"\n"), 0o600); err != nil {
		return 1
	}
	<-terminated
	fmt.Println("bye")
	return 7
}

func ask(t *testing.T, addr string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func TestKillAndRestart(t *testing.T) {
	dir := t.TempDir()
	p := crashtest.Start(t, crashtest.Self(t, programVar, dir))
	for starts := 1; starts <= 3; starts++ {
		addr := p.JSON("http")["http"].(string)
		if got, want := ask(t, addr), fmt.Sprint(starts); got != want {
			t.Errorf("start %d answered %s", starts, got)
		}
		p.LineWith("warming up") // already printed, on the other stream
		p.Kill()
		if code := p.Wait(); code != -1 || p.Running() {
			t.Errorf("killed program: code %d, running %v; want -1 and false", code, p.Running())
		}
		p = p.Restart()
	}
	p.LineWith("ready")
	if got := crashtest.FileText(t, filepath.Join(dir, "addr")); !strings.HasPrefix(got, "127.0.0.1:") {
		t.Errorf("address file = %q", got)
	}
	if code := p.Stop(); code != 7 {
		t.Errorf("stopped program: code %d, want 7", code)
	}
	p.LineWith("bye")
}

func TestLineInVain(t *testing.T) {
	for _, test := range []struct {
		name     string
		program  string
		patience time.Duration
		want     string
	}{
		{"ended", "absent/folder", 0, "ended with 1 before the expected line"},
		{"late", "", time.Second, "did not print the expected line within 1s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), test.program)
			command := crashtest.Self(t, programVar, dir)
			command.Patience = test.patience
			r := &fatalRecorder{recorder{TB: t}}
			done := make(chan struct{})
			go func() { // Fatalf ends the goroutine
				defer close(done)
				crashtest.Start(r, command).LineWith("never printed")
			}()
			<-done
			if !strings.Contains(r.errors.String(), test.want) {
				t.Errorf("failure = %q, want one with %q", r.errors.String(), test.want)
			}
		})
	}
}

type fatalRecorder struct{ recorder }

func (r *fatalRecorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}
