// Package agent stands for the Cilium agent of an on-premises node: it reads
// CiliumVTEPConfig objects (cilium.io/v2) from the API server, writes the
// node's VTEP map, and reports per endpoint in the object's status.
//
// Like the real one it acts at once on a change, keeps the map when the API
// server is away, and touches nothing before it has seen all objects. Two
// objects that claim the same CIDR get neither applied.
package agent
