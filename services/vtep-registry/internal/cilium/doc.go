// Package cilium is where Kubernetes stops: it reads CiliumNodes and CiliumVTEPConfigs
// and writes one of the latter. Nothing else in vtep-registry knows client-go.
//
// Reading is a list-and-watch (client-go's Reflector: resumes by resourceVersion, starts over on
// 410, streams the initial list where the API server can) that never ends by itself: an
// absent CRD, a refused permission and an API server that is away are reported and tried
// again, at least once a second. Objects are not cached here: each is parsed as it
// arrives, and only what the cores need of it is kept. An object of any shape parses,
// so that one malformed object cannot stop the list it is in.
package cilium
