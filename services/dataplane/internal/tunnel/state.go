package tunnel

import (
	"net/netip"
	"slices"

	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// maxProblems bounds the problems told to others; all are logged.
const maxProblems = 100

// Item is one item of the VTEP stream.
type Item struct {
	VTEP plan.VTEP
	// Admitted is false for a VTEP that the registry has quarantined: it is never programmed.
	Admitted bool
	// Stale is true for a VTEP that the registry only remembers. It is programmed; but as long as there is one, the list may lack
	// what came last.
	Stale bool
}

// Status is what the dataplane tells of its tunnel, less the problems.
type Status struct {
	Device   string
	Ready    bool
	Reason   string // when not ready: what is missing and how to mend it
	Local    netip.Addr
	MAC      plan.MAC
	MTU      int
	VNI      uint32
	Port     uint16
	VTEPs    int // programmed
	Routes   int // programmed
	Counters plan.Counters
}

// State is what the dataplane tells the others about its tunnel.
type State struct {
	Status
	Problems []string // at most 100
}

func (s State) equal(o State) bool {
	return s.Status == o.Status && slices.Equal(s.Problems, o.Problems)
}
