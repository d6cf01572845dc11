// Package fabric is the network of the VPC: one namespace, to which every VPC
// host has one link, and which forwards as the route tables of the EC2
// stand-in say.
//
// What the kernel should hold follows from the stand-in's state alone
// (Desired); Plan gives the operations that lead there, and the Fabric carries
// them out. Each EC2 route table is a kernel routing table, chosen by the link
// a packet comes in on. Routes are replaced in place, so a change of a route
// loses no packet.
//
// As in EC2, the fabric drops without a word: where there is no route, where
// the route is a blackhole, and where an interface's source/destination check
// does not allow the packet. It also drops, and counts, packets that carry a
// pod address across the WAN leg: pod addresses cross only inside VXLAN.
package fabric
