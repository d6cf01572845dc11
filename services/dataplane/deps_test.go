package main

import (
	"testing"

	"github.com/hybridgateway/gateway/libs/deptest"
)

func TestLinksNoOtherAxis(t *testing.T) {
	deptest.Forbid(t, ".", map[string]string{
		"github.com/aws":                 "the VPC is route-sync's",
		"k8s.io":                         "the dataplane has no API token and needs none",
		"go.etcd.io":                     "the leadership record is election's",
		"github.com/vishvananda/netlink": "package kernel speaks netlink itself; the library is for tests",
		"testing":                        "test helpers do not belong into the binary",
		"github.com/google/go-cmp":       "test helpers do not belong into the binary",
	})
}
