// Package etcdaccess is what services that use etcd have in common before they speak to it:
// the checks of their --etcd-… flags, and TLS credentials. It does not know etcd's API.
package etcdaccess
