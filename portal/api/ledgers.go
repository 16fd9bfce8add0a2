package api

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// pngType is the media type of QR codes.
const pngType = "image/png"

func (s *Server) ledgerRoutes() []Route {
	ledger := id("the ledger_id")
	return append([]Route{{
		Method: http.MethodGet, Path: "/api/v1/ledgers", ID: "listLedgers", Right: gate.Look,
		Summary: "Ledgers: the clusters of sites, with both dates",
		Params: lists(
			param{Name: "state", Enum: []string{"active", "pending", "retired", "released", "revoked", "overdue"}, Doc: "pending: its activation waits"},
			param{Name: "customer", Doc: "id"}, param{Name: "license", Doc: "id"}),
		Answers: ok("A page of them", portal.Page[portal.LedgerLine]{}),
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			page, err := s.Portal.FindLedgers(r.Context(), options(r, q))
			if err != nil {
				return err
			}
			return s.answer(w, r, page)
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/ledgers/{id}", ID: "getLedger", Right: gate.Look,
		Summary: "A ledger",
		Params:  []param{ledger}, Answers: ok("The ledger", LedgerDetail{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			l, err := s.ledger(r.Context(), r.PathValue("id"))
			if err != nil {
				return err
			}
			return s.showLedger(w, r, l)
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/ledgers/{id}/receipts", ID: "listReceipts", Right: gate.Look,
		Summary: "The chain of accepted checkpoints of a ledger, ascending", Doc: "Each with both signatures, and with what was said of the report.",
		Params: []param{ledger}, Answers: ok("The receipts", portal.Page[portal.Receipt]{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			l, err := s.ledger(r.Context(), r.PathValue("id"))
			if err != nil {
				return err
			}
			all, err := s.Portal.Receipts(r.Context(), l.Origin)
			if err != nil {
				return err
			}
			return s.answer(w, r, whole(all))
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/ledgers/{id}/reply", ID: "getNewestReply", Right: gate.Look,
		Summary: "The newest reply of a ledger, as file, lines or QR codes",
		Params: []param{ledger,
			{Name: "format", Enum: []string{"file", "parts", "png"}, Doc: "parts: numbered lines, each of which fits a QR code; png: one of those as a picture"},
			{Name: "part", Kind: httpapi.Count, Doc: "of png: which, from 1; the header Meterseal-Parts says how many there are"}},
		Answers: []content{{Status: http.StatusOK, MediaType: fileType, Doc: "The reply"}, {Status: http.StatusOK, MediaType: httpapi.TextType, Doc: "The reply"},
			{Status: http.StatusOK, MediaType: pngType, Doc: "The reply"}},
		Problems: []int{404, 422},
		Serve:    s.newestReply,
	}, {
		Method: http.MethodGet, Path: "/api/v1/sites", ID: "listSites", Right: gate.Read,
		Summary: "Every license that was ever activated, with its ledgers and what its registration comes to",
		Answers: ok("The sites", portal.Page[portal.Site]{}),
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			all, err := s.Portal.Sites(r.Context())
			if err != nil {
				return err
			}
			return s.answer(w, r, whole(all))
		},
	}}, s.ledgerChanges(ledger)...)
}

// A LedgerDetail is one cluster of a site.
type LedgerDetail struct {
	portal.Ledger
	Missing [][2]uint64 `json:"missing" doc:"ranges [first, next) of accepted records that are not booked: send their reports again"`
}

// ledger returns a ledger that the caller may see, by its short name.
func (s *Server) ledger(ctx context.Context, id string) (*portal.Ledger, error) {
	l, err := s.Portal.LedgerByID(ctx, id)
	if err != nil {
		return nil, err
	}
	if !s.mine(ctx, l.License, "", "") {
		return nil, hidden("ledger", id)
	}
	return l, nil
}

func (s *Server) showLedger(w http.ResponseWriter, r *http.Request, l *portal.Ledger) error {
	missing, err := s.Portal.MissingRecords(r.Context(), l.Origin)
	if err != nil {
		return err
	}
	return s.answerTagged(w, r, http.StatusOK, portal.Tag(l), LedgerDetail{*l, append([][2]uint64{}, missing...)})
}

func (s *Server) newestReply(w http.ResponseWriter, r *http.Request, q values) error {
	l, err := s.ledger(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	reply, name, err := s.Portal.NewestReply(r.Context(), l.Origin)
	if err != nil {
		return err
	}
	if f := q.Text["format"]; f != "parts" && f != "png" {
		return send(w, fileType, name, reply)
	}
	parts, err := export.SplitParts(reply)
	if err != nil {
		return err
	}
	w.Header().Set("Meterseal-Parts", strconv.Itoa(len(parts)))
	name = strings.TrimSuffix(name, ".reply")
	if q.Text["format"] == "parts" {
		return send(w, httpapi.TextType, name+".txt", []byte(strings.Join(parts, "\n")+"\n"))
	}
	n := q.N["part"]
	if n < 1 || n > uint64(len(parts)) {
		return httpapi.BadRequest("query.part", httpapi.Shown(q.Text["part"])+" is no part", "parts are 1 to "+strconv.Itoa(len(parts)))
	}
	var b bytes.Buffer
	if err := export.WriteQRPNG(&b, parts[n-1], 4); err != nil {
		return err
	}
	return send(w, pngType, name+"-"+strconv.FormatUint(n, 10)+".png", b.Bytes())
}

// ledgerChanges are the routes that change a ledger.
func (s *Server) ledgerChanges(ledger param) []Route {
	change := func(verb, id, summary, doc string, right gate.Right, body any, do func(w http.ResponseWriter, r *http.Request, origin string) error) Route {
		return Route{
			Method: http.MethodPost, Path: "/api/v1/ledgers/{id}/" + verb, ID: id, Right: right, Summary: summary, Doc: doc,
			Params: []param{ledger, ifMatch}, Body: takes(body), Answers: done("The ledger as it is now", LedgerDetail{}), Problems: []int{404, 412},
			Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
				l, err := s.ledger(r.Context(), r.PathValue("id"))
				if err != nil {
					return err
				}
				if err := do(w, r, l.Origin); err != nil {
					return err
				}
				if l, err = s.Portal.Ledger(r.Context(), l.Origin); err != nil {
					return err
				}
				return s.showLedger(w, r, l)
			},
		}
	}
	because := func(do func(p *portal.Portal, ctx context.Context, origin, reason, actor string) error) func(http.ResponseWriter, *http.Request, string) error {
		return func(w http.ResponseWriter, r *http.Request, origin string) error {
			var body reasonBody
			if err := readJSON(w, r, &body); err != nil {
				return err
			}
			if err := required("reason", body.Reason); err != nil {
				return err
			}
			return do(s.Portal, edit(r), origin, body.Reason, actor(r))
		}
	}
	return []Route{
		{
			Method: http.MethodPost, Path: "/api/v1/ledgers/{id}/approve", ID: "approveLedger", Right: gate.Manage,
			Summary: "Give a ledger whose activation waits its license", Doc: "In the reply to its newest report, made again. A ledger that it supersedes is released.",
			Params: []param{ledger, ifMatch}, Answers: done("The answer to its newest report, with the license", Report{}), Problems: []int{404, 412},
			Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
				l, err := s.ledger(r.Context(), r.PathValue("id"))
				if err != nil {
					return err
				}
				a, err := s.Portal.ApproveLedger(edit(r), l.Origin, actor(r))
				if err != nil {
					return err
				}
				return s.answer(w, r, reportOf(r.Context(), a))
			},
		},
		change("reject", "rejectLedger", "Refuse an activation that waits, which frees it", "", gate.Manage, reasonBody{}, because((*portal.Portal).RejectLedger)),
		change("release", "releaseLedger", "Free the activation of a site that was lost, without its last report", "Later reports of it are refused: ledger/superseded.", gate.Manage, reasonBody{}, because((*portal.Portal).ReleaseLedger)),
		change("revoke", "revokeLedger", "End a site key, as after a theft", "Later reports of it are refused: key/revoked.", gate.Manage, reasonBody{}, because((*portal.Portal).RevokeLedger)),
		change("label", "labelLedger", "Change what people call a ledger", "", gate.Manage, labelBody{}, func(w http.ResponseWriter, r *http.Request, origin string) error {
			var body labelBody
			if err := readJSON(w, r, &body); err != nil {
				return err
			}
			return s.Portal.LabelLedger(edit(r), origin, body.Label, actor(r))
		}),
		change("credit", "creditLedger", "Give an amount back to the current period of a meter's limit", "The ledger keeps what was used. The reply brings it to the site.", gate.Bill, creditBody{}, func(w http.ResponseWriter, r *http.Request, origin string) error {
			var body creditBody
			if err := readJSON(w, r, &body); err != nil {
				return err
			}
			if body.Amount == 0 {
				return httpapi.BadRequest("body.amount", "is missing, or 0", "give what is to be given back, in the smallest unit of the meter")
			}
			_, err := s.Portal.Credit(edit(r), origin, body.Meter, body.Amount, body.Reason, actor(r))
			return err
		}),
	}
}

type reasonBody struct {
	Reason string `json:"reason" doc:"what happened; for the audit log"`
}

type labelBody struct {
	Label string `json:"label"`
}

type creditBody struct {
	Meter  string `json:"meter"`
	Amount uint64 `json:"amount" doc:"in the smallest unit of the meter"`
	Reason string `json:"reason,omitempty" doc:"why; for the audit log"`
}
