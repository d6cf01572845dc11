// Package lease is the leadership record as a Kubernetes Lease
// (coordination.k8s.io/v1). It is the only package that knows Kubernetes.
//
// The Lease's own fields are used as client-go's leader election uses them, so that a
// stock contender for the same Lease can live beside gateways: holderIdentity,
// leaseDurationSeconds, acquireTime, renewTime, and leaseTransitions, which is the epoch. What
// a gateway has to say beyond that is in two annotations, [HolderAnnotation] and
// [HandoverAnnotation]. Everything else in the object belongs to others and is left as it
// is.
//
// A compare-and-swap is an update with the resourceVersion that is expected. Versions
// are compared as numbers, which Kubernetes guarantees since its release 1.35
// (k8s.io/apimachinery/pkg/util/resourceversion) and etcd always gave.
package lease
