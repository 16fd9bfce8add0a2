package web

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) keyRoutes() []Route {
	return []Route{
		{"GET", "/keys", gate.Administer, s.keys},
		{"POST", "/keys/withdraw", gate.Administer, s.withdrawKey},
		{"POST", "/keys/{action}", gate.Administer, s.changeKey},
	}
}

var (
	doneKeyAsked     = notice("key-asked", "It is asked for. Another administrator has to confirm it on this page within 24 hours; until then nothing changes.")
	doneKeyAnnounced = notice("key-announced", "The next key was made. Licenses list it from now on: refresh them, so that sites learn of it, and rotate when all have reported.")
	doneKeyRotated   = notice("key-rotated", "The announced key signs from now on.")
	doneKeyRevoked   = notice("key-revoked", "The key was ended. Licenses that are signed from now on say so.")
	doneKeyWithdrawn = notice("key-withdrawn", "The request was withdrawn; nothing was changed.")
)

// keysPage is the vendor's keys by role.
type keysPage struct {
	Roles    []roleKeys
	Requests []requestRow
	Alone    bool // one administrator decides alone
}

// roleKeys are the keys of one role.
type roleKeys struct {
	Role, Words string
	Keys        []keyRow
	HasNext     bool
	Label       string // of the next key, unless another one is typed
}

type keyRow struct {
	portal.Key
	Name  string
	Word  stateWord
	Since time.Time // zero: since the beginning
	May   bool      // it may be ended
}

// requestRow is an open request, with who may confirm it.
type requestRow struct {
	portal.Request
	Words string
	Own   bool
}

// roleWords say what each key is for.
var roleWords = map[string]string{
	"license": "signs licenses. Sites trust it: its public half is in every license key, and the next one is announced by its signature.",
	"receipt": "countersigns checkpoints of ledgers. Licenses list it.",
	"reply":   "signs acceptances and rejections. Licenses list it.",
}

// keyStates say how a key stands.
var keyStates = map[string]stateWord{"next": {"announced, signs nothing yet", "warn"}, "active": {"signs", "good"}, "old": {"old; what it signed stays valid", "none"}, "revoked": {"revoked; nothing of it counts", "bad"}}

func (s *Server) keysPage(ctx context.Context) (*keysPage, error) {
	d := &keysPage{}
	admins, err := s.Portal.Administrators(ctx)
	if err != nil {
		return nil, err
	}
	d.Alone = admins < 2
	for _, k := range s.Portal.Keys() {
		i := slices.IndexFunc(d.Roles, func(r roleKeys) bool { return r.Role == k.Role })
		if i < 0 {
			d.Roles, i = append(d.Roles, roleKeys{Role: k.Role, Words: roleWords[k.Role]}), len(d.Roles)
		}
		name, _, _ := strings.Cut(k.VKey, "+")
		row := keyRow{Key: k, Name: name, Word: keyStates[k.State], May: k.State == "next" || k.State == "old"}
		log, err := s.Portal.AuditLog(ctx, name, 1)
		if err != nil {
			return nil, err
		}
		if len(log) > 0 {
			row.Since = log[0].Time
		}
		d.Roles[i].Keys = append(d.Roles[i].Keys, row)
		d.Roles[i].HasNext = d.Roles[i].HasNext || k.State == "next"
	}
	for i := range d.Roles {
		d.Roles[i].Label = d.Roles[i].freeLabel(strconv.Itoa(s.now().Year()))
	}
	open, err := s.Portal.Requests(ctx)
	for _, r := range open {
		d.Requests = append(d.Requests, requestRow{r, changeWords(r.Change), r.By == gate.CallerOf(ctx).Email})
	}
	return d, err
}

// freeLabel is the year, with a number where that is taken.
func (r *roleKeys) freeLabel(year string) string {
	for n, label := 2, year; ; n++ {
		if !slices.ContainsFunc(r.Keys, func(k keyRow) bool { return strings.HasSuffix(k.Name, "/"+label) }) {
			return label
		}
		label = year + "-" + strconv.Itoa(n)
	}
}

// changeWords says what is asked for.
func changeWords(c portal.KeyChange) string {
	switch c.Action {
	case "announce":
		return "make the next " + c.Role + " key, called " + c.Label
	case "rotate":
		s := "let the announced " + c.Role + " key sign"
		if c.Force {
			s += ", although a site may not know it yet"
		}
		return s
	}
	name, _, _ := strings.Cut(c.Key, "+")
	return "end the key " + name
}

func (s *Server) keys(w http.ResponseWriter, r *http.Request) error {
	d, err := s.keysPage(r.Context())
	if err != nil {
		return err
	}
	if asCSV(r) {
		return writeCSV(w, "keys", []string{"role", "state", "key"}, func(yield func([]string, error) bool) {
			for _, k := range s.Portal.Keys() {
				if !yield([]string{k.Role, k.State, k.VKey}, nil) {
					return
				}
			}
		})
	}
	return s.show(w, r, "keys", keysPageOf(d))
}

func keysPageOf(d *keysPage) page {
	return page{Title: "Keys", Nav: "keys", Data: d, Command: "keys list", API: "GET /api/v1/keys"}
}

// changeKey takes the forms of the page. Two administrators have to send the same.
func (s *Server) changeKey(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	d, err := s.keysPage(r.Context())
	if err != nil {
		return err
	}
	change := portal.KeyChange{Action: r.PathValue("action"), Role: form.Get("role"), Label: strings.TrimSpace(form.Get("label")), Force: form.Get("force") == "yes", Key: form.Get("key")}
	c := gate.CallerOf(r.Context())
	if err = s.confirmAlone(d, change, form); err == nil {
		_, err = s.Portal.ChangeKey(r.Context(), change, c.Email, c.Actor())
	}
	switch {
	case portal.CodeOf(err) == portal.CodeSecondPerson:
		return done(w, r, "/keys", doneKeyAsked)
	case err != nil && portal.CodeOf(err) == "":
		// What the keys themselves refuse is told as it is; there is no secret in it.
		err = &portal.Error{Code: portal.CodeState, Status: http.StatusConflict, Message: err.Error(), Hint: "look at the keys first"}
	}
	if err != nil {
		return s.again(w, r, "keys", keysPageOf(d), form, err)
	}
	return done(w, r, "/keys", map[string]string{"announce": doneKeyAnnounced, "rotate": doneKeyRotated, "revoke": doneKeyRevoked}[change.Action])
}

// confirmAlone asks the only administrator to type what he is about to do.
func (s *Server) confirmAlone(d *keysPage, c portal.KeyChange, form url.Values) error {
	if !d.Alone || c.Action == "announce" {
		return nil
	}
	want := c.Role
	if c.Action == "revoke" {
		want, _, _ = strings.Cut(c.Key, "+")
	}
	if strings.TrimSpace(form.Get("typed")) != want {
		return badField("typed", "nobody confirms it but you: type “"+want+"” to do it", "with a second administrator the other one would confirm it")
	}
	return nil
}

func (s *Server) withdrawKey(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	c := gate.CallerOf(r.Context())
	if err := s.Portal.WithdrawRequest(r.Context(), form.Get("id"), c.Email, c.Actor()); err != nil {
		return err
	}
	return done(w, r, "/keys", doneKeyWithdrawn)
}
