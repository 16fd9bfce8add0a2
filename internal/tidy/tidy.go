// Package tidy holds the rules of the house, as tests that explain themselves
// when they are broken. Nothing imports it; "go test ./internal/tidy" is all of
// it, and it takes a few seconds.
//
// Each file is one kind of rule: what a package may import (imports_test.go),
// what is documented (docs_test.go), how folders and files are called
// (names_test.go), why a module is required (gomod_test.go), which links
// resolve (links_test.go), what the reference says of the code
// (reference_test.go), which test proves which requirement
// (requirements_test.go). A rule is a function over parsed files, so that each
// test file also shows, on a few lines that break it, that its rule bites.
//
// The files are read and parsed in the process of the test. A test that asked
// "go list" would be answered from the test cache after somebody has added an
// import: go test knows which files a test read, not what a command of it read.
package tidy
