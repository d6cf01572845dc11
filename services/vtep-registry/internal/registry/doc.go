// Package registry decides which hybrid nodes become VTEPs, and with which pod
// networks. It is the core of vtep-registry and pure: what Cilium says about nodes
// goes in, a list of changes comes out.
//
// # Claims
//
// A CiliumNode claims one address and some pod networks. A claim is granted only
// when it lies inside the configured networks and nobody else holds it:
//
//   - The address is what makes a node a VTEP. Without a good one that no other node
//     holds the whole node is quarantined.
//   - Each pod network is judged by itself. A node keeps the good ones among bad ones,
//     since cutting off its healthy pods would protect nobody; the bad ones are refused
//     and reported. A node of which every pod network is refused is quarantined.
//   - A quarantined node holds nothing: what it claims is free for others, so that a
//     broken object never locks a healthy node out.
//
// # First come keeps
//
// What a node holds it keeps for as long as it claims it, whoever else comes to claim
// the same. When it lets go, by a change or by its deletion, the waiting nodes are
// tried again. Where several nodes wait, and at a start, when all come at once, the
// order is: oldest object first, then by name. Two gateways that see the same history
// therefore decide alike, and so does a restarted one that remembers what was held; see
// Registry.Remember. One that does not may give to an older node what a younger one held.
//
// # Changes
//
// Each event, or batch of events, is settled as a whole: first everything is let go
// that is no longer claimed, then claims are granted. So two nodes that swap addresses or
// networks in one batch simply have them swapped; when the events come one by one, the
// first node waits until the second lets go. No third node's VTEP is touched by either.
package registry
