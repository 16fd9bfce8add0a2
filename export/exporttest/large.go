package exporttest

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/meterseal/meterseal/ledger"
)

// LargeReport writes a valid standard report from 0 with about n usage records
// of 50 nodes and 4 meters to dir/large.usage, without holding it in memory. It
// returns its path, its size in records and the site's vkey.
func LargeReport(dir string, n int) (path string, size uint64, vkey string, err error) {
	return largeReport(dir, n, NewSinkSite)
}

// LargeReportOf is LargeReport for a site that o opens.
func LargeReportOf(dir string, n int, o Opening) (path string, size uint64, vkey string, err error) {
	return largeReport(dir, n, func(sink func(line string)) *Site {
		s := OpenSite(o)
		for _, line := range s.Ledger.Lines {
			sink(line)
		}
		s.Sink = sink
		return s
	})
}

func largeReport(dir string, n int, open func(sink func(line string)) *Site) (path string, size uint64, vkey string, err error) {
	body, err := os.Create(filepath.Join(dir, "large.body"))
	if err != nil {
		return "", 0, "", err
	}
	defer os.Remove(body.Name())
	defer body.Close()
	w := bufio.NewWriterSize(body, 1<<20)
	s := open(func(line string) { w.WriteString(line); w.WriteByte('\n') })
	const nodes, meters = 50, 4
	for window := 0; window*nodes*meters < n; window++ {
		cells := make([]Cell, 0, nodes*meters)
		for i := range nodes * meters {
			cells = append(cells, Cell{Node: fmt.Sprintf("node-%02d", i/meters), Meter: fmt.Sprintf("render.pages-%d", i%meters),
				Events: []Event{{OffsetMS: 1000, Quantity: int64(i%7) + 1}}})
		}
		if s.Window(cells...); window%96 == 95 {
			s.Close()
		}
	}
	size, vkey = s.Close(), s.VKey()
	if err := w.Flush(); err != nil {
		return "", 0, "", err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return "", 0, "", err
	}
	path = filepath.Join(dir, "large.usage")
	f, err := os.Create(path)
	if err != nil {
		return "", 0, "", err
	}
	sum := sha256.New()
	out := io.MultiWriter(f, sum)
	fmt.Fprintf(out, "meterseal-report/v1\nlevel standard\nkey %s\nold 0 %v\n\n%s\n", vkey, ledger.EmptyRoot, s.Ledger.Notes[size])
	_, err = io.Copy(out, body)
	_, err2 := fmt.Fprintf(f, "end %d %s\n", size, base64.StdEncoding.EncodeToString(sum.Sum(nil)))
	return path, size, vkey, errors.Join(err, err2, f.Close())
}
