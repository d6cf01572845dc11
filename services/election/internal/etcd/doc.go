// Package etcd is the leadership record as a key of etcd (https://etcd.io/docs/v3.7/).
// It is the only package that knows etcd.
//
// A shard's record is the JSON value of one key, PREFIX/SHARD/leader. A compare-and-swap
// is a transaction that puts the value if the key's mod revision is the expected one, zero
// for no key.
//
// There is no etcd lease behind the key, and nobody but an operator ever deletes it: a
// record that was given up is a value without a holder. An etcd lease would be a second
// clock beside package term's, kept by etcd's leader, extended each time a member becomes
// leader (https://etcd.io/docs/v3.7/learning/api/#lease-api), and it would take the epoch
// and the hand-over away with the key. So both backends are judged by one state machine:
// the holder's authority ends by its own clock, and others wait for a record that they do
// not see change.
//
// Epochs survive the deletion of the key, even while no gateway runs. etcd's revision grows
// with every write of anybody and is not lowered by deletions, and no epoch is greater than
// the revision it was written at: each is one more than the last, or, when there is
// none, than the revision as of which there was none. That revision is what
// [term.Observation.EpochFloor] tells.
package etcd
