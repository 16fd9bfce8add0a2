//go:build race

package projections_test

// raceDetector: pools of objects forget some of them at random then, so that
// allocations cannot be compared.
const raceDetector = true
