// Package docs holds the pages that a daemon serves itself, since a site has no
// internet to look things up in.
package docs

import _ "embed" // of the pages

// Errors is reference/errors.md: every stable code with its way out.
//
//go:embed reference/errors.md
var Errors string
