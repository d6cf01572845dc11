// Package world puts the virtual world together: a VPC that forwards as the
// EC2 stand-in's route tables say, a WAN, and on-premises nodes with pods.
//
//	namespace          address           what
//	hgw-gw1, hgw-gw2   10.0.1.10, 10.0.2.10   gateways (subnets a and b), IMDS address on lo
//	hgw-ec2-1, -2      10.0.1.20, 10.0.2.20   EC2 pods
//	hgw-lb             10.0.1.200             load balancer
//	hgw-cp             10.0.1.5               control plane
//	hgw-aws            10.0.0.2               where AWS's own endpoints are
//	hgw-fabric                                the VPC's network
//	hgw-wan            192.168.1.1            the WAN
//	hgw-node1..3       192.168.1.11..13       on-premises nodes
//	hgw-node1-pod1     100.64.1.10            their pods; node2 has two pod CIDRs
//
// The world has links, addresses and the forwarding that the VPC, the WAN and
// the nodes do by themselves. Processes, and whatever serves the IMDS address
// and the EC2 API, are the caller's.
//
// Nothing is added to the network of the machine itself, and everything goes
// away with Close, or with Cleanup after a crash.
package world
