// Package demo shows the gateway at work in a lab, step by step, and checks
// every step: the four flows, the death of the active node, its return and a
// planned hand-over, and nodes that join and leave.
package demo
