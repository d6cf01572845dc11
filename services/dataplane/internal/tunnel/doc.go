// Package tunnel keeps the kernel as the registry's VTEPs want it: the dataplane's one loop.
//
// It owns the desired state and a picture of the kernel. VTEP events change the desired state; the difference to the picture is
// planned and applied at once, without reading the kernel again, so that one node among 10,000 costs no dump. The picture is read
// anew when the kernel reports a change that the picture does not explain, when an operation failed, and every minute.
//
// Losing the VTEP stream changes nothing. Before its first snapshot nothing is removed. Ending the loop removes nothing.
package tunnel
