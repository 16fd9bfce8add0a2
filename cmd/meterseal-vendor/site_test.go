package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// The stories need reports of sites. This program writes them: a ledger that
// begins with a license key, and goes on as its arguments say.
//
//	site KEY WORD OUT STEP...
//
// WORD makes the site's key, so two words are two sites. Steps:
//
//	use=N         a node uses N pages, and the ledger closes
//	until=TIME    windows without use up to then, and the ledger closes
//	days=N,N,…    a node uses N pages on each of as many days, and the ledger closes
//	seats=N       N seats of the pool editor are taken for 10 minutes, and one is refused
//	variable=V    the last record has the device variable hours=V
//	clock=N       the site's clock steps by N seconds
//	import=REPLY  take receipt and license of a reply into the ledger
//	from=N        the report begins at this size (default 0; import moves it)
//	opened=TIME   when the ledger was opened; first step only
//	code=FILE     OUT is the activation code for the initialization code in FILE
//	confirm=FILE  check the confirmation code in FILE, and take its license
//	retire        the ledger ends
//
// The same arguments give the same bytes; longer ones a continuation.
func siteMain() {
	if err := site(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "site:", err)
		os.Exit(1)
	}
}

func site(args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("usage: site KEY WORD OUT STEP...")
	}
	s, err := openSite(args[0], args[1], args[3:])
	if err != nil {
		return err
	}
	base := uint64(0)
	var out []byte // of code; nil: the report
	for _, step := range args[3:] {
		verb, value, _ := strings.Cut(step, "=")
		switch verb {
		case "opened":
		case "use":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return err
			}
			s.use(n)
			s.Close()
		case "days":
			for word := range strings.SplitSeq(value, ",") {
				n, err := strconv.ParseInt(word, 10, 64)
				if err != nil {
					return err
				}
				end := (s.Until()/86_400 + 1) * 86_400
				s.use(n)
				s.idle(end)
			}
			s.Close()
		case "seats":
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return err
			}
			s.Append(&ledger.Seat{Pool: "editor", From: s.Until(), To: s.Until() + exporttest.WindowSeconds, Peak: n, Seconds: 600 * n, Denied: 1, Count: n + 1, Root: ledger.Hash{1}})
			s.Window()
			s.Close()
		case "variable":
			s.Append(&ledger.Retire{Time: s.Now(), Reason: "moved", Attrs: ledger.Attrs{{Name: "var.hours", Value: value}}})
			s.Sign()
		case "clock":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return err
			}
			s.Append(&ledger.Clock{Time: s.Now(), Step: n, Cause: ledger.ClockStep})
		case "until":
			t, err := time.Parse(time.RFC3339, value)
			if err != nil {
				return err
			}
			s.idle(t.Unix())
			s.Close()
		case "import":
			if base, err = take(s, value); err != nil {
				return fmt.Errorf("import %s: %w", value, err)
			}
			s.Close()
		case "code":
			if out, err = s.activationCode(value); err != nil {
				return err
			}
		case "confirm":
			if err := s.confirm(value); err != nil {
				return fmt.Errorf("confirm %s: %w", value, err)
			}
			s.Close()
		case "from":
			if base, err = strconv.ParseUint(value, 10, 64); err != nil {
				return err
			}
		case "retire":
			s.Append(&ledger.Retire{Time: s.Now(), Reason: "moved"})
			s.Sign()
		default:
			return fmt.Errorf("no step %q", step)
		}
	}
	if out != nil {
		return os.WriteFile(args[2], out, 0o600)
	}
	var b bytes.Buffer
	if _, err := export.WriteReport(&b, s.Ledger, export.Options{From: base, To: s.Size()}); err != nil {
		return err
	}
	return os.WriteFile(args[2], b.Bytes(), 0o600)
}

// theSite is a ledger with what it was opened with.
type theSite struct {
	*exporttest.Site
	Opened exporttest.Opening
}

// use closes a window in which a node used n pages.
func (s *theSite) use(n int64) {
	s.Window(exporttest.Cell{Node: "node-01", Meter: "render.pages", Events: []exporttest.Event{{OffsetMS: 1000, Quantity: n, ID: "e"}}})
}

// idle closes windows without use up to a time.
func (s *theSite) idle(until int64) {
	for s.Until() < until {
		s.Window()
	}
}

func openSite(keyFile, word string, steps []string) (*theSite, error) {
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	note, err := license.ParseKey(strings.TrimSpace(string(key)))
	if err != nil {
		return nil, err
	}
	l, err := license.Verify(note, trusted(note), nil)
	if err != nil {
		return nil, err
	}
	n, err := ledger.ParseNote(note, ledger.NoteBytesMax)
	if err != nil {
		return nil, err
	}
	domain, _, _ := strings.Cut(n.Sigs[0].Name, "/")
	o := exporttest.Opening{Domain: domain, License: l.ID, Word: word, Note: note, KeyID: n.Sigs[0].KeyID}
	if len(steps) > 0 {
		if at, ok := strings.CutPrefix(steps[0], "opened="); ok {
			t, err := time.Parse(time.RFC3339, at)
			if err != nil {
				return nil, err
			}
			o.Time = t.Unix()
		}
	}
	return &theSite{exporttest.OpenSite(o), o}, nil
}

// trusted are the license keys that a license itself lists: trust on first use.
func trusted(note []byte) []ledger.VKey {
	l, err := license.Parse(note)
	if err != nil {
		return nil
	}
	return l.NextLicenseKeys
}

// take verifies a reply as the site would, and appends its records. It returns
// the size of the receipt.
func take(s *theSite, path string) (uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	r, err := export.ParseReply(b)
	if err != nil {
		return 0, err
	}
	first, err := license.Parse(s.Opened.Note)
	if err != nil {
		return 0, err
	}
	var o export.ReplyOptions
	for _, k := range first.ReceiptKeys {
		o.ReceiptKeys = append(o.ReceiptKeys, k.String())
	}
	for _, k := range first.ReplyKeys {
		o.ReplyKeys = append(o.ReplyKeys, k.String())
	}
	if err := export.VerifyReply(r, o); err != nil {
		return 0, err
	}
	var size uint64
	if r.Receipt != nil {
		cp, err := ledger.ParseCheckpoint(r.Receipt)
		if err != nil {
			return 0, err
		}
		known, err := r.ReceiptKnown(o.ReceiptKeys)
		if err != nil {
			return 0, err
		}
		s.Append(&ledger.Receipt{Time: s.Now(), Size: cp.Size, Root: cp.Root, VTime: known.VendorTime, Digest: known.Digest})
		s.Ledger.Notes[cp.Size] = r.Receipt
		size = cp.Size
	}
	if r.License != nil {
		l, err := license.Verify(r.License, trusted(s.Opened.Note), nil)
		if err != nil {
			return 0, err
		}
		n, err := ledger.ParseNote(r.License, ledger.NoteBytesMax)
		if err != nil {
			return 0, err
		}
		s.Append(&ledger.License{Time: s.Now(), ID: l.ID, Serial: l.Serial, KeyID: n.Sigs[0].KeyID, Digest: license.Digest(r.License), Size: l.Checkpoint.Size})
		s.Serial = l.Serial
	}
	return size, nil
}

// open returns the first record.
func (s *theSite) open() (*ledger.Open, error) {
	r, err := ledger.ParseRecord(s.Ledger.Lines[0])
	if err != nil {
		return nil, err
	}
	return r.(*ledger.Open), nil
}

func (s *theSite) activationCode(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	start, err := export.ParseInitializationCode(string(b))
	if err != nil {
		return nil, err
	}
	open, err := s.open()
	if err != nil {
		return nil, err
	}
	code, err := export.NewActivationCode(open, start)
	return []byte(code.String()), err
}

// confirm completes the license on site with a confirmation code.
func (s *theSite) confirm(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	c, err := export.ParseConfirmationCode(string(b))
	if err != nil {
		return err
	}
	open, err := s.open()
	if err != nil {
		return err
	}
	unbound, err := license.Parse(s.Opened.Note)
	if err != nil {
		return err
	}
	note, err := unbound.Confirm(open, uint64(c.Serial), c.Issued, c.End, c.Signature[:], trusted(s.Opened.Note))
	if err != nil {
		return err
	}
	s.Serial = uint64(c.Serial)
	s.Append(&ledger.License{Time: s.Now(), ID: unbound.ID, Serial: s.Serial, KeyID: s.Opened.KeyID, Digest: license.Digest(note), Size: 1})
	return nil
}
