// Package term decides who leads one shard, as one gateway sees it: when to take
// the record, when to renew it, when to give it up, and what to tell the others.
//
// It is a state machine without I/O. Inputs go into [Term.Step] together with the time;
// what is to be done comes out as a list of actions, in the order to do them. A caller
// carries out one compare-and-swap at a time and feeds its result back.
//
// # The record
//
// Leadership is one compare-and-swap register. Its transition count is the epoch.
// A term of leadership begins with a write that makes the epoch greater than any
// epoch this gateway has ever seen, and never otherwise: not by waiting, not by finding
// one's own name in the record, not by regaining contact.
//
// # Time
//
// All times are readings of one monotonic clock of this gateway (CLOCK_BOOTTIME); times
// of different gateways are never compared. A leader's authority ends RenewDeadline after
// it *started* its last successful write. Others take the record no sooner than
// LeaseDuration after they last *saw* it change, which is later. So the old leader
// stops before the next begins, as long as their clocks' rates differ by less than
// LeaseDuration is longer than RenewDeadline.
//
// # Suspicion
//
// A standby that does not hear the holder's heartbeats may take the record before that. Then the old
// leader's authority may last on for up to RenewDeadline, under the smaller epoch. A holder is suspected only when it
// was heard since it took the record, and a suspicion that proved wrong makes the next ones slower; so
// gateways that do not hear each other do not take the record in turns.
//
// # Handing over
//
// A leader stops to lead before it gives the record up. It makes a peer that is heard and stands the holder, under an
// epoch that nobody leads under; the peer begins its own term as ever, with a write that makes the epoch greater.
//
// # Writes of unknown outcome
//
// A write whose reply was lost may have been applied, or may be applied later. It is
// never taken for a success. The record is read again: if it holds exactly what was
// written, the write counts, from the time it was started.
package term
