package cli

import (
	"context"
	"log/slog"
	"strings"
)

// CodedLog returns h with a stable code in every warning and error, so that people
// and programs can look a line up: that of the line's err, where codeOf knows one
// (empty: none), else the message itself with _ between its words, up to its first
// comma, colon or semicolon. Messages are constant for that reason. Lines that have
// a code keep it.
func CodedLog(h slog.Handler, codeOf func(error) string) slog.Handler {
	return coded{h, codeOf}
}

type coded struct {
	slog.Handler
	codeOf func(error) string
}

// Handle is slog.Handler.
func (h coded) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return h.Handler.Handle(ctx, r)
	}
	code, has := "", false
	r.Attrs(func(a slog.Attr) bool {
		has = has || a.Key == "code"
		if err, ok := a.Value.Any().(error); ok && a.Key == "err" && code == "" {
			code = h.codeOf(err)
		}
		return !has
	})
	if has {
		return h.Handler.Handle(ctx, r)
	}
	if code == "" {
		code = MessageCode(r.Message)
	}
	r = r.Clone()
	r.AddAttrs(slog.String("code", code))
	return h.Handler.Handle(ctx, r)
}

// WithAttrs is slog.Handler.
func (h coded) WithAttrs(list []slog.Attr) slog.Handler {
	return coded{h.Handler.WithAttrs(list), h.codeOf}
}

// WithGroup is slog.Handler.
func (h coded) WithGroup(name string) slog.Handler {
	return coded{h.Handler.WithGroup(name), h.codeOf}
}

// MessageCode is the code of a line that has none of its own.
func MessageCode(message string) string {
	if i := strings.IndexAny(message, ",:;"); i >= 0 {
		message = message[:i]
	}
	return strings.Join(strings.FieldsFunc(strings.ToLower(message), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }), "_")
}
