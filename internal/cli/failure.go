package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Exit codes of both programs: docs/reference/commands.md.
const (
	ExitOK       = 0
	ExitError    = 1 // anything else
	ExitUsage    = 2 // command line or configuration
	ExitDocument = 3 // a document does not verify, or is refused
	ExitLicense  = 4 // the license gives no service
	ExitWarning  = 5 // the license warns, service goes on
	ExitStore    = 6 // the store cannot be used
	ExitHistory  = 7 // the history does not fit
	ExitVersion  = 8 // a newer program is needed
)

// A Failure is an error as the command line shows it: what happened, the way
// out, the stable code and the exit code. One without message ends the program
// and prints nothing.
type Failure struct {
	Code    string   `json:"code,omitempty"`
	Message string   `json:"message"`
	Hint    string   `json:"hint,omitempty"`
	Exit    int      `json:"exit"`
	Record  *int64   `json:"record,omitempty"` // of the document, the first that does not hold
	Errors  []string `json:"errors,omitempty"` // every mistake, where several are found at once
}

func (f *Failure) Error() string { return f.Message }

// Fail makes a Failure of its parts.
func Fail(exit int, code, hint, format string, args ...any) error {
	return &Failure{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint, Exit: exit}
}

// Print writes f for people, wrapped: mistakes one a line, what happened, the
// way out with the code.
func (f *Failure) Print(p *Program) {
	if f.Message == "" {
		return
	}
	for _, e := range f.Errors {
		fmt.Fprintln(p.Err, Wrap(e, Columns, "  "))
	}
	message := strings.ReplaceAll(strings.TrimSpace(f.Message), "\n", " ")
	fmt.Fprintln(p.Err, Wrap(p.Name+": "+p.bold("error:")+" "+message, Columns, "  "))
	hint := f.Hint
	if f.Code != "" {
		hint = strings.TrimSpace(hint + " [" + f.Code + "]")
	}
	if hint != "" && !p.Quiet {
		hint = strings.ReplaceAll(hint, `"`+p.Name+` `, `"`+p.Called+" ")
		fmt.Fprintln(p.Err, Wrap(p.Name+": hint: "+hint, Columns, "  "))
	}
}

func (f *Failure) printJSON(w io.Writer) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(f) // there is nobody left to tell
}
