// Package controlplane runs the controlplane binary (tools/controlplane) for tests: it
// finds the binary, starts it, waits until it says ready, and ends, kills or freezes it.
// apiservertest and etcdtest are built on it.
package controlplane
