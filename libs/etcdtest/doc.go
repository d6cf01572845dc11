// Package etcdtest gives tests a real etcd: one member or several of the controlplane
// binary (tools/controlplane) on loopback, which serve with mutual TLS only.
//
//	cluster := etcdtest.Start(t, etcdtest.Options{Members: 3})
//	cert, key := cluster.Authority.Issue(t, "client")
//	... connect to cluster.Endpoints() ...
//	cluster.Members()[0].Kill()
//
// The binary is found as apiservertest finds it; without it root's tests fail, and
// others are skipped. Data
// survives the end of a member in any way.
package etcdtest
