package exporter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/meterseal/meterseal/internal/mailer"
)

// deliveryError says that a file is in place, and that who should get it did not.
type deliveryError struct {
	code, hint string
	err        error
}

func (e *deliveryError) Error() string { return e.err.Error() }
func (e *deliveryError) Unwrap() error { return e.err }

// deliver mails the file and hands it to the command, unless that is done.
func (r *runner) deliver(ctx context.Context, run *Run) error {
	r.mu.Lock()
	d := r.state.Delivery
	r.mu.Unlock()
	if d == nil || run.File == "" {
		return nil
	}
	if r.Mail != nil && !d.Mailed {
		if err := r.mail(ctx, run); err != nil {
			return &deliveryError{CodeMail, "the file is in the folder; see what the relay says. It is tried again", err}
		}
		r.mu.Lock()
		d.Mailed = true
		r.mu.Unlock()
		if err := r.keep(); err != nil {
			return err
		}
	}
	if len(r.Command) > 0 {
		if err := r.command(ctx, run); err != nil {
			return &deliveryError{CodeCommand, "the file is in the folder; see what the command says. It is tried again", err}
		}
	}
	r.mu.Lock()
	r.state.Delivery = nil // kept with the end of the run
	r.mu.Unlock()
	return nil
}

// mail sends the file to all recipients as one mail.
func (r *runner) mail(ctx context.Context, run *Run) error {
	label := r.x.Label
	if label == "" {
		label = "ledger " + r.x.Site.LedgerID()
	}
	body := fmt.Sprintf(`The usage report of %s is attached.

file      %s
sha256    %s
records   %d to %d
windows   %s to %s

Read it before you pass it on: meterseal report show FILE
`, label, run.File, run.SHA256, run.RecordsFrom, run.RecordsTo-1, minutes(run.From), minutes(run.Until))
	return r.Mail.Relay.Send(ctx, mailer.Message{
		ID: "export-" + run.SHA256[:32], To: r.Mail.To, Subject: "Usage report: " + label, Body: body,
		Attachment: mailer.Attachment{Name: run.File, Open: func() (io.ReadCloser, error) { return os.Open(filepath.Join(r.Folder, run.File)) }},
	}, r.x.Now())
}

func minutes(at *time.Time) string { return at.UTC().Format("2006-01-02 15:04 UTC") }

// outputKept bounds what is kept of what a command printed.
const outputKept = 2 << 10

// command runs the command with the path of the file as its last argument. It has
// no more of the daemon's environment than PATH.
func (r *runner) command(ctx context.Context, run *Run) error {
	ctx, cancel := context.WithTimeout(ctx, r.CommandTime)
	defer cancel()
	path := filepath.Join(r.Folder, run.File)
	cmd := exec.CommandContext(ctx, r.Command[0], append(r.Command[1:len(r.Command):len(r.Command)], path)...)
	cmd.Dir = r.Folder
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "METERSEAL_FILE=" + path, "METERSEAL_EXPORT=" + r.Name, "METERSEAL_SHA256=" + run.SHA256,
		fmt.Sprintf("METERSEAL_RECORDS_FROM=%d", run.RecordsFrom), fmt.Sprintf("METERSEAL_RECORDS_TO=%d", run.RecordsTo),
		"METERSEAL_FROM=" + run.From.UTC().Format(time.RFC3339), "METERSEAL_UNTIL=" + run.Until.UTC().Format(time.RFC3339)}
	ownGroup(cmd)
	cmd.WaitDelay = time.Second // a child that it left behind does not hold us
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("did not end within %v", r.CommandTime)
	}
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	if said := strings.TrimSpace(out.String()); said != "" {
		return fmt.Errorf("%s: %w: %s", r.Command[0], err, said)
	}
	return fmt.Errorf("%s: %w", r.Command[0], err)
}

// tail keeps the end of what is written to it.
type tail struct{ bytes.Buffer }

func (t *tail) Write(b []byte) (int, error) {
	t.Buffer.Write(b)
	if n := t.Len(); n > outputKept {
		t.Next(n - outputKept)
	}
	return len(b), nil
}
