// Package notify tells others what happened at the portal: events to webhooks, in
// the form of Standard Webhooks, and reminders by mail.
//
// The guarantee: an event whose transaction was committed is sent at least once
// to each webhook that was active then, until the receiver answers 2xx or three
// days of attempts are over, whichever process does it and whenever one ends; its
// id is the same each time.
//
// The limit: the order of events is not kept, since an attempt that failed comes
// again later.
package notify
