package crashtest

import (
	"strings"
	"testing"
)

func TestSeedRange(t *testing.T) {
	for _, test := range []struct {
		n           int
		short       bool
		seeds, seed string
		first, last uint64
		err         string
	}{
		{1000, false, "", "", 1, 1000, ""},
		{1000, true, "", "", 1, 33, ""},
		{5, true, "", "", 1, 1, ""},
		{1000, true, "20000", "", 1, 20000, ""},
		{1000, false, "20000", "17", 17, 17, ""},
		{1000, false, "none", "", 0, 0, `METERSEAL_SEEDS="none" is not a number of seeds`},
		{1000, false, "0", "", 0, 0, `METERSEAL_SEEDS="0" is not a number of seeds`},
		{1000, false, "", "-1", 0, 0, `METERSEAL_SEED="-1" is not a seed`},
	} {
		first, last, err := seedRange(test.n, test.short, test.seeds, test.seed)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("seedRange(%+v) error = %v, want %q", test, err, test.err)
			}
			continue
		}
		if err != nil || first != test.first || last != test.last {
			t.Errorf("seedRange(%+v) = %d, %d, %v", test, first, last, err)
		}
	}
}
