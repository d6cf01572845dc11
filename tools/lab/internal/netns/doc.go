// Package netns gives handles to the hosts of the virtual world. A host is one
// named network namespace (visible to "ip netns" under /run/netns) with what
// is needed to work inside it: functions, sockets and processes that run
// there, and a netlink handle.
//
// Namespaces belong to threads, goroutines do not: everything here takes care
// that a goroutine which enters a namespace is locked to its thread and that
// the thread is back home before anyone else can use it.
package netns
