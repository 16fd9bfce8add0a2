package cli

import (
	"errors"
	"strconv"
	"strings"
)

// ParseSize reads a size in bytes: 1024, 64MiB, 200GiB.
func ParseSize(v string) (int64, error) {
	n, shift := v, 0
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if s, ok := strings.CutSuffix(v, unit); ok {
			n, shift = s, 10*(i+1)
		}
	}
	size, err := strconv.ParseInt(n, 10, 64)
	if err != nil || size <= 0 || size > (1<<62)>>shift {
		return 0, errors.New("is " + strconv.Quote(v) + ", want a size like 512MiB")
	}
	return size << shift, nil
}
