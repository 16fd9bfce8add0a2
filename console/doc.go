// Package console is the HTTP side of a site: it takes usage events, answers
// what was counted, and hands out reports.
//
// Every route stands in one table (routes.go). The table serves the requests
// and writes the OpenAPI document, so neither can be without the other. A
// handler parses, calls and renders; what it calls belongs to others: [Intake]
// is the gateway, [Reporter] the writer of reports, and the numbers come from a
// [projections.Store].
//
// Success of POST /v1/events means that the events are stored and survive a
// power cut. No GET changes anything.
//
// Every route wants a right, which a token has; a program of the daemon's own
// machine needs none unless the configuration says so (docs/how-to/nodes.md). A page
// in a browser there may read, and changes something for a signed-in operator. The
// package answers only under loopback names and the names it was given, and
// refuses what a web page of another origin sends.
package console
