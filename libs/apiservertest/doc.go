// Package apiservertest gives tests a real Kubernetes API server: the
// controlplane binary (tools/controlplane) on loopback, with the CRDs of Cilium
// and the product's RBAC applied. It depends on the standard library only;
// tests bring their own client and point it at a kubeconfig.
//
// One API server takes seconds to start and some 250 MB, so a package starts it
// once and its tests share it:
//
//	var apiserver apiservertest.Shared
//
//	func TestMain(m *testing.M) { os.Exit(apiserver.Wrap(m).Run()) }
//	// or, to look for leaked goroutines: goleak.VerifyTestMain(apiserver.Wrap(m))
//
//	func TestLease(t *testing.T) {
//		kubeconfig := apiserver.Get(t).ServiceAccountKubeconfig(apiservertest.Election)
//		...
//	}
//
// A test that stops, pauses or restarts the API server starts its own with
// [Start]. The binary is the one named by the environment variable
// CONTROLPLANE_BIN or .bin/controlplane in the working directory or one above
// it; without it root's tests fail, and others are skipped.
package apiservertest
