package bench

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/timeline"
)

// Names in the spans of election and route-sync.
const (
	spanTakeover = "takeover"
	spanSwap     = "record.compare-and-swap"
	spanRoutes   = "routes.takeover"
	spanCreate   = "ec2.CreateRoute"

	eventPossible = "take-over possible"
)

// takeover is where the time of one went.
type takeover struct {
	detection, swap, event, routes time.Duration
	created                        bool // route-sync tried to create a route
}

// first is the root that ended first: a leader whose authority ran out takes its own
// record again, which is another take-over. roots must not be empty.
func first(roots []timeline.Span) timeline.Span {
	return slices.MinFunc(roots, func(a, b timeline.Span) int { return a.End.Compare(b.End) })
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
		case s.Name == spanTakeover:
			root = &spans[i]
		case s.Name == spanSwap && s.Attributes["purpose"] == "take-over" && s.Attributes["outcome"] == "swapped":
			swap = &spans[i]
		case s.Name == spanRoutes:
			routes = &spans[i]
		case s.Name == spanCreate:
			t.created = true
		}
	}
	for name, s := range map[string]*timeline.Span{spanTakeover: root, spanSwap: swap, spanRoutes: routes} {
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
		return takeover{}, fmt.Errorf("%s has no event %q after the power cut", spanTakeover, eventPossible)
	}
	t.swap = swap.End.Sub(swap.Start)
	t.event = routes.Start.Sub(swap.End)
	t.routes = routes.End.Sub(routes.Start)
	return t, nil
}
