// Package syncer runs the plan: one goroutine owns the state, starts the calls to EC2 that the plan asks
// for, and tells everybody what came of it.
package syncer
