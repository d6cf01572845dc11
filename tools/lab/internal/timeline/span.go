package timeline

import "time"

// Span is a finished piece of work that a service reported.
type Span struct {
	TraceID, ID, Parent string // hexadecimal; Parent is empty for a root
	Service             string // for example "route-sync"
	Gateway             string // the gateway it ran on
	Name                string // for example "record.compare-and-swap"
	Start, End          time.Time
	Attributes          map[string]string
	Events              []Event
	Error               string // what went wrong; empty when nothing did
}

// Event is a moment within a span.
type Event struct {
	Name       string
	At         time.Time
	Attributes map[string]string
}
