package portal

import "context"

// Customer returns one customer; not_found if there is none.
func (p *Portal) Customer(ctx context.Context, id string) (*Customer, error) {
	var c Customer
	var created int64
	found, err := p.store.reader().get(ctx, "SELECT id, name, created, zone FROM customers WHERE id = ?", []any{id}, &c.ID, &c.Name, &created, &c.Zone)
	if err == nil && !found {
		err = refuse(CodeNotFound, "there is no customer %q", id)
	}
	if err != nil {
		return nil, err
	}
	c.Created = unix(created)
	return &c, nil
}

// Product returns one product; not_found if there is none.
func (p *Portal) Product(ctx context.Context, id string) (*Product, error) {
	product, found, err := p.store.reader().product(ctx, id)
	if err == nil && !found {
		err = refuse(CodeNotFound, "there is no product %q", id)
	}
	if err != nil {
		return nil, err
	}
	return &product, nil
}

// Policy returns one policy; not_found if there is none.
func (p *Portal) Policy(ctx context.Context, name string) (*Policy, error) {
	if name == "" {
		return nil, refuse(CodeNotFound, "there is no policy without a name")
	}
	policy, err := p.store.reader().policy(ctx, name)
	if err != nil {
		return nil, err
	}
	return &policy, nil
}
