package crashtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// The environment variables by which a run of many seeds is steered, from the
// task "simulate" or by hand. go test knows that a result depends on them.
const (
	SeedsVar = "METERSEAL_SEEDS" // how many seeds each simulation runs
	SeedVar  = "METERSEAL_SEED"  // run this one seed only
)

// shortPart is the part of the seeds that -short draws: under the race detector each
// takes ten times as long, and finds what goroutines do, not what numbers do.
const shortPart = 30

// Seeds runs f once for each of n seeds, counted from 1, as subtests named by
// their seed; with -short only for a thirtieth of them. [SeedsVar] sets another
// number, [SeedVar] one seed, which is how a failure is repeated.
//
// f draws everything it decides from rng, which depends on nothing but the
// seed. Failures stop after five seeds: they are mostly the same one.
func Seeds(t *testing.T, n int, f func(t *testing.T, seed uint64, rng *rand.Rand)) {
	t.Helper()
	first, last, err := seedRange(n, testing.Short(), os.Getenv(SeedsVar), os.Getenv(SeedVar))
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for seed := first; seed <= last; seed++ {
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			f(t, seed, rand.New(rand.NewPCG(seed, 0)))
		})
		if ok {
			continue
		}
		t.Logf("repeat it: %s=%d go test -run '^%s$'", SeedVar, seed, t.Name())
		if failed++; failed == 5 {
			t.Fatalf("stopped after %d failing seeds, at seed %d of %d", failed, seed, last)
		}
	}
}

func seedRange(n int, short bool, seeds, seed string) (first, last uint64, err error) {
	if seed != "" {
		one, err := strconv.ParseUint(seed, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("%s=%q is not a seed: %w", SeedVar, seed, err)
		}
		return one, one, nil
	}
	if seeds != "" {
		count, err := strconv.ParseUint(seeds, 10, 32)
		if err != nil || count == 0 {
			return 0, 0, fmt.Errorf("%s=%q is not a number of seeds from 1 on", SeedsVar, seeds)
		}
		return 1, count, nil
	}
	if short {
		n = max(n/shortPart, 1)
	}
	return 1, uint64(n), nil
}
