package plan

import "slices"

// Retire makes it the target, from now on, that nothing of the gateway is in the kernel. Settings of the host, such as forwarding, stay as they
// are: others may have come to need them.
func (l *Ledger) Retire() {
	l.retired = true
	l.compareAll()
}

// Retired tells whether Retire was called.
func (l *Ledger) Retired() bool { return l.retired }

// planRetired removes all that is ours. What is on the device goes with it.
func planRetired(a Actual) []Op {
	var routes []DeleteRoute
	for _, list := range a.Routes {
		for _, r := range list {
			if r.Ours() && (a.Link == nil || r.Dev != a.Link.Name) {
				routes = append(routes, DeleteRoute{r})
			}
		}
	}
	slices.SortFunc(routes, func(a, b DeleteRoute) int { return compareRoutes(a.Route, b.Route) })
	ops := appendOps(nil, routes)
	if a.Link != nil {
		ops = append(ops, DeleteDevice{Name: a.Link.Name, Reason: "the gateway is purged"})
	}
	for _, addr := range a.Host.Carried {
		ops = append(ops, DeleteAddress{addr})
	}
	if a.Clamp != ClampAbsent {
		ops = append(ops, DeleteClamp{})
	}
	if a.Guard != nil {
		ops = append(ops, DeleteGuard{})
	}
	return ops
}
