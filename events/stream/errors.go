package stream

import (
	"errors"
	"fmt"

	"github.com/meterseal/meterseal/events"
)

// Errors of opening the stream. Each says in its text what to do.
var (
	// ErrUnreachable: the server did not answer within Options.StartWait, or
	// the connection was lost. Start it, or correct the URL.
	ErrUnreachable = errors.New("stream is not reachable")
	// ErrNoPermission: a right is missing; the text names it. Grant it.
	ErrNoPermission = errors.New("permission is missing")
	// ErrAddressInUse: another program listens at Options.Listen. Stop it or
	// choose another address.
	ErrAddressInUse = errors.New("listen address is in use")
	// ErrInUse: another daemon holds the directory. Stop it.
	ErrInUse = errors.New("stream directory is in use")
	// ErrSettingsUnsafe: the stream exists with settings under which
	// acknowledged events could be lost; the text gives the fixing command.
	ErrSettingsUnsafe = errors.New("stream settings are unsafe")
)

// Errors of appending. After any other error than these the outcome is
// unknown: read the last position, then decide.
var (
	// ErrFenced: the last position is not the one that was named, so another
	// gateway leads. Nothing was stored. Stop.
	ErrFenced = errors.New("another gateway has appended to the stream")
	// ErrFull: the stream is at its size, or the disk is. Nothing was stored.
	// Make room, then try again.
	ErrFull = errors.New("stream is full")
	// ErrUnknown: no answer came in time and the stream could not be read
	// either. Append the same bytes again, which is safe, or stop.
	ErrUnknown = errors.New("outcome of append is unknown")
)

// ErrNewer: a group was written by a newer program. Install that program;
// nothing is damaged.
var ErrNewer = errors.New("stream is of a newer version")

// ErrStreamDamaged is the family of what a reader finds wrong. Nothing of the
// stream from there on may be folded; the way out is "restore".
var ErrStreamDamaged = errors.New("stream is damaged")

// Members of the family [ErrStreamDamaged].
var (
	// ErrHole: groups are missing between two that are there.
	ErrHole = fmt.Errorf("%w: a group is missing", ErrStreamDamaged)
	// ErrDamaged: a group is not as it was appended.
	ErrDamaged = fmt.Errorf("%w: a group was changed", ErrStreamDamaged)
	// ErrTruncated: the stream ends before a position that it once had.
	ErrTruncated = fmt.Errorf("%w: it ends too early", ErrStreamDamaged)
)

// Errors of the gateway.
var (
	// ErrClosed: the gateway takes nothing more.
	ErrClosed = errors.New("gateway is closed")
	// ErrBusy: more is pending than GatewayOptions allows. Try again later.
	ErrBusy = errors.New("gateway is busy")
)

// Code returns the stable code of err for messages and exit codes, such as
// "stream_hole", or "" if it is none of this package.
func Code(err error) string {
	for _, c := range []struct {
		err  error
		code string
	}{
		{ErrHole, "stream_hole"},
		{ErrDamaged, "stream_damaged"},
		{ErrTruncated, "stream_behind_cursor"},
		{ErrNewer, events.CodeUpgradeNeeded},
		{ErrUnreachable, "store_unreachable"},
		{ErrNoPermission, "store_no_permission"},
		{ErrAddressInUse, "listen_address_in_use"},
		{ErrInUse, "store_in_use"},
		{ErrSettingsUnsafe, "store_settings_unsafe"},
		{ErrFull, "store_full"},
		{ErrFenced, "store_in_use"},
		{ErrUnknown, "store_unavailable"},
		{ErrClosed, "store_unavailable"},
		{ErrBusy, "busy"},
	} {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return ""
}
