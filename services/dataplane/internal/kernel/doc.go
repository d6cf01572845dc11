// Package kernel is the dataplane's hand on Linux: the only package that speaks rtnetlink and nftables.
//
// It does three things and decides nothing: [Kernel.Dump] says what is there, [Kernel.Apply] carries out the
// operations of a plan in their order, [Kernel.Watch] tells what changes. What to change is package plan's.
//
// It talks rtnetlink itself rather than through a library for three reasons: operations are sent many to a
// system call and acknowledged together (10,000 VTEPs are 30,000 operations); attributes of an existing VXLAN device can be
// changed one by one; and the per-device settings of /proc/sys/net are read and written in the same way, so that
// NET_ADMIN is enough and /proc/sys may be read-only.
//
// Every socket belongs to the network namespace of the thread that called [Open].
package kernel
