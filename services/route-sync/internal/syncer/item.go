package syncer

import "github.com/hybridgateway/gateway/services/route-sync/internal/plan"

// Item is what the Routes stream tells: an Interface, a Route, a Convergence or a Permission.
type Item interface{ item() }

type (
	// Interface is this gateway's own network interface, with what is wrong with it.
	Interface struct {
		ID, Region, Zone string
		Check            plan.SourceDestCheck
		Problem          string
	}
	// Route is the state of one route.
	Route struct {
		plan.Status
		Shard string
	}
	// Convergence says under which epoch all routes of a shard point here, or were Removed; 0 when neither is so.
	Convergence struct {
		Shard   string
		Epoch   uint64
		Removed bool
	}
	// Permission is one that is missing.
	Permission plan.Permission
)

func (Interface) item()   {}
func (Route) item()       {}
func (Convergence) item() {}
func (Permission) item()  {}

// InterfaceKey is the key of the one Interface item.
const InterfaceKey = "interface"

// RouteKey is the key of a Route item.
func RouteKey(k plan.Key) string { return "route/" + k.Table + "/" + k.Destination.String() }

// ConvergenceKey is the key of a shard's Convergence item.
func ConvergenceKey(shard string) string { return "convergence/" + shard }

// PermissionKey is the key of a Permission item.
func PermissionKey(p plan.Permission) string { return "permission/" + p.Action + "/" + p.Resource }
