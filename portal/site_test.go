package portal_test

import (
	"context"

	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal/portaltest"
)

type (
	vendor         = portaltest.Vendor
	site           = portaltest.Site
	licenseRevoked = license.Revoked
)

const (
	domain     = portaltest.Domain
	workFactor = portaltest.WorkFactor
)

var (
	onBoth    = portaltest.OnBoth
	newVendor = portaltest.New
	set       = portaltest.Set
	code      = portaltest.Code
	cell      = portaltest.Cell
	t0        = context.Background()
)
