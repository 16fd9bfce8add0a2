package portal

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"net/mail"
	"slices"
	"strconv"
	"strings"
)

// logoBytesMax bounds a logo.
const logoBytesMax = 256 << 10

// Settings are how the portal calls itself and looks, and whom it reminds (L-27).
type Settings struct {
	// Name is the vendor's, on pages and in mails; empty: the domain of the keys.
	Name string `json:"name"`
	// Domain is the name under which customers know the portal, in texts.
	Domain string `json:"domain"`
	// Contact says in a sentence how customers reach the vendor.
	Contact string `json:"contact"`
	// Accent and AccentDark are the colours of links and buttons in the light and
	// the dark theme, #rrggbb; empty: the portal's own.
	Accent     string `json:"accent"`
	AccentDark string `json:"accent_dark"`
	// LogoType is the media type of Logo; empty: there is none.
	LogoType string `json:"logo_type,omitempty"`
	Logo     []byte `json:"logo,omitempty"`
	// RemindCustomers sends reminders to the users of the customer, RemindTo also
	// to these addresses of the vendor.
	RemindCustomers bool     `json:"remind_customers"`
	RemindTo        []string `json:"remind_to"`
}

// Grounds that an accent has to be read on.
const (
	lightGround = "#ffffff"
	darkGround  = "#19212b"
)

// contrastMin is what WCAG 2.2 asks of text.
const contrastMin = 4.5

const settingsRow = "portal"

// Settings returns the settings; those nobody made have their defaults.
func (p *Portal) Settings(ctx context.Context) (Settings, error) {
	s := Settings{RemindCustomers: true, RemindTo: []string{}}
	var text string
	found, err := p.store.reader().get(ctx, "SELECT value FROM settings WHERE name = ?", []any{settingsRow}, &text)
	if err == nil && found {
		err = json.Unmarshal([]byte(text), &s)
	}
	return s, err
}

// SetSettings replaces the settings. An empty LogoType takes the logo away.
func (p *Portal) SetSettings(ctx context.Context, s Settings, actor string) error {
	if err := s.check(); err != nil {
		return err
	}
	return p.store.tx(ctx, func(c conn) error {
		before, err := p.Settings(ctx)
		if err != nil {
			return err
		}
		if _, err := c.exec(ctx, "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", settingsRow, toJSON(s)); err != nil {
			return err
		}
		before.Logo = nil
		after := s
		after.Logo = nil
		return c.audit(ctx, p.now(), actor, "settings.set", settingsRow, before, after)
	})
}

func (s *Settings) check() error {
	bad := func(field, format string, args ...any) error {
		return refuse(CodeBadRequest, field+": "+format, args...).with("line", field)
	}
	for field, text := range map[string]string{"name": s.Name, "domain": s.Domain, "contact": s.Contact} {
		if text != clean(text) {
			return bad(field, "at most %d bytes, and no control characters", labelBytesMax)
		}
	}
	for _, x := range []struct{ field, color, ground, theme string }{{"accent", s.Accent, lightGround, "light"}, {"accent_dark", s.AccentDark, darkGround, "dark"}} {
		if x.color == "" {
			continue
		}
		r, ok := Contrast(x.color, x.ground)
		switch {
		case !ok:
			return bad(x.field, "%q is no colour such as #1d5fa8", x.color)
		case r < contrastMin:
			return bad(x.field, "%s has a contrast of %.1f to 1 on the %s ground, text needs %.1f: choose a %s one", x.color, r, x.theme, contrastMin,
				map[string]string{"light": "darker", "dark": "lighter"}[x.theme])
		}
	}
	if s.LogoType == "" {
		s.Logo = nil
	} else if err := checkLogo(s.LogoType, s.Logo); err != "" {
		return bad("logo", "%s", err)
	}
	if s.RemindTo == nil {
		s.RemindTo = []string{}
	}
	for _, to := range s.RemindTo {
		if a, err := mail.ParseAddress(to); err != nil || a.Address != to {
			return bad("remind_to", "%q is no mail address", to)
		}
	}
	return nil
}

// checkLogo returns what is wrong with a logo: its bytes have to be what its type
// says. SVG is left out, since it may hold script.
func checkLogo(kind string, b []byte) string {
	begins := map[string][]byte{"image/png": []byte("\x89PNG\r\n\x1a\n"), "image/jpeg": {0xff, 0xd8, 0xff}, "image/webp": []byte("RIFF")}
	begin, known := begins[kind]
	switch {
	case !known:
		return "a logo is a PNG, JPEG or WebP picture"
	case len(b) > logoBytesMax:
		return "a logo has at most 256 KiB"
	case !bytes.HasPrefix(b, begin):
		return "the file is no " + strings.ToUpper(strings.TrimPrefix(kind, "image/")) + " picture"
	}
	return ""
}

// Contrast is the contrast ratio of two colours #rrggbb by WCAG 2.2, 1 to 21;
// false if one is no such colour.
func Contrast(a, b string) (float64, bool) {
	x, okA := luminance(a)
	y, okB := luminance(b)
	if x < y {
		x, y = y, x
	}
	return (x + 0.05) / (y + 0.05), okA && okB
}

func luminance(color string) (float64, bool) {
	if len(color) != 7 || color[0] != '#' {
		return 0, false
	}
	n, err := strconv.ParseUint(color[1:], 16, 32)
	if err != nil {
		return 0, false
	}
	sum := 0.0
	for i, weight := range [...]float64{0.2126, 0.7152, 0.0722} {
		v := float64(n>>(16-8*i)&0xff) / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum, true
}

// remindAddresses are those that reminders of a customer go to, each once.
func (p *Portal) remindAddresses(ctx context.Context, c conn, s Settings, customer string) ([]string, error) {
	out := slices.Clone(s.RemindTo)
	if !s.RemindCustomers {
		return out, nil
	}
	users, err := c.customerAddresses(ctx, customer)
	for _, a := range users {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out, err
}
