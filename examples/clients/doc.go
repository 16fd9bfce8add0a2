// Package clients has examples of applications in other languages, with clients
// that nobody here wrote: see README.md, and clients_test.go, which runs them.
package clients
