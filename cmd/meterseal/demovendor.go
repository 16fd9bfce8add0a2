package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/meterseal/meterseal/internal/cli"
)

// demoSolution is what the demo's license is for.
const demoSolution = "webcount"

// demoVendor is the other side of the demo's air gap: meterseal-vendor, a program
// and a process of its own, with a folder that the site does not read.
type demoVendor struct {
	program, dir string
}

// findVendor returns the vendor's program: beside this one, or built from the
// checkout that the demo was started in. Without it the demo ends before the
// vendor's part, and says so.
func (d *demo) findVendor(ctx context.Context) (*demoVendor, error) {
	name := "meterseal-vendor"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	v := &demoVendor{dir: filepath.Join(d.dir, "vendor")}
	if self, err := os.Executable(); err == nil {
		v.program = filepath.Join(filepath.Dir(self), name)
		if _, err := os.Stat(v.program); err == nil {
			return v, nil
		}
	}
	goTool, err := exec.LookPath("go")
	if err != nil || !isCheckout() {
		return nil, nil //nolint:nilerr // without it the demo is shorter, and says so
	}
	v.program = filepath.Join(d.dir, name)
	build := exec.CommandContext(ctx, goTool, "build", "-buildvcs=false", "-o", v.program, "./cmd/meterseal-vendor")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build meterseal-vendor: %w\n%s", err, out)
	}
	return v, nil
}

// name is how to call the program from where this one was called as self, with
// the demo's folder shown as dir.
func (v *demoVendor) name(self, dir string) string {
	base := filepath.Base(v.program)
	switch {
	case filepath.Dir(v.program) == filepath.Dir(v.dir):
		return dir + "/" + base
	case strings.ContainsRune(self, filepath.Separator):
		return filepath.Join(filepath.Dir(self), base)
	}
	return base
}

// isCheckout tells whether the working directory is that of this module.
func isCheckout() bool {
	b, err := os.ReadFile("go.mod")
	return err == nil && bytes.HasPrefix(b, []byte("module github.com/meterseal/meterseal\n"))
}

// run starts the program and returns what it prints.
func (v *demoVendor) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, v.program, append(args, "--data", v.dir)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("meterseal-vendor %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// issue makes the vendor's keys and the license of the demo.
func (v *demoVendor) issue(ctx context.Context, keyFile string) error {
	if _, err := v.run(ctx, "init", "--domain", "vendor.example"); err != nil {
		return err
	}
	_, err := v.run(ctx, "license", "issue", "--customer", "NASA", "--solution", demoSolution, "--type", "time-limited",
		"--meter", demoMeter+":count:0:document", "--expires", time.Now().UTC().AddDate(0, 0, 30).Format(time.DateOnly),
		"--term", "180d", "--report-every", "monthly", "--enforcement", "soft", "--key-out", keyFile)
	return err
}

// accept hands the report to the vendor, as somebody does who carries it out.
func (d *demo) accept(ctx context.Context) error {
	fmt.Fprintf(d.Out, "7. The vendor takes the report in: meterseal-vendor, a process of its own\n")
	replies := filepath.Join(d.dir, "replies")
	out, err := d.vendor.run(ctx, "accept", "--out", replies, d.report)
	if err != nil {
		return err
	}
	d.indented(strings.ReplaceAll(out, d.dir+string(filepath.Separator), ""))
	d.reply = filepath.Join(replies, "site.reply")
	b, err := os.ReadFile(d.reply)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.Out, "   site.reply, %s: the receipt, and the renewed license\n\n", cli.ByteSize(int64(len(b))))
	return nil
}

// importReply takes the reply in: the license is renewed while the site runs.
func (d *demo) importReply(ctx context.Context, c *httpClient) error {
	fmt.Fprintf(d.Out, "8. The site takes the reply in, without a restart\n")
	files, err := importFiles([]string{d.reply})
	if err != nil {
		return err
	}
	files[0].send(ctx, c, false)
	if files[0].Err != nil {
		return files[0].Err
	}
	var text bytes.Buffer
	files[0].print(&text)
	d.indented(text.String())
	var status statusAnswer
	if err := c.getJSON(ctx, "/v1/status", url.Values{}, &status); err != nil {
		return err
	}
	if status.License.State != "active" {
		return fmt.Errorf("the license is %s, want active", status.License.State)
	}
	fmt.Fprintf(d.Out, "   the license is %s\n", status.License.State)
	out, err := d.vendor.run(ctx, "statement", "--json")
	if err != nil {
		return err
	}
	if !strings.Contains(out, demoMeter) {
		return errors.New("the vendor's statement does not have " + demoMeter)
	}
	fmt.Fprintln(d.Out)
	return nil
}

func (d *demo) indented(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		fmt.Fprintf(d.Out, "   %s\n", strings.TrimRight(line, "\n"))
	}
}
