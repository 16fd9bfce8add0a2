package exporter

// LookInbox looks at the inbox once, of an exporter that was not started.
func (x *Exporter) LookInbox() { x.inbox.look() }
