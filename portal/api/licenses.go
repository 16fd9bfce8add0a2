package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) licenseRoutes() []Route {
	lic := id("the license")
	return append([]Route{{
		Method: http.MethodGet, Path: "/api/v1/licenses", ID: "listLicenses", Right: gate.Look,
		Summary: "Licenses, with both dates",
		Params: lists(
			param{Name: "state", Enum: []string{"active", "suspended", "revoked", "expired", "overdue", "ending"}, Doc: "ending: within 90 days"},
			param{Name: "customer", Doc: "id"}, param{Name: "product", Doc: "id"}),
		Answers: ok("A page of them", portal.Page[portal.LicenseLine]{}),
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			page, err := s.Portal.FindLicenses(r.Context(), options(r, q))
			if err != nil {
				return err
			}
			return s.answer(w, r, page)
		},
	}, {
		Method: http.MethodPost, Path: "/api/v1/licenses", ID: "issueLicense", Right: gate.Manage,
		Summary: "Make and sign a license",
		Doc:     "Terms come from the defaults, then the policy, then what is given. The customer gets the key. Refusals: term_too_short, term_too_long, end_after_contract, feature_unknown, algorithm_not_allowed, bad_request with the line at fault.",
		Body:    takes(portal.LicenseSpec{}), Answers: made("The license", LicenseDetail{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			var spec portal.LicenseSpec
			if err := readJSON(w, r, &spec); err != nil {
				return err
			}
			spec.Actor = actor(r)
			l, err := s.Portal.IssueLicense(r.Context(), spec)
			if err != nil {
				return err
			}
			w.Header().Set("Location", "/api/v1/licenses/"+l.ID)
			return s.showLicense(w, r, http.StatusCreated, l)
		},
	}, {
		Method: http.MethodPost, Path: "/api/v1/licenses/draft", ID: "draftLicense", Right: gate.Manage,
		Summary: "What license would be made", Doc: "Nothing is signed or written; refusals are those of making it.",
		Body: takes(portal.LicenseSpec{}), Answers: done("Every line of it", Draft{}), Problems: []int{404},
		Serve: s.draftLicense,
	}, {
		Method: http.MethodGet, Path: "/api/v1/licenses/{id}", ID: "getLicense", Right: gate.Look,
		Summary: "A license, every line of it, and what is left of amounts that were bought once",
		Doc:     "Who may not see the key gets none, and the note without its signatures.",
		Params:  []param{lic}, Answers: ok("The license", LicenseDetail{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			l, err := s.license(r.Context(), r.PathValue("id"))
			if err != nil {
				return err
			}
			return s.showLicense(w, r, http.StatusOK, l)
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/licenses/{id}/key", ID: "getLicenseKey", Right: gate.Look,
		Summary: "The license on one line: license.key of a site",
		Doc:     "For who manages licenses, and for its customer.",
		Params:  []param{lic}, Answers: text(httpapi.TextType, "The key"), Problems: []int{403, 404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			l, err := s.license(r.Context(), r.PathValue("id"))
			if err != nil {
				return err
			}
			if !gate.CallerOf(r.Context()).MayKey() {
				return &portal.Error{Code: portal.CodeNotAllowed, Status: http.StatusForbidden, Message: "a key is shown to who manages licenses, and to its customer", Hint: "ask one of them"}
			}
			return send(w, httpapi.TextType, l.ID+".key", []byte(l.Key+"\n"))
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/licenses/{id}/documents", ID: "listDocuments", Right: gate.Look,
		Summary: "Every note that was signed for a license, oldest first",
		Doc:     "Who may not see the key gets those that are for no site yet without their signatures.",
		Params:  []param{lic}, Answers: ok("The notes", portal.Page[string]{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			if _, err := s.license(r.Context(), r.PathValue("id")); err != nil {
				return err
			}
			notes, err := s.Portal.Documents(r.Context(), r.PathValue("id"))
			if err != nil {
				return err
			}
			if !gate.CallerOf(r.Context()).MayKey() {
				for i, note := range notes {
					if t, err := license.Parse([]byte(note)); err != nil || t.Site == "" {
						notes[i] = portal.Unsigned(note)
					}
				}
			}
			return s.answer(w, r, whole(notes))
		},
	}}, s.licenseChanges(lic)...)
}

// A LicenseDetail is one on record, with its lines.
type LicenseDetail struct {
	portal.License
	Lines    license.Lines    `json:"lines" doc:"every line by its name, as in docs/formats/license.md"`
	Balances []portal.Balance `json:"balances" nullable:"false" doc:"amounts that are never reset"`
}

// A Draft is a license that was not made.
type Draft struct {
	Lines   license.Lines `json:"lines" doc:"every line by its name, as in docs/formats/license.md"`
	Notices []string      `json:"notices" nullable:"false" doc:"what was decided for its maker"`
}

// A LicenseChange is what a change of a license comes to.
type LicenseChange struct {
	License   LicenseDetail    `json:"license"`
	Refreshes []portal.Refresh `json:"refreshes" nullable:"false" doc:"a reply for each active site: GET /api/v1/ledgers/LEDGER/reply"`
}

func (s *Server) draftLicense(w http.ResponseWriter, r *http.Request, _ values) error {
	var spec portal.LicenseSpec
	if err := readJSON(w, r, &spec); err != nil {
		return err
	}
	l, notices, err := s.Portal.DraftLicense(r.Context(), spec)
	if err != nil {
		return err
	}
	d := Draft{Notices: append([]string{}, notices...)}
	if d.Lines, err = l.Lines(); err != nil {
		return err
	}
	return s.answer(w, r, d)
}

// license returns a license that the caller may see.
func (s *Server) license(ctx context.Context, id string) (*portal.License, error) {
	l, err := s.Portal.License(ctx, id)
	if err != nil {
		return nil, err
	}
	if customer := own(ctx); customer != "" && l.Customer != customer {
		return nil, hidden("license", id)
	}
	return l, nil
}

func (s *Server) withLines(ctx context.Context, l *portal.License) (out LicenseDetail, err error) {
	out.License = *l
	if !gate.CallerOf(ctx).MayKey() {
		out.Key, out.Note = "", l.Unsigned()
	}
	if out.Lines, err = l.Terms.Lines(); err == nil {
		out.Balances, err = s.Portal.Balances(ctx, l.ID)
	}
	return out, err
}

func (s *Server) showLicense(w http.ResponseWriter, r *http.Request, status int, l *portal.License) error {
	out, err := s.withLines(r.Context(), l)
	if err != nil {
		return err
	}
	return s.answerTagged(w, r, status, portal.Tag(l), out)
}

// licenseChanges are the routes that change a license that exists.
func (s *Server) licenseChanges(lic param) []Route {
	plain := func(verb, id, summary string, do func(*portal.Portal, context.Context, string, string) (*portal.Change, error)) Route {
		return s.licenseChange(lic, verb, id, summary, func(_ http.ResponseWriter, r *http.Request) (*portal.Change, error) {
			return do(s.Portal, edit(r), r.PathValue("id"), actor(r))
		})
	}
	update := s.licenseChange(lic, "update", "updateLicense", "Replace lines of a license", func(w http.ResponseWriter, r *http.Request) (*portal.Change, error) {
		var body updateBody
		if err := readJSON(w, r, &body); err != nil {
			return nil, err
		}
		return s.Portal.UpdateLicense(edit(r), r.PathValue("id"), body.Set, actor(r))
	})
	update.Doc, update.Body = "An empty list takes a line away. The type never changes, nor what a meter is.", takes(updateBody{})
	renew := s.licenseChange(lic, "renew", "renewLicense", "Move the end of a license on", func(w http.ResponseWriter, r *http.Request) (*portal.Change, error) {
		var body renewBody
		if err := readJSON(w, r, &body); err != nil {
			return nil, err
		}
		return s.Portal.RenewLicense(edit(r), r.PathValue("id"), body.Every, actor(r))
	})
	renew.Doc, renew.Body, renew.BodyOptional = "By its renewal basis. Early renewal shortens nothing.", takes(renewBody{}), true
	return []Route{update, renew,
		plain("suspend", "suspendLicense", "Suspend a license: its sites get no renewal", (*portal.Portal).SuspendLicense),
		plain("resume", "resumeLicense", "Undo suspending", (*portal.Portal).ResumeLicense),
		plain("revoke", "revokeLicense", "End a license for good", (*portal.Portal).RevokeLicense),
		plain("refresh", "refreshLicense", "Give every active site its license anew, without a report", (*portal.Portal).RefreshLicense),
		s.codeRoute(lic),
	}
}

type updateBody struct {
	Set license.Lines `json:"set" doc:"lines by name; an empty list takes them away"`
}

type renewBody struct {
	Every string `json:"every,omitempty" doc:"monthly, annual, or a span as 180d; the duration of its rules if not given"`
}

func (s *Server) licenseChange(lic param, verb, id, summary string, do func(http.ResponseWriter, *http.Request) (*portal.Change, error)) Route {
	return Route{
		Method: http.MethodPost, Path: "/api/v1/licenses/{id}/" + verb, ID: id, Right: gate.Manage, Summary: summary,
		Params: []param{lic, ifMatch}, Answers: done("The license as it is now, and what to carry to its sites", LicenseChange{}), Problems: []int{404, 412},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			c, err := do(w, r)
			if err != nil {
				return err
			}
			out := LicenseChange{Refreshes: c.Refreshes}
			if out.License, err = s.withLines(r.Context(), c.License); err != nil {
				return err
			}
			return s.answerTagged(w, r, http.StatusOK, portal.Tag(c.License), out)
		},
	}
}

func (s *Server) codeRoute(lic param) Route {
	return Route{
		Method: http.MethodPost, Path: "/api/v1/licenses/{id}/codes", ID: "makeCode", Right: gate.Manage,
		Summary: "Make an initialization code, where no file may leave a site",
		Doc:     "It begins one activation, within seven days. The site turns it into an activation code: POST /api/v1/activations.",
		Params:  []param{lic}, Answers: made("The code", portal.StartCode{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			c, err := s.Portal.NewCode(r.Context(), r.PathValue("id"), actor(r))
			if err != nil {
				return err
			}
			return s.answerTagged(w, r, http.StatusCreated, "", c)
		},
	}
}

func (s *Server) activationRoutes() []Route {
	return []Route{{
		Method: http.MethodPost, Path: "/api/v1/activations", ID: "activate", Right: gate.Upload,
		Summary: "Answer an activation code with the confirmation code",
		Doc:     "Where no file may leave a site. The same code again gives the same answer.",
		Body:    takes(activationBody{}), Answers: done("The confirmation code, six rows to type in at the site; empty while it waits for approval", portal.CodeAnswer{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			var body activationBody
			if err := readJSON(w, r, &body); err != nil {
				return err
			}
			if err := required("license", body.License); err != nil {
				return err
			}
			if _, err := s.license(r.Context(), body.License); err != nil {
				return err
			}
			c := gate.CallerOf(r.Context())
			a, err := s.Portal.ActivateByCode(r.Context(), body.License, body.Code, portal.AcceptOptions{Ledger: body.Cluster, Customer: own(r.Context()), User: c.Email, Actor: c.Actor()})
			if err != nil {
				return err
			}
			return s.answer(w, r, a)
		},
	}}
}

type activationBody struct {
	License string `json:"license" doc:"id"`
	Code    string `json:"code" doc:"the activation code, as it was typed: rows, spaces and case do not matter"`
	Cluster string `json:"cluster,omitempty" doc:"what to call the ledger"`
}

func (s *Server) keyRoutes() []Route {
	key := func(verb, id, summary, doc string, body any, do func(w http.ResponseWriter, r *http.Request) (portal.Key, error)) Route {
		return Route{Method: http.MethodPost, Path: "/api/v1/keys/" + verb, ID: id, Right: gate.Administer, Summary: summary, Doc: doc,
			Body: takes(body), Answers: done("The key", portal.Key{}), Problems: []int{404, 409},
			Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
				k, err := do(w, r)
				if err != nil {
					return err
				}
				return s.answer(w, r, k)
			}}
	}
	return []Route{{
		Method: http.MethodGet, Path: "/api/v1/keys", ID: "listKeys", Right: gate.Read,
		Summary: "The public halves of the vendor's keys",
		Params:  []param{{Name: "role", Enum: []string{"license", "receipt", "reply"}, Doc: "of it only"}}, Answers: ok("The keys", portal.Page[portal.Key]{}),
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			keys := slices.DeleteFunc(s.Portal.Keys(), func(k portal.Key) bool { return q.Has("role") && k.Role != q.Text["role"] })
			return s.answer(w, r, whole(keys))
		},
	},
		key("announce", "announceKey", "Make the next key of a role", "Licenses list it from now on; it signs nothing before it is rotated to.", announceBody{},
			func(w http.ResponseWriter, r *http.Request) (portal.Key, error) {
				var body announceBody
				if err := readJSON(w, r, &body); err != nil {
					return portal.Key{}, err
				}
				if err := required("label", body.Label); err != nil {
					return portal.Key{}, err
				}
				return s.changeKey(r, portal.KeyChange{Action: "announce", Role: body.Role, Label: body.Label})
			}),
		key("rotate", "rotateKey", "Let the announced key of a role sign", "Refused with key_not_announced while a site would not know it.", rotateBody{},
			func(w http.ResponseWriter, r *http.Request) (portal.Key, error) {
				var body rotateBody
				if err := readJSON(w, r, &body); err != nil {
					return portal.Key{}, err
				}
				return s.changeKey(r, portal.KeyChange{Action: "rotate", Role: body.Role, Force: body.Force})
			}),
		key("revoke", "revokeKey", "End a key", "Licenses say from now on that nothing of it counts.", revokeKeyBody{},
			func(w http.ResponseWriter, r *http.Request) (portal.Key, error) {
				var body revokeKeyBody
				if err := readJSON(w, r, &body); err != nil {
					return portal.Key{}, err
				}
				return s.changeKey(r, portal.KeyChange{Action: "revoke", Key: body.Key})
			}),
	}
}

// changeKey does what two administrators ask for; the first is refused with
// second_person_needed.
func (s *Server) changeKey(r *http.Request, c portal.KeyChange) (portal.Key, error) {
	return s.Portal.ChangeKey(r.Context(), c, gate.CallerOf(r.Context()).Email, actor(r))
}

type announceBody struct {
	Role  string `json:"role" enum:"license,receipt,reply"`
	Label string `json:"label" doc:"last part of the key's name, such as the year"`
}

type rotateBody struct {
	Role  string `json:"role" enum:"license,receipt,reply"`
	Force bool   `json:"force,omitempty" doc:"also where a site was not told yet"`
}

type revokeKeyBody struct {
	Key string `json:"key" doc:"its name or vkey"`
}
