// Package onprem is the on-premises Kubernetes nodes, as far as packets are
// concerned: each a namespace with a NIC and a flow-based VXLAN device that
// does what Cilium's does, with pods behind it.
//
//   - The device has no forwarding database. What goes where is decided per
//     packet: from a pod to a CIDR of a VTEP endpoint, encapsulated with VNI 2
//     to that endpoint, with exactly the configured inner MAC address.
//   - The inner destination MAC address of what arrives is ignored, and so is
//     the outer source. An inner source inside an endpoint's CIDR is accepted
//     with VNI 2 only.
//   - The node's own traffic is not tunnelled.
//   - Unlike Cilium with masquerading, a pod's packet for which there is no
//     endpoint is dropped: it would otherwise reach the VPC without a tunnel
//     and make a broken one look whole.
package onprem
