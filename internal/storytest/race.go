//go:build race

package storytest

const raceDetector = true
