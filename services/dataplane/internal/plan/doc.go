// Package plan decides what has to change in the kernel so that the tunnel is as it should be.
//
// It is the core of the dataplane and pure: plain data in (what is desired, what is there), a list of
// operations out. No context, clock, logger, goroutine or system call. A caller does
//
//	ledger.See(actual)                       // what package kernel has read
//	ledger.Put(vtep)                         // what is desired changes; the VTEPs are checked
//	result := ledger.Plan()                  // ops, and findings: what is refused, in conflict, or in the way
//	for _, op := range result.Ops { … }      // package kernel carries them out
//	ledger.Applied(result.Ops)               // what the kernel looks like after that
//
// After a change of few VTEPs only what is theirs is compared, so that one node among 10,000 costs what one node alone costs.
//
// # What one VTEP becomes
//
// For a node with underlay address 192.168.1.11 and pod network 100.64.1.0/24:
//
//	fdb   02:68:c0:a8:01:0b dst 192.168.1.11              where to send the outer packet
//	neigh 192.168.1.11 lladdr 02:68:c0:a8:01:0b           the inner destination MAC
//	route 100.64.1.0/24 via 192.168.1.11 onlink src <node IP>
//
// The next hop is the node's own underlay address, used only as a name for the neighbour entry: it is `onlink`
// on the tunnel, so no route to it is created, and the outer packet to that same address still leaves by the
// NIC. It needs no address range of its own, is unique by nature, and an operator who reads `ip route` sees
// which node a pod network is behind. The MAC is a function of the address (see [netaddr.VTEPMAC]), so FDB and neighbour
// entries never change their content: renumbering, or two nodes that swap networks, changes routes only, and a
// route is replaced in one step by the kernel.
//
// With a flow-based device (Device.Flow) there is no FDB entry, and the route says where to send the outer packet:
//
//	neigh 192.168.1.11 lladdr 02:68:c0:a8:01:0b
//	route 100.64.1.0/24 encap ip id 2 dst 192.168.1.11 src <VTEP> via 192.168.1.11 onlink src <node IP>
//
// The kernel does not turn a device into one of the other kind. One that is there already goes on as it is until the desired state is
// Complete; then it is made anew, with all that belongs on it, in one plan.
//
// # Order
//
// Guard, device, FDB, neighbours, routes; then the removals in reverse. So a route never points to a neighbour that is
// not there, and a pod network that stays desired is never without a route. Nothing is removed until the desired
// state is Complete (the registry has sent its whole snapshot).
//
// # What is ours
//
// The device of the configured name with its FDB and neighbours, and in the main table the routes that carry
// [RouteProtocol]. A route of anybody else for the same pod network is a conflict: reported, never replaced.
package plan
