// Package verify has the page that verifies reports, replies and licenses in a
// browser: one HTML file that loads nothing and uploads nothing.
//
// Its program, under src, is a second verifier in TypeScript, written from
// docs/formats and independent of packages export, ledger and license; the tests
// hold it against them. The file is built by the test of this package
// (go test ./portal/web/verify -run Built -update), and another run of it gives
// the same bytes.
package verify

import (
	_ "embed"
	"strings"
)

//go:embed verify.html
var file string

// File returns the whole page, to be kept and opened without a server.
func File() string { return file }

// Body returns what the page shows, without the page around it.
func Body() string { return between("<!--begin-->", "<!--end-->") }

// Script returns the program of the page.
func Script() string { return between("<script>", "</script>") }

// Style returns the style sheet of the page.
func Style() string { return between("<style>", "</style>") }

// between returns what stands between two marks, which the test of the build asks
// for.
func between(begin, end string) string {
	_, after, _ := strings.Cut(file, begin)
	inside, _, _ := strings.Cut(after, end)
	return inside
}
