package stream_test

import "github.com/nats-io/nats-server/v2/server/ats"

// registerAccessTime starts the ticker of nats-server outside of any bubble of
// synctest, in which it would never end.
func registerAccessTime() { ats.Register() }
