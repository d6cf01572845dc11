package main

import (
	"testing"

	"github.com/hybridgateway/gateway/libs/deptest"
)

func TestBinaryHasNoForeignSDK(t *testing.T) {
	deptest.Forbid(t, ".", map[string]string{
		"github.com/aws":                 "only route-sync speaks to AWS",
		"k8s.io":                         "only election and vtep-registry speak to Kubernetes",
		"go.etcd.io":                     "only election speaks to etcd",
		"github.com/vishvananda/netlink": "only dataplane changes the kernel",
		"testing":                        "a program carries no test",
	})
}
