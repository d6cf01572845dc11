// Package registercheck judges whether what the clients of a compare-and-swap register saw and did could have come from one
// register: whether the history is linearizable (Herlihy and Wing, Linearizability: a correctness condition for concurrent
// objects, 1990). The register is the leadership record; where the history comes from is the caller's matter. It is for tests.
package registercheck
