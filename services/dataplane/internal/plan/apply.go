package plan

import (
	"net/netip"
	"slices"
)

// Apply changes a as the kernel changes when it carries out op successfully. The dataplane keeps its picture of
// the kernel current with it between two dumps; tests use it as a kernel.
func (a *Actual) Apply(op Op) {
	switch o := op.(type) {
	case AddDevice:
		d := o.Device
		a.Link = &Link{Name: d.Name, Kind: "vxlan", VNI: d.deviceVNI(), Port: d.Port, Local: d.Local, FlowBased: d.Flow, MAC: d.MAC, MTU: o.MTU}
	case DeleteDevice:
		a.Link, a.FDB, a.Neighbours = nil, nil, nil
		a.dropRoutes(o.Name)
	case SetForwarding:
		a.Host.Forwarding = true
		if a.Host.NIC != nil { // the kernel makes it so for every interface
			nic := *a.Host.NIC
			nic.Forwarding = true
			a.Host.NIC = &nic
		}
	case SetForwardPMTU:
		a.Host.ForwardPMTU = true
	case SetClamp:
		a.Clamp = ClampSound
	case DeleteClamp:
		a.Clamp = ClampAbsent
	case SetFDB:
		put(&a.FDB, o.MAC, []FDBEntry{{Remote: o.Remote, Permanent: true}})
	case DeleteFDB:
		delete(a.FDB, o.MAC)
	case SetNeighbour:
		put(&a.Neighbours, o.Addr, Neighbour{MAC: o.MAC, Permanent: true})
	case DeleteNeighbour:
		delete(a.Neighbours, o.Addr)
	case AddRoute:
		put(&a.Routes, o.Route.Dst, append(slices.Clone(a.Routes[o.Route.Dst]), o.Route))
	case ReplaceRoute:
		a.replaceRoute(o.Route)
	case DeleteRoute:
		a.deleteRoute(o.Route)
	case AddAddress, DeleteAddress:
		a.applyToAddress(op)
	case SetGuard, DeleteGuard, Admit, Expel:
		a.applyToGuard(op)
	default:
		a.applyToLink(op)
	}
}

func (a *Actual) applyToLink(op Op) {
	if a.Link == nil {
		return
	}
	switch o := op.(type) {
	case SetLocal:
		a.Link.Local = o.Local
	case SetNoLearning:
		a.Link.Learning = false
	case SetDF:
		a.Link.DF = o.DF
	case SetMTU:
		a.Link.MTU = o.MTU
	case SetMAC:
		a.Link.MAC = o.MAC
		a.Neighbours = nil
	case SetConf:
		a.Link.Conf = o.Conf
	case SetUp:
		a.Link.Up = true
	}
}

func (a *Actual) replaceRoute(r Route) {
	routes := slices.Clone(a.Routes[r.Dst])
	i := slices.IndexFunc(routes, func(have Route) bool { return have.Ours() && have.Metric == r.Metric })
	if i < 0 {
		routes = append(routes, r)
	} else {
		routes[i] = r
	}
	put(&a.Routes, r.Dst, routes)
}

func (a *Actual) deleteRoute(r Route) {
	left := slices.DeleteFunc(slices.Clone(a.Routes[r.Dst]), func(have Route) bool { return have == r })
	if len(left) == 0 {
		delete(a.Routes, r.Dst)
		return
	}
	a.Routes[r.Dst] = left
}

func (a *Actual) dropRoutes(dev string) {
	var gone []netip.Prefix
	for dst, routes := range a.Routes {
		left := slices.DeleteFunc(slices.Clone(routes), func(r Route) bool { return r.Dev == dev })
		if len(left) == 0 {
			gone = append(gone, dst)
		} else if len(left) != len(routes) {
			a.Routes[dst] = left
		}
	}
	for _, dst := range gone {
		delete(a.Routes, dst)
	}
}

func put[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[k] = v
}
