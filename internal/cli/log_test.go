package cli

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
)

// Every warning and error has a code; what is no trouble has none.
func TestCodedLog(t *testing.T) {
	full := errors.New("disk is full")
	codeOf := func(err error) string {
		if errors.Is(err, full) {
			return "store_full"
		}
		return ""
	}
	var out bytes.Buffer
	o := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
	log := slog.New(CodedLog(slog.NewTextHandler(&out, o), codeOf)).With("site", "s")
	for _, x := range []struct {
		say  func()
		want string
	}{
		{func() { log.Info("report exported", "size", 3) }, "level=INFO msg=\"report exported\" site=s size=3\n"},
		{func() { log.Warn("clock stepped", "step", "1h") }, "level=WARN msg=\"clock stepped\" site=s step=1h code=clock_stepped\n"},
		{func() { log.Error("append group", "err", full) }, "level=ERROR msg=\"append group\" site=s err=\"disk is full\" code=store_full\n"},
		{func() { log.Error("append group", "err", errors.New("x")) }, "level=ERROR msg=\"append group\" site=s err=x code=append_group\n"},
		{func() { log.Error("export failed", "code", "folder", "err", full) }, "level=ERROR msg=\"export failed\" site=s code=folder err=\"disk is full\"\n"},
		{func() { log.Warn("the site key is in the clear: seal it", "path", "p") }, "level=WARN msg=\"the site key is in the clear: seal it\" site=s path=p code=the_site_key_is_in_the_clear\n"},
	} {
		out.Reset()
		if x.say(); out.String() != x.want {
			t.Errorf("line = %swant %s", out.String(), x.want)
		}
	}
}
