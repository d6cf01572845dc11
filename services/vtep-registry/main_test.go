package main

import (
	"testing"

	"github.com/hybridgateway/gateway/libs/deptest"
)

func TestDependencies(t *testing.T) {
	deptest.Forbid(t, ".", map[string]string{
		"github.com/vishvananda/netlink": "the kernel is dataplane's",
		"github.com/google/nftables":     "the kernel is dataplane's",
		"github.com/aws":                 "AWS is route-sync's",
		"go.etcd.io/etcd/server":         "a client is all that is needed",
		"k8s.io/api":                     "two kinds of Cilium's are all that is read",
		"github.com/cilium/cilium":       "its types are not needed to read six fields",
	})
}

func TestCoresArePure(t *testing.T) {
	for _, core := range []string{"./internal/registry", "./internal/publish", "./internal/floating"} {
		deptest.Forbid(t, core, map[string]string{
			"k8s.io":              "cores know no Kubernetes",
			"google.golang.org":   "cores know no protobuf",
			"go.opentelemetry.io": "cores tell what they decide, and nobody else",
			"log/slog":            "cores tell what they decide, and nobody else",
			"github.com/hybridgateway/gateway/libs/feed": "cores know no streams",
		})
	}
}
