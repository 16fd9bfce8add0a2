package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// Exit codes: docs/reference/commands.md.
const (
	exitOK       = 0
	exitError    = 1
	exitUsage    = 2
	exitDocument = 3
	exitLicense  = 4
	exitWarning  = 5
	exitStore    = 6
	exitHistory  = 7
	exitVersion  = 8
)

// failure is an error as the command line shows it: what happened, the way out,
// the stable code and the exit code.
type failure struct {
	Code    string   `json:"code,omitempty"`
	Message string   `json:"message"`
	Hint    string   `json:"hint,omitempty"`
	Exit    int      `json:"exit"`
	Record  *int64   `json:"record,omitempty"` // of the document, the first that does not hold
	Errors  []string `json:"errors,omitempty"` // every mistake, where several are found at once
}

func (f *failure) Error() string { return f.Message }

// fail makes a failure of its parts.
func fail(exit int, code, hint, format string, args ...any) error {
	return &failure{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint, Exit: exit}
}

// describeError finds code, hint and exit code of any error.
func describeError(err error) *failure {
	var f *failure
	var ev *events.Error
	var doc *export.Error
	var lic *license.Error
	var conflict *projections.MeterConflictError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &ev):
		return &failure{Code: ev.Code, Message: ev.Message, Hint: ev.Hint, Exit: exitError}
	case errors.As(err, &doc):
		return documentFailure("", doc)
	case errors.As(err, &lic):
		return &failure{Code: lic.Code, Message: strings.TrimPrefix(lic.Error(), lic.Code+": "), Hint: lic.Hint, Exit: codes[lic.Code].exit}
	case errors.As(err, &conflict):
		return &failure{Code: "meter_conflict", Message: strings.TrimPrefix(conflict.Error(), "meter_conflict: "),
			Hint: "give the new meaning another id; what a meter counts never changes", Exit: exitUsage}
	}
	if errors.Is(err, context.Canceled) {
		return &failure{Message: "stopped before it was done", Hint: "run it again: what was stored before counts once", Exit: exitError}
	}
	if code := codeOf(err); code != "" {
		k := codes[code]
		return &failure{Code: code, Message: strings.TrimPrefix(err.Error(), code+": "), Hint: k.hint, Exit: k.exit}
	}
	return &failure{Message: err.Error(), Exit: exitError}
}

// documentFailure says what is wrong with the document name; "": it has none.
func documentFailure(name string, doc *export.Error) *failure {
	f := &failure{Code: doc.Code, Message: doc.Error(), Hint: doc.Hint, Exit: exitDocument}
	if name != "" {
		f.Message = filepath.Base(name) + ": " + f.Message
	}
	if f.Hint == "" {
		f.Hint = export.Hint(doc.Code)
	}
	if doc.Code == export.CodeTooNew {
		f.Exit = exitVersion
	}
	if doc.Record >= 0 {
		f.Record = &doc.Record
	}
	return f
}

// codeOf returns the stable code of an error of the packages below, or "".
func codeOf(err error) string {
	if code := stream.Code(err); code != "" {
		return code
	}
	for _, k := range []struct {
		is   error
		code string
	}{
		{projections.ErrStreamBehind, "stream_behind_cursor"},
		{projections.ErrHole, "stream_hole"},
		{projections.ErrStreamChanged, "stream_damaged"},
		{projections.ErrNoHistory, "no_history"},
		{projections.ErrInUse, "store_in_use"},
		{projections.ErrNoPermission, "store_no_permission"},
		{projections.ErrUnusable, "store_unreachable"},
		{projections.ErrDamaged, "ledger_damaged"},
		{projections.ErrSettings, "config_invalid"},
		{ledger.ErrKeyExposed, "key_file_exposed"},
	} {
		if errors.Is(err, k.is) {
			return k.code
		}
	}
	return ""
}

const hintRestore = `run "meterseal ledger check", then "meterseal restore --help"`

// codes are exit code and way out of what stops the daemon (docs/reference/errors.md).
var codes = map[string]struct {
	exit int
	hint string
}{
	"config_invalid":           {exitUsage, "correct the setting"},
	"listen_address_in_use":    {exitUsage, "stop what listens there, or choose another address"},
	"key_file_exposed":         {exitUsage, "set mode 0600 on the key file and 0700 on its folder, and think of who could read it"},
	"store_unreachable":        {exitStore, "start the NATS server, correct --nats-url, or put right what is named"},
	"store_no_permission":      {exitStore, "grant the right that is named"},
	"store_settings_unsafe":    {exitStore, "set it as said; once the server syncs always, start with --store-sync-always true"},
	"store_in_use":             {exitStore, "stop the other daemon, or choose another --data"},
	"store_full":               {exitStore, "free space, or set store.max_size to what there is; nothing was dropped"},
	"store_unavailable":        {exitStore, "nothing is lost: try again when the daemon is back"},
	"no_history":               {exitHistory, `put it back, or see "meterseal restore --help"`},
	"ledger_damaged":           {exitHistory, hintRestore},
	"ledger_retired":           {exitHistory, "begin a new ledger in another --data"},
	"ledger_behind_pin":        {exitHistory, hintRestore},
	"ledger_off_pin":           {exitHistory, "stop the second daemon that has this site key"},
	"meter_conflict":           {exitUsage, "give the new meaning another id; what a meter counts never changes"},
	"stream_behind_cursor":     {exitHistory, `acknowledged events are gone from it; see "meterseal restore --help"`},
	"stream_hole":              {exitHistory, hintRestore},
	"stream_damaged":           {exitHistory, hintRestore},
	license.CodeInvalid:        {exitLicense, "ask the vendor to send the license again"},
	license.CodeKeyCut:         {exitLicense, "copy the whole line again"},
	license.CodeNotALicense:    {exitLicense, "a license key begins with ms1."},
	license.CodeLicenseRevoked: {exitLicense, "import the newest reply"},
	license.CodeSolutionName:   {exitLicense, "correct license.solution_name, or ask the vendor"},
	license.CodeNewLicense:     {exitLicense, "ask the vendor for a license of this product line"},
	license.CodeWrongSiteKey:   {exitLicense, "import the reply that the vendor made for this site"},
	license.CodeSuperseded:     {exitLicense, "import the newest reply"},
	license.CodeConflict:       {exitLicense, "ask the vendor: two licenses have one serial"},
	license.CodeAlreadyBound:   {exitLicense, "import the newest reply"},
	"upgrade_needed":           {exitVersion, "install the newer version that wrote it; nothing is damaged"},
	"busy":                     {exitError, "try again"},
}

// columns is the width that everything for people keeps to.
const columns = 80

// print writes f for people, wrapped: mistakes one a line, what happened, the
// way out with the code.
func (f *failure) print(a *app) {
	if f.Message == "" {
		return
	}
	for _, e := range f.Errors {
		fmt.Fprintln(a.err, wrap(e, columns, "  "))
	}
	message := strings.ReplaceAll(strings.TrimSpace(f.Message), "\n", " ")
	fmt.Fprintln(a.err, wrap("meterseal: "+a.bold("error:")+" "+message, columns, "  "))
	hint := f.Hint
	if f.Code != "" {
		hint = strings.TrimSpace(hint + " [" + f.Code + "]")
	}
	if hint != "" && !a.quiet {
		hint = strings.ReplaceAll(hint, `"meterseal `, `"`+a.name+" ")
		fmt.Fprintln(a.err, wrap("meterseal: hint: "+hint, columns, "  "))
	}
}

func (f *failure) printJSON(w io.Writer) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(f) // there is nobody left to tell
}

// wrap breaks a text at spaces into lines of at most width characters; lines
// after the first begin with indent. What is longer than that or stands in
// double quotes stays whole: a path, a key or a command that is broken cannot
// be copied.
func wrap(s string, width int, indent string) string {
	var b strings.Builder
	at, begun := 0, false // characters of this line; whether it has a word
	for _, word := range words(s) {
		n := visible(word)
		switch {
		case begun && at+1+n > width:
			b.WriteString("\n" + indent)
			at = len(indent)
		case begun:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at, begun = at+n, true
	}
	return b.String()
}

// words splits at spaces outside of double quotes.
func words(s string) []string {
	quoted := false
	var list []string
	from := 0
	for i, r := range s {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ' ' && !quoted:
			list = append(list, s[from:i])
			from = i + 1
		}
	}
	if quoted { // one quote too many: no quotes at all
		return strings.Split(s, " ")
	}
	return append(list, s[from:])
}

// visible counts the characters of s that take a column: not those of bold.
func visible(s string) int {
	s = strings.NewReplacer(boldOn, "", boldOff, "").Replace(s)
	return len([]rune(s))
}

const boldOn, boldOff = "\x1b[1;31m", "\x1b[0m"

// bold makes a word stand out where that is wanted; it says nothing by itself.
func (a *app) bold(s string) string {
	on := a.color == "always"
	if f, ok := a.err.(*os.File); ok && a.color == "auto" {
		on = term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	if !on {
		return s
	}
	return boldOn + s + boldOff
}
