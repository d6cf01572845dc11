package syncer

import "github.com/hybridgateway/gateway/services/route-sync/internal/plan"

// Item is what the Routes stream tells: an Interface, a Route or a Convergence.
type Item interface{ item() }

type (
	// Interface is this gateway's own network interface.
	Interface struct{ ID, Region, Zone string }
	// Route is the state of one route.
	Route struct {
		plan.Status
		Shard string
	}
	// Convergence says under which epoch all routes of a shard point here; 0 when they do not.
	Convergence struct {
		Shard string
		Epoch uint64
	}
)

func (Interface) item()   {}
func (Route) item()       {}
func (Convergence) item() {}

// InterfaceKey is the key of the one Interface item.
const InterfaceKey = "interface"

// RouteKey is the key of a Route item.
func RouteKey(k plan.Key) string { return "route/" + k.Table + "/" + k.Destination.String() }

// ConvergenceKey is the key of a shard's Convergence item.
func ConvergenceKey(shard string) string { return "convergence/" + shard }
