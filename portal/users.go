package portal

import (
	"context"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/internal/credential"
)

// A Role says what a user of the portal may do (package gate has the rights).
type Role string

// The roles.
const (
	RoleAdmin    Role = "admin"    // everything
	RoleStaff    Role = "staff"    // everything but users, keys, settings and webhooks
	RoleBilling  Role = "billing"  // reads, and makes statements
	RoleViewer   Role = "viewer"   // reads
	RoleCustomer Role = "customer" // what belongs to one customer
)

// Roles lists them, the mightiest first.
var Roles = []Role{RoleAdmin, RoleStaff, RoleBilling, RoleViewer, RoleCustomer}

// A User is somebody who may sign in.
type User struct {
	ID    string `json:"id"`
	Email string `json:"email"` // lower case
	Name  string `json:"name"`
	Role  Role   `json:"role"`
	// Customer is the one that a user of role customer belongs to; else empty.
	Customer string    `json:"customer,omitempty"`
	Disabled time.Time `json:"disabled,omitzero"`
	Created  time.Time `json:"created"`
	Seen     time.Time `json:"seen,omitzero"` // last sign-in
	// Password, TOTP and Passkeys say what he can prove himself with.
	Password bool  `json:"password"`
	TOTP     bool  `json:"totp"`
	Passkeys int64 `json:"passkeys"`
}

// SecondFactor tells whether the user has more than a password.
func (u User) SecondFactor() bool { return u.TOTP || u.Passkeys > 0 }

// linkTime is how long a one-time link can be used.
const linkTime = 7 * 24 * time.Hour

const userColumns = `id, email, name, role, customer, disabled, created, seen, CASE WHEN password = '' THEN 0 ELSE 1 END, CASE WHEN totp = '' THEN 0 ELSE 1 END,
	(SELECT COUNT(*) FROM passkeys WHERE passkeys.user_id = users.id)`

func scanUser(scan func(...any) error) (u User, err error) {
	var disabled, created, seen, password, totp int64
	err = scan(&u.ID, &u.Email, &u.Name, &u.Role, &u.Customer, &disabled, &created, &seen, &password, &totp, &u.Passkeys)
	u.Disabled, u.Created, u.Seen, u.Password, u.TOTP = unix(disabled), unix(created), unix(seen), password == 1, totp == 1
	return u, err
}

// Users lists users by address. Search finds part of address or name, Customer those
// of one customer, State active, invited or disabled ones, Code those of a role.
func (p *Portal) Users(ctx context.Context, o ListOptions) (Page[User], error) {
	where, args := "1 = 1", []any{}
	and := func(cond string, v ...any) { where += " AND " + cond; args = append(args, v...) }
	if o.Search != "" {
		like := "%" + escapeLike(strings.ToLower(o.Search)) + "%"
		and(`(email LIKE ? ESCAPE '\' OR LOWER(name) LIKE ? ESCAPE '\')`, like, like)
	}
	if o.Customer != "" {
		and("customer = ?", o.Customer)
	}
	if o.Code != "" {
		and("role = ?", o.Code)
	}
	switch o.State {
	case "active":
		and("disabled = 0")
	case "disabled":
		and("disabled > 0")
	case "invited":
		and("disabled = 0 AND seen = 0")
	}
	c := p.store.reader()
	var out Page[User]
	if _, err := c.get(ctx, "SELECT COUNT(*) FROM users WHERE "+where, args, &out.Total); err != nil {
		return out, err
	}
	if o.Cursor != "" {
		and("email > ?", o.Cursor)
	}
	limit := min(o.Limit, 500)
	if limit <= 0 {
		limit = 50
	}
	var err error
	out.Items, err = list(ctx, c, scanUser, "SELECT "+userColumns+" FROM users WHERE "+where+" ORDER BY email LIMIT ?", append(args, limit+1)...)
	if err == nil && len(out.Items) > limit {
		out.Items = out.Items[:limit]
		out.Next = out.Items[limit-1].Email
	}
	return out, err
}

func escapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(s)
}

// HasUsers tells whether there is anybody who may sign in.
func (p *Portal) HasUsers(ctx context.Context) (bool, error) {
	var n int64
	_, err := p.store.reader().get(ctx, "SELECT COUNT(*) FROM users", nil, &n)
	return n > 0, err
}

// User returns one by id, or by address; not_found if there is none.
func (p *Portal) User(ctx context.Context, idOrEmail string) (User, error) {
	return p.store.reader().user(ctx, idOrEmail)
}

func (c conn) user(ctx context.Context, idOrEmail string) (User, error) {
	users, err := list(ctx, c, scanUser, "SELECT "+userColumns+" FROM users WHERE id = ? OR email = ?", idOrEmail, strings.ToLower(strings.TrimSpace(idOrEmail)))
	if err == nil && len(users) == 0 {
		err = refuse(CodeNotFound, "there is no user %q", idOrEmail)
	}
	if err != nil {
		return User{}, err
	}
	return users[0], nil
}

// check puts a user in order, and refuses what cannot be one.
func (c conn) checkUser(ctx context.Context, u *User) error {
	u.Email, u.Name = strings.ToLower(strings.TrimSpace(u.Email)), strings.TrimSpace(u.Name)
	if a, err := mail.ParseAddress(u.Email); err != nil || a.Address != u.Email || len(u.Email) > 254 {
		return refuse(CodeBadRequest, "email is %q, want an address such as kim@acme.example", u.Email)
	}
	if u.Name == "" {
		u.Name, _, _ = strings.Cut(u.Email, "@")
	}
	if len(u.Name) > 200 || strings.ContainsFunc(u.Name, func(r rune) bool { return r < ' ' }) {
		return refuse(CodeBadRequest, "name is %.20q…, want one line of at most 200 bytes", u.Name)
	}
	if !slices.Contains(Roles, u.Role) {
		return refuse(CodeBadRequest, "role is %q, want admin, staff, billing, viewer or customer", u.Role)
	}
	if (u.Role == RoleCustomer) != (u.Customer != "") {
		return refuse(CodeBadRequest, "role %s with customer %q: a user of role customer belongs to one, others to none", u.Role, u.Customer)
	}
	if u.Customer != "" {
		var n int64
		if _, err := c.get(ctx, "SELECT COUNT(*) FROM customers WHERE id = ?", []any{u.Customer}, &n); err != nil {
			return err
		}
		if n == 0 {
			return refuse(CodeNotFound, "there is no customer %q", u.Customer)
		}
	}
	return nil
}

// AddUser makes a user and a one-time link that lets him choose a password: it is
// returned once and kept nowhere.
func (p *Portal) AddUser(ctx context.Context, u User, actor string) (User, string, error) {
	var link string
	err := p.store.tx(ctx, func(c conn) error {
		var err error
		if u, err = c.addUser(ctx, u, "", p.now(), actor); err == nil {
			link, err = c.newLink(ctx, u.ID, p.now())
		}
		return err
	})
	return u, link, err
}

// AddFirstUser makes the administrator of a portal that nobody can sign in to yet,
// with the hash of a password. Of several that come at once one gets through; the
// others are refused with wrong_state.
func (p *Portal) AddFirstUser(ctx context.Context, u User, phc, actor string) (User, error) {
	u.Role, u.Customer = RoleAdmin, ""
	err := p.store.tx(ctx, func(c conn) error {
		// A row that everybody writes lets one come after the other on PostgreSQL.
		if _, err := c.exec(ctx, "INSERT INTO attempts (subject, failures, last, until) VALUES ('setup', 0, 0, 0) ON CONFLICT (subject) DO UPDATE SET failures = 0"); err != nil {
			return err
		}
		var n int64
		if _, err := c.get(ctx, "SELECT COUNT(*) FROM users", nil, &n); err != nil {
			return err
		}
		if n > 0 {
			return refuse(CodeState, "the portal has an administrator already")
		}
		var err error
		u, err = c.addUser(ctx, u, phc, p.now(), actor)
		return err
	})
	return u, err
}

func (c conn) addUser(ctx context.Context, u User, phc string, now time.Time, actor string) (User, error) {
	if err := c.checkUser(ctx, &u); err != nil {
		return u, err
	}
	u.ID, u.Created = newID("u-"), now
	n, err := c.exec(ctx, `INSERT INTO users (id, email, name, role, customer, password, totp, totp_step, disabled, created, seen)
		VALUES (?, ?, ?, ?, ?, ?, '', 0, 0, ?, 0) ON CONFLICT (email) DO NOTHING`, u.ID, u.Email, u.Name, string(u.Role), u.Customer, phc, now.Unix())
	if err == nil && n == 0 {
		err = refuse(CodeExists, "there is a user %s already", u.Email)
	}
	if err != nil {
		return u, err
	}
	u.Password = phc != ""
	return u, c.audit(ctx, now, actor, "user.add", u.Email, nil, u)
}

// SetUser changes address, name, role and customer. The last administrator stays one.
func (p *Portal) SetUser(ctx context.Context, u User, actor string) error {
	return p.changeUser(ctx, u.ID, "user.set", actor, func(c conn, before *User) error {
		if err := c.checkUser(ctx, &u); err != nil {
			return err
		}
		if u.Role != RoleAdmin {
			if err := c.keepAdmin(ctx, *before); err != nil {
				return err
			}
		}
		var n int64
		if _, err := c.get(ctx, "SELECT COUNT(*) FROM users WHERE email = ? AND id <> ?", []any{u.Email, u.ID}, &n); err != nil {
			return err
		}
		if n > 0 {
			return refuse(CodeExists, "there is a user %s already", u.Email)
		}
		_, err := c.exec(ctx, "UPDATE users SET email = ?, name = ?, role = ?, customer = ? WHERE id = ?", u.Email, u.Name, string(u.Role), u.Customer, u.ID)
		return err
	})
}

// DisableUser ends what a user may do, and all his sessions, or lets him in again.
func (p *Portal) DisableUser(ctx context.Context, id string, disable bool, actor string) error {
	action := "user.enable"
	if disable {
		action = "user.disable"
	}
	return p.changeUser(ctx, id, action, actor, func(c conn, before *User) error {
		if !disable {
			_, err := c.exec(ctx, "UPDATE users SET disabled = 0 WHERE id = ?", before.ID)
			return err
		}
		if err := c.keepAdmin(ctx, *before); err != nil {
			return err
		}
		if _, err := c.exec(ctx, "UPDATE users SET disabled = ? WHERE id = ?", p.now().Unix(), before.ID); err != nil {
			return err
		}
		return c.endSessions(ctx, before.ID, "")
	})
}

// keepAdmin refuses to take away the last administrator who can sign in.
func (c conn) keepAdmin(ctx context.Context, u User) error {
	if u.Role != RoleAdmin || !u.Disabled.IsZero() {
		return nil
	}
	// Written to, so that two administrators cannot end each other at once.
	if _, err := c.exec(ctx, "UPDATE users SET role = role WHERE role = 'admin'"); err != nil {
		return err
	}
	var n int64
	if _, err := c.get(ctx, "SELECT COUNT(*) FROM users WHERE role = 'admin' AND disabled = 0 AND password <> '' AND id <> ?", []any{u.ID}, &n); err != nil {
		return err
	}
	if n == 0 {
		return refuse(CodeState, "%s is the last administrator who can sign in", u.Email)
	}
	return nil
}

// ResetUser takes password, second factors, sessions and API tokens of a user away, and
// returns a one-time link that lets him choose a password. secondFactor alone leaves
// the password and makes no link.
func (p *Portal) ResetUser(ctx context.Context, id string, secondFactor bool, actor string) (link string, err error) {
	action := "user.reset"
	if secondFactor {
		action = "user.reset-second-factor"
	}
	err = p.changeUser(ctx, id, action, actor, func(c conn, u *User) error {
		if err := c.dropFactors(ctx, u.ID); err != nil {
			return err
		}
		if err := c.endSessions(ctx, u.ID, ""); err != nil || secondFactor {
			return err
		}
		if _, err := c.exec(ctx, "UPDATE users SET password = '' WHERE id = ?", u.ID); err != nil {
			return err
		}
		if _, err := c.exec(ctx, "DELETE FROM tokens WHERE user_id = ?", u.ID); err != nil {
			return err
		}
		link, err = c.newLink(ctx, u.ID, p.now())
		return err
	})
	return link, err
}

func (c conn) dropFactors(ctx context.Context, id string) error {
	for _, q := range []string{"UPDATE users SET totp = '', totp_step = 0 WHERE id = ?", "DELETE FROM recovery_codes WHERE user_id = ?", "DELETE FROM passkeys WHERE user_id = ?"} {
		if _, err := c.exec(ctx, q, id); err != nil {
			return err
		}
	}
	return nil
}

// InviteUser makes the one-time link of a user anew; the one before ends.
func (p *Portal) InviteUser(ctx context.Context, id, actor string) (link string, err error) {
	err = p.changeUser(ctx, id, "user.invite", actor, func(c conn, u *User) error {
		link, err = c.newLink(ctx, u.ID, p.now())
		return err
	})
	return link, err
}

func (c conn) newLink(ctx context.Context, user string, now time.Time) (string, error) {
	secret, hash := credential.NewSecret("")
	_, err := c.exec(ctx, "INSERT INTO user_links (user_id, hash, expires) VALUES (?, ?, ?) ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, expires = excluded.expires",
		user, hash, now.Add(linkTime).Unix())
	return secret, err
}

// changeUser runs f on a user in a transaction, and notes in the audit log what he
// was before and is then.
func (p *Portal) changeUser(ctx context.Context, id, action, actor string, f func(conn, *User) error) error {
	return p.store.tx(ctx, func(c conn) error {
		before, err := c.user(ctx, id)
		if err != nil {
			return err
		}
		if err := f(c, &before); err != nil {
			return err
		}
		after, err := c.user(ctx, before.ID)
		if err != nil {
			return err
		}
		return c.audit(ctx, p.now(), actor, action, after.Email, before, after)
	})
}
