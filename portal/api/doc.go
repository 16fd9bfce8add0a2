// Package api is the portal's JSON API, under /api/v1: whatever pages and command
// line do, for programs.
//
// One table of routes serves it and is its OpenAPI document (package httpapi). A
// change that is sent twice with one Idempotency-Key is made once; an edit with
// If-Match is made only to what was read; a customer sees what is his, and of
// everything else that there is no such thing.
package api
