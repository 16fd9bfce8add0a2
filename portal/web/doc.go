// Package web is the portal in a browser: pages for the vendor's staff and for
// customers, made on the server, that work without script and load nothing from
// elsewhere.
//
// The guarantee: a page shows numbers of package portal and calculates none; what
// it can change, the API and the command line can change too, and each page says
// how.
package web
