package main

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/internal/cli"
)

// traceEvent is one event of a trace.
type traceEvent struct {
	line, index uint64
	timeMS      int64
	subject     string
	quantity    string // decimal text; "": 1
	raw         []byte // jsonl: the event as it stands
}

// traceFile is where a trace comes from; it is read twice.
type traceFile struct {
	name string
	open func() (io.ReadCloser, error)
}

func fileTrace(path string) traceFile {
	return traceFile{name: path, open: func() (io.ReadCloser, error) { return os.Open(path) }}
}

// inspectTrace returns what the ids of the file begin with, how many events it
// holds and when the first of them is; the zero time: it has none.
func inspectTrace(file traceFile, o replayOptions) (digest string, total int64, first time.Time, err error) {
	f, err := file.open()
	if err != nil {
		return "", 0, first, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", 0, first, fmt.Errorf("read %s: %w", file.name, err)
	}
	err = readTrace(file, o, func(e traceEvent, meter int) error {
		if first.IsZero() && e.timeMS != 0 {
			first = time.UnixMilli(e.timeMS)
		}
		if meter >= 0 {
			total++
		}
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)[:4]), total, first, err
}

// readTrace calls yield for each event with the index of its meter, and with -1
// for a line that stands for a moment without events.
func readTrace(file traceFile, o replayOptions, yield func(e traceEvent, meter int) error) error {
	f, err := file.open()
	if err != nil {
		return err
	}
	defer f.Close()
	var r io.Reader = bufio.NewReaderSize(f, 1<<20)
	if strings.HasSuffix(file.name, ".gz") {
		gz, err := gzip.NewReader(r)
		if err != nil {
			return fmt.Errorf("read %s: %w", file.name, err)
		}
		r = bufio.NewReaderSize(gz, 1<<20)
	}
	switch o.format {
	case "counts":
		err = readCounts(r, o, yield)
	case "csv":
		err = readCSV(r, o, yield)
	default:
		err = readJSONL(r, yield)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file.name, err)
	}
	return nil
}

func readCounts(r io.Reader, o replayOptions, yield func(traceEvent, int) error) error {
	sc := bufio.NewScanner(r)
	sc.Split(bufio.ScanWords)
	for line := uint64(1); sc.Scan(); line++ {
		n, err := strconv.ParseUint(sc.Text(), 10, 31)
		if err != nil {
			return cli.Fail(cli.ExitError, "malformed", "the format counts has one number per second", "number %d: %q", line, sc.Text())
		}
		e := traceEvent{line: line, timeMS: o.start.UnixMilli() + int64(line-1)*1000}
		if n == 0 {
			if err := yield(e, -1); err != nil {
				return err
			}
		}
		for i := range n {
			e.index = i
			if err := yield(e, 0); err != nil {
				return err
			}
		}
	}
	return sc.Err()
}

func readCSV(r io.Reader, o replayOptions, yield func(traceEvent, int) error) error {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	head, err := c.Read()
	if err != nil {
		return err
	}
	column := func(name string) (int, error) {
		for i, h := range head {
			if strings.TrimPrefix(h, "\ufeff") == name {
				return i, nil
			}
		}
		return 0, cli.Fail(cli.ExitUsage, "config_invalid", "columns: "+strings.TrimPrefix(strings.Join(head, ", "), "\ufeff"), "there is no column %q", name)
	}
	at, err := column(o.timeColumn)
	if err != nil {
		return err
	}
	cols := make([]int, len(o.meters))
	for i, m := range o.meters {
		if m.column == "" {
			cols[i] = -1
		} else if cols[i], err = column(m.column); err != nil {
			return err
		}
	}
	for line := uint64(2); ; line++ {
		rec, err := c.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		t, err := parseTraceTime(rec[at])
		if err != nil {
			return cli.Fail(cli.ExitError, "malformed", "times like 2023-11-16 18:17:03.98 or RFC 3339", "line %d: time %q", line, rec[at])
		}
		for i, col := range cols {
			e := traceEvent{line: line, index: uint64(i), timeMS: t.UnixMilli()}
			if col >= 0 {
				e.quantity = strings.Clone(rec[col])
			}
			if err := yield(e, i); err != nil {
				return err
			}
		}
	}
}

func parseTraceTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("not a time")
}

func readJSONL(r io.Reader, yield func(traceEvent, int) error) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 64<<10+1)
	for line := uint64(1); sc.Scan(); line++ {
		if len(sc.Bytes()) == 0 {
			continue
		}
		var at struct{ Time time.Time }
		_ = json.Unmarshal(sc.Bytes(), &at) // the daemon says what is wrong with it
		e := traceEvent{line: line, raw: append([]byte(nil), sc.Bytes()...)}
		if !at.Time.IsZero() {
			e.timeMS = at.Time.UnixMilli()
		}
		if err := yield(e, 0); err != nil {
			return err
		}
	}
	return sc.Err()
}
