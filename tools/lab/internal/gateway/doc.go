// Package gateway runs one gateway of the product: the five services, each a
// process of its own in the gateway's namespace, with the flags and the
// environment they have in a pod, and nothing else in common but a directory
// for their sockets.
package gateway
