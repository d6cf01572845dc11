// Package cluster runs the lab's Kubernetes control plane, a real
// kube-apiserver with a real etcd, and does in it what people and controllers
// would do: nodes that join and leave, and an admission webhook.
package cluster
