package license

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/ledger"
)

// Kinds of fields that occur more than once.

func number(name string, must bool, p func(*License) *uint64) field {
	return field{name, must, false, func(l *License, s string) (err error) { *p(l), err = ledger.ParseUint(s); return err },
		func(l *License) []string { return []string{uintText(*p(l))} }}
}

func textField(name string, must bool, p func(*License) *string) field {
	return field{name, must, false, func(l *License, s string) (err error) {
		if *p(l), err = ledger.UnescapeText(s); err == nil && *p(l) == "" {
			err = errors.New("is empty")
		}
		return err
	}, func(l *License) []string {
		if *p(l) == "" && !must {
			return nil
		}
		return []string{ledger.EscapeText(*p(l))}
	}}
}

func nameField(name string, p func(*License) *string) field {
	return field{name, false, false, func(l *License, s string) error { *p(l) = s; return ledger.CheckName(s) }, func(l *License) []string {
		if *p(l) == "" {
			return nil
		}
		return []string{*p(l)}
	}}
}

func word[T ~string](name string, p func(*License) *T, words ...T) field {
	return field{name, true, false, func(l *License, s string) error {
		*p(l) = T(s)
		list := make([]string, len(words))
		for i, w := range words {
			list[i] = string(w)
		}
		return oneOf(s, list...)
	}, func(l *License) []string { return []string{string(*p(l))} }}
}

func flag(name string, p func(*License) *bool, no, yes string) field {
	return field{name, true, false, func(l *License, s string) error { *p(l) = s == yes; return oneOf(s, no, yes) }, func(l *License) []string {
		if *p(l) {
			return []string{yes}
		}
		return []string{no}
	}}
}

func date(name string, must bool, p func(*License) *time.Time) field {
	return field{name, must, false, func(l *License, s string) (err error) { *p(l), err = ledger.ParseDate(s); return err }, func(l *License) []string {
		if p(l).IsZero() && !must {
			return nil
		}
		return []string{ledger.FormatDate(*p(l))}
	}}
}

func dur(name string, must bool, p func(*License) *ledger.Dur) field {
	return field{name, must, false, func(l *License, s string) (err error) { *p(l), err = ledger.ParseDur(s); return err }, func(l *License) []string {
		if p(l).Unit == 0 && !must {
			return nil
		}
		return []string{durText(*p(l))}
	}}
}

func many[T any](name string, read func(string) (T, error), p func(*License) *[]T, text func(T) string) field {
	return field{name, false, true, func(l *License, s string) error {
		v, err := read(s)
		*p(l) = append(*p(l), v)
		return err
	}, func(l *License) (out []string) {
		for _, v := range *p(l) {
			out = append(out, text(v))
		}
		return out
	}}
}

func keyField(name string, must bool, p func(*License) *[]ledger.VKey, roles ...ledger.Role) field {
	return field{name, must, true, func(l *License, s string) error {
		k, err := ledger.ParseVKey(s)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(roles, func(r ledger.Role) bool { return k.CheckRole(r) == nil }) {
			return fmt.Errorf("%.200s is no %s key", k.Name, roles[0])
		}
		*p(l) = append(*p(l), k)
		return nil
	}, func(l *License) []string { return vkeys(*p(l)) }}
}

// durText spells a span; one without unit, never set, is 0s.
func durText(d ledger.Dur) string {
	if d.Unit == 0 {
		d.Unit = 's'
	}
	return d.String()
}

func vkeys(list []ledger.VKey) (out []string) {
	for _, k := range list {
		out = append(out, k.String())
	}
	return out
}

func uintText(u uint64) string { return strconv.FormatUint(u, 10) }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func oneOf(s string, words ...string) error {
	if !slices.Contains(words, s) {
		return fmt.Errorf("is %.40q, want %s", s, strings.Join(words, " or "))
	}
	return nil
}

// split cuts rest into exactly n words.
func split(rest string, n int) ([]string, error) {
	w := strings.Split(rest, " ")
	if len(w) != n {
		return nil, fmt.Errorf("has %d words after its name, want %d", len(w), n)
	}
	return w, nil
}

func readUint(p **uint64, s string) error {
	u, err := ledger.ParseUint(s)
	*p = &u
	return err
}

// readBound reads a number or "unlimited", and zero for 0 where the field has a
// word for it.
func readBound(p **uint64, s, zero string) error {
	switch {
	case s == "unlimited":
		return nil
	case zero != "" && s == zero:
		s = "0"
	case zero != "" && s == "0":
		return fmt.Errorf("0 is spelled %s", zero)
	}
	return readUint(p, s)
}

func boundText(p *uint64, zero string) string {
	switch {
	case p == nil:
		return "unlimited"
	case *p == 0:
		return zero
	}
	return uintText(*p)
}

func readEnd(l *License, s string) (err error) {
	if s == "never" {
		return nil
	}
	l.End, err = ledger.ParseDate(s)
	return err
}

func readRate(l *License, s string) error {
	u, err := ledger.ParseUint(s)
	if err == nil && u > 100 {
		err = fmt.Errorf("is %d, want 0 to 100", u)
	}
	l.MatchRate = int(u % 101)
	return err
}

func readSite(l *License, s string) error {
	if s == "-" {
		return nil
	}
	l.Site = s
	_, err := ledger.ParseOrigin(s)
	return err
}

func readSiteKey(l *License, s string) error {
	if s == "-" && len(l.SiteKeys) == 0 {
		return nil
	}
	k, err := ledger.ParseVKey(s)
	if err != nil {
		return err
	}
	if k.CheckRole(ledger.RoleSite) != nil && k.CheckRole(ledger.RoleSitePQ) != nil || len(l.SiteKeys) == 2 {
		return fmt.Errorf("%.200s is no site key", k.Name)
	}
	l.SiteKeys = append(l.SiteKeys, k)
	return nil
}

func readPin(l *License, s string) error {
	w, err := split(s, 2)
	if err != nil {
		return err
	}
	if l.Checkpoint.Size, err = ledger.ParseUint(w[0]); err != nil {
		return err
	}
	l.Checkpoint.Root, err = ledger.ParseHash(w[1])
	return err
}
