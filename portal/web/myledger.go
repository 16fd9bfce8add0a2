package web

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/meterseal/meterseal/portal"
)

// myLedger shows one cluster: dates, newest reply, receipts.
func (s *Server) myLedger(w http.ResponseWriter, r *http.Request) error {
	lic, l, err := s.ledgerMine(r)
	if err != nil {
		return err
	}
	c, err := s.viewCluster(r.Context(), lic, l)
	if err != nil {
		return err
	}
	_, reply, err := s.Portal.NewestReply(r.Context(), l.Origin)
	if err != nil && !notFound(err) {
		return err
	}
	receipts, err := s.Portal.Receipts(r.Context(), l.Origin)
	if err != nil {
		return err
	}
	slices.Reverse(receipts)
	reports, err := s.myReportLines(r.Context(), portal.ListOptions{Origin: l.Origin, Limit: 10})
	if err != nil {
		return err
	}
	return s.show(w, r, "myledger", page{Title: "Cluster " + l.Label, Nav: "my", Crumbs: []crumb{{"Licenses", "/my"}, {lic.ID, "/my/licenses/" + lic.ID}},
		Data: map[string]any{"C": c, "Reply": reply, "Receipts": receipts, "Reports": reports}, API: "GET /api/v1/ledgers/" + l.LedgerID})
}

// myLedgerReply sends the newest reply of a cluster (L-07).
func (s *Server) myLedgerReply(w http.ResponseWriter, r *http.Request) error {
	_, l, err := s.ledgerMine(r)
	if err != nil {
		return err
	}
	reply, name, err := s.Portal.NewestReply(r.Context(), l.Origin)
	if err != nil {
		return err
	}
	return attach(w, name, plainText, reply)
}

// myLedgerParts shows the newest reply of a cluster as QR codes, to print.
func (s *Server) myLedgerParts(w http.ResponseWriter, r *http.Request) error {
	_, l, err := s.ledgerMine(r)
	if err != nil {
		return err
	}
	reply, name, err := s.Portal.NewestReply(r.Context(), l.Origin)
	if err != nil {
		return err
	}
	parts, err := qrParts(reply)
	if err != nil {
		return err
	}
	return s.show(w, r, "myparts", page{Title: "Reply of " + l.Label + " as QR codes", Nav: "my", Crumbs: []crumb{{"Licenses", "/my"}, {"Cluster " + l.Label, "/my/ledgers/" + l.LedgerID}},
		Data: map[string]any{"Name": name, "LedgerID": l.LedgerID, "Parts": parts}, API: "GET /api/v1/ledgers/" + l.LedgerID + "/reply"})
}

// myReceipt sends one receipt: the checkpoint with both signatures.
func (s *Server) myReceipt(w http.ResponseWriter, r *http.Request) error {
	_, l, err := s.ledgerMine(r)
	if err != nil {
		return err
	}
	receipts, err := s.Portal.Receipts(r.Context(), l.Origin)
	if err != nil {
		return err
	}
	for _, x := range receipts {
		if size := strconv.FormatUint(x.Size, 10); size == r.PathValue("size") && x.Note != "" {
			return attach(w, fmt.Sprintf("%s-%s.receipt", l.LedgerID, size), plainText, []byte(x.Note))
		}
	}
	return absent("receipt", r.PathValue("size"))
}
