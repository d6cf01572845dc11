// Package flows sends the traffic that the gateway is for, and proves that it
// went through the tunnel: EC2 pod to on-premises pod, the other way round, API
// server to an admission webhook, load balancer to on-premises pods.
//
// An answer alone proves nothing, for masquerading and plain routing give
// answers too. So every flow notes the source address that the peer saw, and a
// Meter compares the tunnel's counters, and the fabric's counter of pod
// addresses outside of it, before and after.
package flows
