// Package probe measures what a change costs the traffic: it sends numbered
// UDP packets from one host to another at a steady pace, and tells how many
// were lost, how long the longest silence was, and which source address the
// receiver saw. Two-way probes run one in each direction, on paths that do not
// depend on each other, so that a silence can be told from its direction.
package probe
