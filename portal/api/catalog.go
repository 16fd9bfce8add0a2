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

// ifMatch is the header of edits.
var ifMatch = param{Name: "If-Match", In: "header", Doc: "an ETag: the edit is made only to what it is of, else 412"}

func (s *Server) customerRoutes() []Route {
	customer := id("the customer")
	return []Route{{
		Method: http.MethodGet, Path: "/api/v1/customers", ID: "listCustomers", Right: gate.Read,
		Summary: "Customers",
		Params:  lists(), Answers: ok("A page of them", portal.Page[portal.CustomerLine]{}),
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			page, err := s.Portal.FindCustomers(r.Context(), options(r, q))
			if err != nil {
				return err
			}
			return s.answer(w, r, page)
		},
	}, {
		Method: http.MethodPost, Path: "/api/v1/customers", ID: "makeCustomer", Right: gate.Manage,
		Summary: "Make a customer",
		Body:    takes(newCustomer{}), Answers: made("The customer", portal.Customer{}),
		Serve: s.makeCustomer,
	}, {
		Method: http.MethodGet, Path: "/api/v1/customers/{id}", ID: "getCustomer", Right: gate.Look,
		Summary: "A customer",
		Params:  []param{customer}, Answers: ok("The customer", portal.Customer{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			return s.showCustomer(w, r, http.StatusOK, r.PathValue("id"))
		},
	}, {
		Method: http.MethodPatch, Path: "/api/v1/customers/{id}", ID: "changeCustomer", Right: gate.Manage,
		Summary: "Rename a customer, or change the time zone of its statements",
		Params:  []param{customer, ifMatch}, Body: takes(customerChange{}), Answers: done("The customer as it is now", portal.Customer{}), Problems: []int{404, 412},
		Serve: s.changeCustomer,
	}}
}

// newCustomer is the body that makes one.
type newCustomer struct {
	ID   string `json:"id,omitempty" doc:"made up if not given"`
	Name string `json:"name"`
	Zone string `json:"zone,omitempty" doc:"where days of its statements begin, such as Europe/Berlin; UTC if not given"`
}

type customerChange struct {
	Name string `json:"name,omitempty" doc:"as it is, if not given"`
	Zone string `json:"zone,omitempty" doc:"as it is, if not given"`
}

func (s *Server) customer(ctx context.Context, id string) (portal.Customer, error) {
	all, err := s.Portal.Customers(ctx)
	i := slices.IndexFunc(all, func(c portal.Customer) bool { return c.ID == id })
	switch kept := own(ctx); {
	case err != nil:
		return portal.Customer{}, err
	case i < 0, kept != "" && kept != id:
		return portal.Customer{}, hidden("customer", id)
	}
	return all[i], nil
}

func (s *Server) showCustomer(w http.ResponseWriter, r *http.Request, status int, id string) error {
	c, err := s.customer(r.Context(), id)
	if err != nil {
		return err
	}
	return s.answerTagged(w, r, status, portal.Tag(c), c)
}

func (s *Server) makeCustomer(w http.ResponseWriter, r *http.Request, _ values) error {
	var body newCustomer
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	c, err := s.Portal.SetCustomer(portal.IfNew(r.Context()), portal.Customer{ID: body.ID, Name: body.Name, Zone: body.Zone}, actor(r))
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/api/v1/customers/"+c.ID)
	return s.showCustomer(w, r, http.StatusCreated, c.ID)
}

func (s *Server) changeCustomer(w http.ResponseWriter, r *http.Request, _ values) error {
	c, err := s.customer(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	body := customerChange{Name: c.Name, Zone: c.Zone}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	c.Name, c.Zone = body.Name, body.Zone
	if _, err := s.Portal.SetCustomer(edit(r), c, actor(r)); err != nil {
		return err
	}
	return s.showCustomer(w, r, http.StatusOK, c.ID)
}

// actor is how the audit log names who sent r.
func actor(r *http.Request) string { return gate.CallerOf(r.Context()).Actor() }

// edit is the context of an edit: it is made only if what it is of is as If-Match
// has it.
func edit(r *http.Request) context.Context {
	return portal.IfMatch(r.Context(), r.Header.Get("If-Match"))
}

func (s *Server) productRoutes() []Route {
	product := id("the product")
	return []Route{{
		Method: http.MethodGet, Path: "/api/v1/products", ID: "listProducts", Right: gate.Read,
		Summary: "Products, with their meters and features",
		Answers: ok("All of them, by id", portal.Page[portal.Product]{}),
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			all, err := s.Portal.Products(r.Context())
			if err != nil {
				return err
			}
			return s.answer(w, r, whole(all))
		},
	}, {
		Method: http.MethodPost, Path: "/api/v1/products", ID: "makeProduct", Right: gate.Manage,
		Summary: "Make a product",
		Body:    takes(portal.Product{}), Answers: made("The product", portal.Product{}),
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			body := portal.Product{Features: []string{}, Meters: []string{}}
			if err := readJSON(w, r, &body); err != nil {
				return err
			}
			if err := s.Portal.SetProduct(portal.IfNew(r.Context()), body, actor(r)); err != nil {
				return err
			}
			w.Header().Set("Location", "/api/v1/products/"+body.ID)
			return s.showProduct(w, r, http.StatusCreated, body.ID)
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/products/{id}", ID: "getProduct", Right: gate.Read,
		Summary: "A product",
		Params:  []param{product}, Answers: ok("The product", portal.Product{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			return s.showProduct(w, r, http.StatusOK, r.PathValue("id"))
		},
	}, {
		Method: http.MethodPatch, Path: "/api/v1/products/{id}", ID: "changeProduct", Right: gate.Manage,
		Summary: "Change a product",
		Doc:     "What is not given stays. features replaces them; meters adds to them: what a meter is never changes. Licenses that were made stay as they are.",
		Params:  []param{product, ifMatch}, Body: takes(productChange{}), Answers: done("The product as it is now", portal.Product{}), Problems: []int{404, 412},
		Serve: s.changeProduct,
	}}
}

type productChange struct {
	Name        *string  `json:"name,omitempty"`
	ProductLine *string  `json:"product_line,omitempty"`
	MinVersion  *string  `json:"min_version,omitempty" doc:"oldest site program whose reports are taken; empty: any"`
	Features    []string `json:"features,omitempty"`
	Meters      []string `json:"meters,omitempty" doc:"lines METER AGG UNIT SCALE CORRECTIONS UNDO"`
}

// whole is a list of one page.
func whole[T any](all []T) portal.Page[T] {
	if all == nil {
		all = []T{}
	}
	return portal.Page[T]{Items: all, Total: int64(len(all))}
}

func (s *Server) product(ctx context.Context, id string) (portal.Product, error) {
	all, err := s.Portal.Products(ctx)
	i := slices.IndexFunc(all, func(p portal.Product) bool { return p.ID == id })
	if err == nil && i < 0 {
		err = hidden("product", id)
	}
	if err != nil {
		return portal.Product{}, err
	}
	return all[i], nil
}

func (s *Server) showProduct(w http.ResponseWriter, r *http.Request, status int, id string) error {
	p, err := s.product(r.Context(), id)
	if err != nil {
		return err
	}
	return s.answerTagged(w, r, status, portal.Tag(p), p)
}

func (s *Server) changeProduct(w http.ResponseWriter, r *http.Request, _ values) error {
	p, err := s.product(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	// What is read here is what the change begins with: it is made to nothing else.
	ctx := edit(r)
	if r.Header.Get("If-Match") == "" {
		ctx = portal.IfMatch(r.Context(), `"`+portal.Tag(p)+`"`)
	}
	var body productChange
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	for _, f := range []struct{ to, from *string }{{&p.Name, body.Name}, {&p.ProductLine, body.ProductLine}, {&p.MinVersion, body.MinVersion}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if body.Features != nil {
		p.Features = body.Features
	}
	for _, m := range body.Meters {
		if !slices.Contains(p.Meters, m) {
			p.Meters = append(p.Meters, m)
		}
	}
	if err := s.Portal.SetProduct(ctx, p, actor(r)); err != nil {
		return err
	}
	return s.showProduct(w, r, http.StatusOK, p.ID)
}

func (s *Server) policyRoutes() []Route {
	name := param{Name: "name", In: "path", Doc: "the policy"}
	return []Route{{
		Method: http.MethodGet, Path: "/api/v1/policies", ID: "listPolicies", Right: gate.Read,
		Summary: "Policies: what licenses begin with",
		Answers: ok("All of them, by name", portal.Page[portal.Policy]{}),
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			all, err := s.Portal.Policies(r.Context())
			if err != nil {
				return err
			}
			return s.answer(w, r, whole(all))
		},
	}, {
		Method: http.MethodPost, Path: "/api/v1/policies", ID: "makePolicy", Right: gate.Manage,
		Summary: "Make a policy",
		Body:    takes(portal.Policy{}), Answers: made("The policy", portal.Policy{}),
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			var body portal.Policy
			if err := readJSON(w, r, &body); err != nil {
				return err
			}
			if err := s.Portal.SetPolicy(portal.IfNew(r.Context()), body, actor(r)); err != nil {
				return err
			}
			w.Header().Set("Location", "/api/v1/policies/"+body.Name)
			return s.showPolicy(w, r, http.StatusCreated, body.Name)
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/policies/{name}", ID: "getPolicy", Right: gate.Read,
		Summary: "A policy",
		Params:  []param{name}, Answers: ok("The policy", portal.Policy{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			return s.showPolicy(w, r, http.StatusOK, r.PathValue("name"))
		},
	}, {
		Method: http.MethodPut, Path: "/api/v1/policies/{name}", ID: "changePolicy", Right: gate.Manage,
		Summary: "Replace lines and rules of a policy", Doc: "Licenses that were made stay as they are.",
		Params: []param{name, ifMatch}, Body: takes(policyBody{}), Answers: done("The policy as it is now", portal.Policy{}), Problems: []int{404, 412},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			p, err := s.policy(r.Context(), r.PathValue("name"))
			if err != nil {
				return err
			}
			var body policyBody
			if err := readJSON(w, r, &body); err != nil {
				return err
			}
			if err := s.Portal.SetPolicy(edit(r), portal.Policy{Name: p.Name, Set: body.Set, Rules: body.Rules}, actor(r)); err != nil {
				return err
			}
			return s.showPolicy(w, r, http.StatusOK, p.Name)
		},
	}}
}

type policyBody struct {
	Set   license.Lines `json:"set" doc:"lines by name, as in docs/formats/license.md"`
	Rules portal.Rules  `json:"rules,omitzero"`
}

func (s *Server) policy(ctx context.Context, name string) (portal.Policy, error) {
	all, err := s.Portal.Policies(ctx)
	i := slices.IndexFunc(all, func(p portal.Policy) bool { return p.Name == name })
	if err == nil && i < 0 {
		err = hidden("policy", name)
	}
	if err != nil {
		return portal.Policy{}, err
	}
	return all[i], nil
}

func (s *Server) showPolicy(w http.ResponseWriter, r *http.Request, status int, name string) error {
	p, err := s.policy(r.Context(), name)
	if err != nil {
		return err
	}
	return s.answerTagged(w, r, status, portal.Tag(p), p)
}

// required refuses an empty field.
func required(field, value string) error {
	if value == "" {
		return httpapi.BadRequest("body."+field, "is missing", "GET /openapi.json describes the body")
	}
	return nil
}
