package portal

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
