// Package streamtest helps tests that run a real stream in the virtual time of
// testing/synctest.
//
// Call [Register] in TestMain. Inside the bubble open the stream with
// Options.InProcess, connect clients with Stream.ConnectClient, and end them
// all before the bubble ends: gateway, client, stream. A test binary that does
// so must use NATS inside bubbles only, since nats.go keeps timers in a pool of
// the process, and a timer of a bubble may not be used outside of it.
package streamtest

import "github.com/nats-io/nats-server/v2/server/ats"

// Register starts the access-time ticker of nats-server outside of any bubble;
// started inside, it would keep the bubble from ever being idle.
func Register() { ats.Register() }
