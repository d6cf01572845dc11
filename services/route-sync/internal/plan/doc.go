// Package plan decides which calls bring the VPC's route tables to where they belong.
//
// It is the core of route-sync and pure: what happened comes in as plain data with the time it
// happened at, a list of actions comes out. No context, clock, logger, goroutine or I/O. The loop
// around it does
//
//	state := plan.New(config)
//	state.Observe(leadership, now)          // something happened: one of the four inputs
//	for _, action := range state.Next(now) { … start it … }
//	for _, route := range state.Changed() { … publish it … }
//	… wait for the next input, at most until state.Wake(now)
//
// The inputs are Observe and Forget (leadership), WriteDone, ReadDone and LookupDone (an action has
// ended). Time is a CLOCK_BOOTTIME reading, the clock in which leadership says how long it is valid.
//
// # A takeover waits for no read
//
// A gateway that stands by reads the tables all the time. When it becomes active it writes at once,
// from what it saw last:
//
//	seen last             call                      answered by                then
//	a gateway, or ours    ReplaceRoute              there is no such route     CreateRoute
//	no such route         CreateRoute               it exists already          read who made it
//	something foreign     none: a conflict
//	never seen            none: read first
//
// A process that starts while its gateway is already active reads first too: the routes are most
// likely in place.
//
// EC2 is eventually consistent, so the two errors may contradict each other; a route that was seen
// to be a gateway's is then replaced once more. Creating cannot overwrite anything, so a route that
// was absent and now exists is looked at before it is replaced.
//
// # What may be replaced
//
// A route whose target is this gateway's interface, that of an earlier holder of the record, one of
// the configured interfaces, or one with the tag [GatewayTag]; and a blackhole left by an interface
// that is gone, for nobody's traffic goes there. Anything else is foreign and is left alone.
//
// # Reads that are late
//
// A read that began before a write of the same route ended says nothing about that route. One that
// began soon after may still be stale, so it takes two such reads in a row to believe a difference.
// Only later a difference is drift, and is repaired at once.
//
// # Fencing
//
// Next hands out a write only while this gateway is active and its validity has not ended, and none
// waits anywhere else. Whoever carries it out checks again at the last moment and reports
// [Fenced] if it was too late. When leadership ends Next returns a [Cancel].
package plan
