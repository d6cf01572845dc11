package main

import (
	"testing"

	"github.com/hybridgateway/gateway/libs/deptest"
)

func TestLinksNoOtherAxis(t *testing.T) {
	deptest.Forbid(t, ".", map[string]string{
		"github.com/vishvananda":     "the kernel is the dataplane's",
		"github.com/google/nftables": "the kernel is the dataplane's",
		"k8s.io":                     "route-sync has no API token and needs none",
		"go.etcd.io":                 "the leadership record is election's",
		"testing":                    "test helpers do not belong into the binary",
	})
}
