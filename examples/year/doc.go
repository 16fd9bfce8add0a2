// Package year plays one year of an offline license with the two programs: see
// year.txt, the story, and year_test.go, which runs it.
package year
