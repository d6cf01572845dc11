package bench

import (
	"errors"
	"fmt"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/demo"
	"github.com/hybridgateway/gateway/tools/lab/internal/timeline"
)

// Names in the spans of election and route-sync.
const (
	spanSwap   = "record.compare-and-swap"
	spanRoutes = "routes.takeover"
	spanCreate = "ec2.CreateRoute"

	eventPossible = "take-over possible"
)

// takeover is where the time of one went.
type takeover struct {
	detection, swap, event, routes time.Duration
	created                        bool // route-sync tried to create a route
}

// errIncomplete says that spans are missing, which may still be under way.
var errIncomplete = errors.New("the trace is incomplete")

// read finds that in the spans of the take-over's trace. died is when the power was
// cut.
func read(spans []timeline.Span, died time.Time) (takeover, error) {
	var t takeover
	var root, swap, routes *timeline.Span
	for i, s := range spans {
		switch {
		case s.Name == demo.SpanTakeover:
			root = &spans[i]
		case s.Name == spanSwap && s.Attributes["purpose"] == "take-over" && s.Attributes["outcome"] == "swapped":
			swap = &spans[i]
		case s.Name == spanRoutes:
			routes = &spans[i]
		case s.Name == spanCreate:
			t.created = true
		}
	}
	for name, s := range map[string]*timeline.Span{demo.SpanTakeover: root, spanSwap: swap, spanRoutes: routes} {
		if s == nil {
			return takeover{}, fmt.Errorf("%w: it has no %s", errIncomplete, name)
		}
	}
	for _, e := range root.Events {
		if e.Name == eventPossible {
			t.detection = e.At.Sub(died)
		}
	}
	if t.detection <= 0 {
		return takeover{}, fmt.Errorf("%s has no event %q after the power cut", demo.SpanTakeover, eventPossible)
	}
	t.swap = swap.End.Sub(swap.Start)
	t.event = routes.Start.Sub(swap.End)
	t.routes = routes.End.Sub(routes.Start)
	return t, nil
}
