// Command controlplane is the Kubernetes control plane of the lab and of the
// tests: a real etcd and the real kube-apiserver in one process, and nothing
// else. No controller manager and no scheduler runs, so a Pod object never
// starts anything, no default ServiceAccount appears in a namespace, and
// nothing is garbage collected.
//
//	controlplane --dir DIR --listen 127.0.0.1:0
//
// When the API server is ready, the CRDs of Cilium and every manifest given
// are applied and served, the permissions they grant are in force, and the
// asked-for kubeconfigs are written, it prints one line of JSON on stdout
//
//	{"ready":true,"server":"https://127.0.0.1:34567","kubeconfig":"DIR/kubeconfig"}
//
// and runs until SIGTERM or SIGINT. Nothing else goes to stdout.
//
// # What lies in DIR
//
//	kubeconfig        of a cluster administrator, client certificate inside
//	pki/              CA, serving certificate, service account key
//	etcd/             etcd's data (elsewhere with --etcd-dir)
//	etcd.sock         etcd's client socket; etcd listens on no network
//	apiserver.log     log of the API server, appended to
//	etcd.log          log of etcd, appended to
//	lock              held while a control plane runs here
//
// A second start over the same DIR finds all data and trusts the same CA, so
// clients of the first run keep working when --listen names the same port.
// etcd does not fsync: data survives the end of the process in any way, but
// not a power failure.
//
// # Clients
//
// The administrator of DIR/kubeconfig is in group system:masters. Services run
// with less: `--service-account-kubeconfig NAMESPACE/NAME=FILE` writes a
// kubeconfig with a token of that ServiceAccount, made by the TokenRequest API.
// The ServiceAccount has to be in a manifest, or in etcd from an earlier run.
//
// # etcd alone
//
//	controlplane etcd --dir DIR --name one --listen 127.0.0.1:2379 \
//		--member one=127.0.0.1:2380 --cacert CA --cert CERT --key KEY
//
// runs one member of an etcd cluster, without an API server. It serves clients and other
// members with mutual TLS only, prints {"ready":true,"endpoint":"https://127.0.0.1:2379"}
// once a majority of members stands, and does not fsync either. DIR holds data/,
// etcd.log and lock.
//
// # What differs from a managed control plane
//
// API groups and admission plugins which the lab has no use for are off, for
// a quick start and modest memory; what is on is listed in internal/apiserver.
// Admission webhooks (clientConfig.url) are called from the network namespace
// the process runs in, and the API server's address needs no route out of it.
package main
