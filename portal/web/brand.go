package web

import "context"

// brand is how the vendor's portal calls itself and looks.
type brand struct {
	Name  string // of the vendor
	Logo  bool   // /brand/logo has one
	Color string // /brand.css has it
}

// brand returns the vendor's settings.
func (s *Server) brand(context.Context) brand {
	return brand{Name: s.Portal.Domain()}
}
