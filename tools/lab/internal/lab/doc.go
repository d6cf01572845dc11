// Package lab puts a whole lab together and takes it down: the virtual world,
// AWS's endpoints, a Kubernetes control plane, Cilium's agents, and gateways
// with all their processes.
//
// Everything a lab leaves on the machine is in one directory, or in network
// namespaces of one prefix; see Claim for how two labs are kept apart and what
// a crash leaves is removed.
package lab
