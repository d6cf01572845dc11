// Package peers is the liveness between gateways: each sends authenticated heartbeats to all others over UDP, and
// tells its caller when one falls silent, recovers, leaves, or says something new about itself.
//
// What it reports is a reason to look at the record at once, never a reason to act as the leader: two
// gateways may well disagree about a third.
//
// The format is in package wire, the judgement in package session; here are the socket, the clock and the list of
// peers. One goroutine owns all of that. It reads the socket dry before it judges anybody, and takes the
// time at which the kernel received a heartbeat for the time at which it came, so that its own
// delays are nobody else's fault.
package peers
