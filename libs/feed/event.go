package feed

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
)

// Position says how far a subscriber has read. The zero Position is before
// everything.
type Position struct {
	// Instance is the server's identity, new each time it starts.
	Instance string
	// Revision grows by one with each change; it starts at 0 with each instance.
	Revision uint64
}

// Kind says what an event does to the subscriber's picture.
type Kind uint8

const (
	// Reset opens a snapshot; what the snapshot does not name is gone.
	Reset Kind = iota + 1
	// Upsert gives an item's whole new value.
	Upsert
	// Delete takes an item away.
	Delete
	// Synced ends a snapshot, or the changes that a resumed subscriber missed.
	Synced
)

func (k Kind) String() string {
	switch k {
	case Reset:
		return "reset"
	case Upsert:
		return "upsert"
	case Delete:
		return "delete"
	case Synced:
		return "synced"
	}
	return "invalid"
}

// Event is one frame of a stream.
type Event[V any] struct {
	Position Position
	Kind     Kind
	// Key names the item; empty for Reset and Synced.
	Key string
	// Value is set for Upsert. Values are shared between subscribers: nobody
	// changes one after it was given to a Log.
	Value V
	// Trace is the trace of what caused the change.
	Trace Trace
}

// Trace is a W3C trace context in its header form
// (https://www.w3.org/TR/trace-context/).
type Trace struct {
	Parent, State string
}

// TraceOf is the trace context that ctx carries; zero when it carries none.
func TraceOf(ctx context.Context) Trace {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return Trace{Parent: carrier["traceparent"], State: carrier["tracestate"]}
}

// Context is ctx with t as the remote parent of the spans started in it. A
// malformed t is ignored, as the specification asks.
func (t Trace) Context(ctx context.Context) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": t.Parent, "tracestate": t.State})
}
