package portal

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// A Product is what licenses are sold for: its meters and features go into a
// license that names it.
type Product struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	ProductLine string `json:"product_line,omitempty"`
	// MinVersion is the oldest site program whose reports are taken; empty: any.
	MinVersion string   `json:"min_version,omitempty"`
	Features   []string `json:"features"`
	// Meters are lines of a license: METER AGG UNIT SCALE CORRECTIONS UNDO. What
	// a meter is never changes; new ones may be added.
	Meters []string `json:"meters"`
}

// A Customer buys licenses.
type Customer struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	// Zone is where the days of its statements begin, such as Europe/Berlin;
	// empty: UTC.
	Zone string `json:"zone,omitempty"`
}

// reservedID has no page of its own: /customers/new is the form of another customer.
const reservedID = "new"

// checkID refuses what is no name, and the reserved one.
func checkID(kind, id string) error {
	if err := ledger.CheckName(id); err != nil {
		return refuse(CodeBadRequest, "%s: %v", kind, err)
	}
	if id == reservedID {
		return reserved(kind)
	}
	return nil
}

func reserved(kind string) *Error {
	return refuse(CodeBadRequest, "%s: the id %q is taken by the page that makes one; choose another", kind, reservedID)
}

// SetProduct makes a product, or changes its name, floor and features and adds
// meters.
func (p *Portal) SetProduct(ctx context.Context, product Product, actor string) error {
	if err := checkID("product", product.ID); err != nil {
		return err
	}
	// What goes into licenses is checked as a license.
	probe, err := license.Compose(mergeLines(defaultLines(p.now()), mergeLines(p.keyLines(), license.Lines{
		"id": {"probe"}, "type": {"perpetual"}, "end": {"never"}, "solution-name": {"probe"}, "licensee": {"probe"},
		"feature": product.Features, "meter": product.Meters})))
	if err != nil {
		return badLicense(err)
	}
	return p.catalogTx(ctx, func(c conn) error {
		if err := c.holdCatalog(ctx, "products", "id", product.ID); err != nil {
			return err
		}
		before, found, err := c.product(ctx, product.ID)
		if err == nil {
			err = check(ctx, "product", product.ID, before, found)
		}
		if err != nil {
			return err
		}
		if found {
			for _, line := range before.Meters {
				id, _, _ := strings.Cut(line, " ")
				if m := probe.Meter(id); m != nil && !slices.Contains(product.Meters, line) {
					return refuse(license.CodeMeterConflict, "meter %s is %q already", id, line)
				}
			}
		}
		if _, err := c.exec(ctx, `INSERT INTO products (id, name, product_line, min_version, created) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, product_line = excluded.product_line, min_version = excluded.min_version`,
			product.ID, product.Name, product.ProductLine, product.MinVersion, p.now().Unix()); err != nil {
			return err
		}
		if _, err := c.exec(ctx, "DELETE FROM product_lines WHERE product = ? AND kind = 'feature'", product.ID); err != nil {
			return err
		}
		for kind, lines := range map[string][]string{"feature": product.Features, "meter": product.Meters} {
			for _, line := range lines {
				name, _, _ := strings.Cut(line, " ")
				if _, err := c.exec(ctx, "INSERT INTO product_lines (product, kind, name, line) VALUES (?, ?, ?, ?) ON CONFLICT (product, kind, name) DO NOTHING",
					product.ID, kind, name, line); err != nil {
					return err
				}
			}
		}
		return c.audit(ctx, p.now(), actor, "product.set", product.ID, before, product)
	})
}

// catalogTx runs a transaction that changes the catalog.
func (p *Portal) catalogTx(ctx context.Context, f func(conn) error) error {
	if err := p.store.tx(ctx, f); err != nil {
		return err
	}
	return p.archiveCatalog(ctx)
}

// Products lists all products by id.
func (p *Portal) Products(ctx context.Context) ([]Product, error) {
	c := p.store.reader()
	ids, err := list(ctx, c, scanText, "SELECT id FROM products ORDER BY id")
	if err != nil {
		return nil, err
	}
	out := []Product{}
	for _, id := range ids {
		product, _, err := c.product(ctx, id)
		if err != nil {
			return nil, err
		}
		out = append(out, product)
	}
	return out, nil
}

func scanText(scan func(...any) error) (s string, err error) {
	err = scan(&s)
	return s, err
}

func (c conn) product(ctx context.Context, id string) (p Product, found bool, err error) {
	p.ID = id
	found, err = c.get(ctx, "SELECT name, product_line, min_version FROM products WHERE id = ?", []any{id}, &p.Name, &p.ProductLine, &p.MinVersion)
	if err != nil || !found {
		return p, found, err
	}
	if p.Features, err = list(ctx, c, scanText, "SELECT line FROM product_lines WHERE product = ? AND kind = 'feature' ORDER BY name", id); err == nil {
		p.Meters, err = list(ctx, c, scanText, "SELECT line FROM product_lines WHERE product = ? AND kind = 'meter' ORDER BY name", id)
	}
	return p, true, err
}

// SetCustomer makes a customer, or changes name and zone. An empty id is made up and
// returned.
func (p *Portal) SetCustomer(ctx context.Context, customer Customer, actor string) (Customer, error) {
	if customer.ID == "" {
		customer.ID = newID("c-")
	}
	if err := checkID("customer", customer.ID); err != nil {
		return customer, err
	}
	switch {
	case strings.TrimSpace(customer.Name) == "":
		return customer, refuse(CodeBadRequest, "customer %s has no name", customer.ID)
	case customer.Name != clean(customer.Name):
		return customer, refuse(CodeBadRequest, "the name of a customer has at most %d bytes, and no control characters", labelBytesMax)
	}
	if _, err := ZoneOf(customer.Zone); err != nil {
		return customer, err
	}
	err := p.catalogTx(ctx, func(c conn) error {
		if err := c.holdCatalog(ctx, "customers", "id", customer.ID); err != nil {
			return err
		}
		before, created := Customer{ID: customer.ID}, int64(0)
		found, err := c.get(ctx, "SELECT name, created, zone FROM customers WHERE id = ?", []any{customer.ID}, &before.Name, &created, &before.Zone)
		if before.Created = unix(created); err == nil {
			err = check(ctx, "customer", customer.ID, before, found)
		}
		if err != nil {
			return err
		}
		_, err = c.exec(ctx, "INSERT INTO customers (id, name, created, zone) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, zone = excluded.zone",
			customer.ID, customer.Name, p.now().Unix(), customer.Zone)
		if err != nil {
			return err
		}
		kind := EventCustomerUpdated
		if !found {
			kind = EventCustomerCreated
		}
		if err := p.emit(ctx, c, kind, customer.ID, map[string]string{"customer": customer.ID, "name": customer.Name}); err != nil {
			return err
		}
		return c.audit(ctx, p.now(), actor, "customer.set", customer.ID, before.named(), customer.named())
	})
	return customer, err
}

// Customers lists all customers by id.
func (p *Portal) Customers(ctx context.Context) ([]Customer, error) {
	return list(ctx, p.store.reader(), func(scan func(...any) error) (c Customer, err error) {
		var created int64
		err = scan(&c.ID, &c.Name, &created, &c.Zone)
		c.Created = unix(created)
		return c, err
	}, "SELECT id, name, created, zone FROM customers ORDER BY id")
}

// named is the name, with the zone if there is one, for the audit log.
func (c Customer) named() string {
	if c.Zone == "" {
		return c.Name
	}
	return c.Name + ", " + c.Zone
}

// ZoneOf returns a time zone of the IANA database by its name; empty: UTC.
func ZoneOf(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, refuse(CodeBadRequest, "there is no time zone %.40q; name one such as Europe/Berlin", name).with("line", "zone")
	}
	return zone, nil
}

// unix returns the time of seconds since 1970; 0 is no time.
func unix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// seconds is the inverse of unix.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
