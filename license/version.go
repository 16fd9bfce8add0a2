package license

import (
	"strconv"
	"strings"
)

// CompareVersions compares two versions of programs by their numbers, 1.10.0
// after 1.9: negative, 0 or positive. What is not a number counts as 0, and what
// follows "-" or "+" does not count.
func CompareVersions(a, b string) int {
	x, y := numbers(a), numbers(b)
	for i := range max(len(x), len(y)) {
		var p, q uint64
		if i < len(x) {
			p = x[i]
		}
		if i < len(y) {
			q = y[i]
		}
		if p != q {
			if p < q {
				return -1
			}
			return 1
		}
	}
	return 0
}

func numbers(v string) (out []uint64) {
	v = strings.TrimPrefix(v, "v")
	if i := strings.IndexAny(v, "-+"); i >= 0 {
		v = v[:i]
	}
	for s := range strings.SplitSeq(v, ".") {
		n, _ := strconv.ParseUint(s, 10, 63) // see above
		out = append(out, n)
	}
	return out
}
