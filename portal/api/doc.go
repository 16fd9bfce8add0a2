// Package api is the portal's JSON API, under /api/v1: whatever pages and command
// line do, for programs. Its OpenAPI document is made from the table of routes.
package api
