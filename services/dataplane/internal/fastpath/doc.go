// Package fastpath forwards the tunnel's packets in a program of the kernel's traffic control (tcx, eBPF) at the NIC's ingress.
//
// A packet from a node is checked as the guard does, freed of its outer headers and sent to its destination; one for a pod gets its outer
// headers. Both leave by the NIC that they came from, and see neither the tunnel's device nor the host's packet filters on their way.
// Everything that is not plainly such a packet goes the kernel's way and has the same outcome there, so the program may be attached, replaced and
// detached under traffic.
//
// The program has no table of the nodes: it asks the kernel's routes, of which there is one for each pod network (see package plan). So there is nothing
// to keep in step. The guard's rule follows from them: the way back to the inner source must be the tunnel, by way of the outer source.
//
// It is attached as long as the process lives. When that ends, the kernel's way takes over.
//
// The program's source is in bpf/. What clang made of it is committed; `make generate-bpf` makes it anew.
package fastpath

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -go-package fastpath -target bpfel -cc clang -cflags "-O2 -g -Wall -Werror -Wno-address-of-packed-member" program bpf/fastpath.c -- -I/usr/include/x86_64-linux-gnu
