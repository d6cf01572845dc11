// Package shard knows the names of the shards of the leadership, which all services have to agree on.
package shard

import "regexp"

// IsName tells whether s can name a shard: 1 to 32 characters of a-z, 0-9 and '-', the latter neither first nor last. So it can be part of
// the name of a Kubernetes object, and of a key of etcd.
func IsName(s string) bool {
	return regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$`).MatchString(s)
}
