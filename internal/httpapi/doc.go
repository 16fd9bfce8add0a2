// Package httpapi serves and describes an HTTP API from one table of routes
// (docs/decisions/0013-http-from-one-table.md). The site's console and the vendor's
// portal both have such a table, each with rights and refusals of its own.
package httpapi
