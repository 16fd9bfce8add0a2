package web

import (
	"net/http"
	"net/url"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
)

func (s *Server) seatRoutes() []Route {
	return []Route{
		{"GET", "/seats", access.Read, s.seats},
		{"GET", "/seats/{pool}", access.Read, s.seatPool},
		{"POST", "/seats/{pool}/release", access.Admin, s.releaseSeat},
	}
}

func (s *Server) seats(w http.ResponseWriter, r *http.Request) error {
	var list console.SeatList
	if err := s.get(r, "/v1/seats", &list); err != nil {
		return err
	}
	return s.show(w, r, "seats", page{Title: "Seats", Nav: "seats", Data: list.Pools, Command: "seat list", API: "GET /v1/seats"})
}

func (s *Server) seatPool(w http.ResponseWriter, r *http.Request) error {
	p, err := s.seatPoolOf(r)
	if err != nil {
		return err
	}
	return s.show(w, r, "seatpool", p)
}

// seatPoolOf is the page of a pool.
func (s *Server) seatPoolOf(r *http.Request) (page, error) {
	name := r.PathValue("pool")
	path := "/v1/seats/" + url.PathEscape(name)
	var pool console.PoolStatus
	if err := s.get(r, path, &pool); err != nil {
		return page{}, err
	}
	return page{Title: "Seats of " + name, Nav: "seats", Crumbs: []crumb{{"Seats", "/seats"}}, Data: pool, Command: "seat list " + name, API: "GET " + path}, nil
}

// releaseSeat takes a seat away from a holder who is gone for good.
func (s *Server) releaseSeat(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	pool := url.PathEscape(r.PathValue("pool"))
	err = s.call(r, http.MethodPost, "/v1/seats/"+pool+"/"+url.PathEscape(form.Get("holder"))+"/release", map[string]string{"reason": form.Get("reason")}, nil)
	if err != nil {
		p, shown := s.seatPoolOf(r)
		if shown != nil {
			return err
		}
		return s.again(w, r, "seatpool", p, form, err)
	}
	return done(w, r, "/seats/"+pool, "seat-released")
}
