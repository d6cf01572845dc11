// Package feed carries state from one service to another: a snapshot first, then
// every change, in order, each once.
//
// A server keeps its state in a [Log]. Each subscriber reads the log at its own
// pace with a cursor, so a slow one costs the server nothing; one that falls behind
// the log's bounded history is cut and starts again from a snapshot. A client
// reads with [Follow], which reconnects for ever and turns what arrives into
// [Update] values: whole snapshots, single changes, and the loss and return of the
// stream. Losing the stream undoes nothing: the state a client has stays its state
// until a new snapshot replaces it.
//
// Package wire puts the same events into protobuf messages.
package feed
