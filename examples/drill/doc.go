// Package drill plays what comes after the machine of a site burned: see drill.txt,
// the story, and drill_test.go, which runs it.
package drill
