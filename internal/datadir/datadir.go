// Package datadir keeps the version of a data directory as a whole: one number for
// the stream, the projections, the keys and everything beside them.
//
// It is read before anything else is, and before anything is written. A program
// that knows less than the number refuses the directory; one that knows more brings
// it forward step by step, and the number is written after each step. So a crash
// leaves a directory of which the next start knows what is still to be done.
package datadir

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/meterseal/meterseal/internal/cli"
)

// FileName is the file in the data directory: one line, the format and the program
// that brought it.
//
//	meterseal-data/v1 1.0.0
const FileName = "version"

// fileBytesMax bounds the file.
const fileBytesMax = 256

// ErrMalformed: the file is not one of ours. Put it back from a backup.
var ErrMalformed = errors.New("version of the data directory cannot be read")

// A Format is what the file says.
type Format struct {
	Number  int    // 0: there is no file
	Program string // the version that brought this format
}

// A NewerError says that a directory is of a newer program.
type NewerError struct {
	Dir     string
	Has     Format
	Reads   int    // the newest format that this program knows
	Program string // its version
}

// Error names both versions.
func (e *NewerError) Error() string {
	return fmt.Sprintf("%s has format %d, which version %s brought; this is version %s, which reads formats up to %d",
		e.Dir, e.Has.Number, e.Has.Program, e.Program, e.Reads)
}

// Hint is the way out.
func (e *NewerError) Hint() string {
	return fmt.Sprintf("install %s or newer; to go on with %s, restore the backup from before the upgrade into another folder", e.Has.Program, e.Program)
}

// Read reads the version of dir; a directory without one, or none at all, has
// format 0.
//
// Errors: [ErrMalformed].
func Read(dir string) (Format, error) {
	f, err := os.Open(filepath.Join(dir, FileName))
	if errors.Is(err, os.ErrNotExist) {
		return Format{}, nil
	}
	if err != nil {
		return Format{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, fileBytesMax+1))
	if err != nil {
		return Format{}, err
	}
	format, err := Parse(string(b))
	if err != nil {
		return format, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return format, nil
}

// Parse reads the line.
func Parse(line string) (f Format, err error) {
	n, _ := fmt.Sscanf(line, "meterseal-data/v%d %s\n", &f.Number, &f.Program)
	if n != 2 || f.Number < 1 || f.Line() != line {
		return Format{}, fmt.Errorf("%w: %.80q", ErrMalformed, line)
	}
	return f, nil
}

// Line is what the file holds.
func (f Format) Line() string { return fmt.Sprintf("meterseal-data/v%d %s\n", f.Number, f.Program) }

// A Step brings a directory from one format to the next.
type Step struct {
	What string // for the log: what it changes
	// Do changes the directory. A crash may come at any time, and then Do is called
	// again on what is there. nil: the format only got its number.
	Do func(dir string) error
}

// A Program is what a version of the program knows of formats: Steps[n] leads from
// format n to n+1, and the number of steps is its own format.
type Program struct {
	Version string
	Steps   []Step

	crash func(at string) error // for tests: what comes before each write
}

// Check refuses a directory of a newer program.
//
// Errors: [*NewerError], [ErrMalformed].
func (p *Program) Check(dir string) (Format, error) {
	f, err := Read(dir)
	if err == nil {
		err = p.CheckFormat(dir, f)
	}
	return f, err
}

// CheckFormat refuses the format of dir, or of what else is called so, if it is
// newer than p.
func (p *Program) CheckFormat(dir string, f Format) error {
	if f.Number > len(p.Steps) {
		return &NewerError{dir, f, len(p.Steps), p.Version}
	}
	return nil
}

// Format is that of p.
func (p *Program) Format() Format { return Format{len(p.Steps), p.Version} }

// Begin gives a directory that holds nothing yet the format of p.
func (p *Program) Begin(dir string) error { return p.write(dir, len(p.Steps)) }

// Migrate brings dir to the format of p, whoever calls it holding the directory for
// himself, and says each step in the log.
func (p *Program) Migrate(dir string, log *slog.Logger) error {
	f, err := p.Check(dir)
	if err != nil {
		return err
	}
	for n := f.Number; n < len(p.Steps); n++ {
		step := p.Steps[n]
		log.Info("data directory is brought forward", "path", dir, "from", n, "to", n+1, "what", step.What)
		if step.Do != nil {
			if err := step.Do(dir); err != nil {
				return fmt.Errorf("bring %s from format %d to %d: %w", dir, n, n+1, err)
			}
		}
		// Before this the step is done again; after it, never.
		if err := p.write(dir, n+1); err != nil {
			return err
		}
	}
	return nil
}

func (p *Program) write(dir string, number int) error {
	if p.crash != nil {
		if err := p.crash(fmt.Sprint("version ", number)); err != nil {
			return err
		}
	}
	f := Format{number, p.Version}
	return cli.WriteFile(filepath.Join(dir, FileName), true, func(w io.Writer) error {
		_, err := io.WriteString(w, f.Line())
		return err
	})
}
